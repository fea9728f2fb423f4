/** What a conductor believes of its instances, by hand. */
import { beforeEach, describe, expect, it } from 'vitest';
import { InstanceViews, ViewWorld } from '../../src/core/cluster-view.ts';
import { AddressBook } from '../../src/core/topology.ts';
import { tinyTopology } from '../support/tiny.ts';

const topology = tinyTopology({ prefill: 2, decode: 1, coupled: 1 });
let views: InstanceViews;

beforeEach(() => {
  views = new InstanceViews(new ViewWorld(topology, new AddressBook(topology)));
});

const enqueue = (instance: number, key: number, predictedNs: number) =>
  views.enqueue(instance, { key, predictedNs, tokens: 10, decodeTokens: 100 + key });

describe('the view of instances', () => {
  it('offers those with both roles alone when prefill and decode stay together', () => {
    expect(views.prefillInstances).toEqual([0, 1, 3]);
    expect(views.coupledInstances).toEqual([3]);
    views.offerPrefill(false);
    expect(views.prefillInstances).toEqual([3]);
    views.offerPrefill(true);
    expect(views.prefillInstances).toEqual([0, 1, 3]);
    views.setRoles(3, ['decode']);
    views.offerPrefill(false);
    expect(views.prefillInstances).toEqual([0, 1]);
  });

  it('sends one after the other from each node', () => {
    views.passTo(100, 0);
    views.send(1, 50);
    views.send(1, 20);
    expect([0, 1].map((node) => views.sendingNs(node))).toEqual([0, 70]);
    views.passTo(160, 0);
    expect(views.sendingNs(1)).toBe(10);
    views.passTo(1000, 0);
    views.send(1, 5);
    expect(views.sendingNs(1)).toBe(5);
  });

  it('can lag behind another, whose roles it shares', () => {
    const world = new ViewWorld(topology, new AddressBook(topology));
    const lagging = new InstanceViews(world, views);
    enqueue(0, 1, 1000);
    views.bindDecode(2, 101);
    expect(lagging.queuedRequests(0) + lagging.decodeRequests(2)).toBe(0);
    views.passTo(300, 0);
    lagging.copy(views);
    lagging.passTo(300, 0);
    enqueue(0, 2, 500);
    views.startDecode(2, 9, 7);
    views.passTo(800, 0);
    lagging.passTo(800, 500);
    expect([views.queueNs(0), lagging.queueNs(0)]).toEqual([700, 700]); // 1,500 - 800, 1,000 - 300
    expect([views.queuedRequests(0), lagging.queuedRequests(0)]).toEqual([2, 1]);
    expect([views.decodingNow(2).requests, lagging.decodingNow(2).requests]).toEqual([1, 0]);
    views.setRoles(1, []);
    expect(lagging.prefillInstances).toEqual([0, 3]);
    expect(lagging.rolesOf(1)).toEqual([]);
  });

  it('predicts which prompts are done by a time and still decode then', () => {
    enqueue(0, 1, 1000);
    enqueue(0, 2, 500);
    enqueue(1, 3, 700);
    views.nowNs = 400;
    // Instance 0: 1 ends at 1,000 and 2 at 1,500; instance 1: 3 ends at 700.
    expect(views.arrivingBy(699, 1e9)).toEqual({ requests: 0, tokens: 0 });
    expect(views.arrivingBy(1000, 1e9)).toEqual({ requests: 2, tokens: 204 });
    expect(views.arrivingBy(1500, 1e9)).toEqual({ requests: 3, tokens: 306 });
    // Who decodes for 500 ns has gone after that.
    expect(views.arrivingBy(1500, 500)).toEqual({ requests: 1, tokens: 102 });
    views.nowNs = 2000; // The head is late: it is believed to end now.
    expect(views.arrivingBy(2000, 1e9)).toEqual({ requests: 2, tokens: 204 });
  });

  it('knows who decodes, who will then, and for how long it took', () => {
    views.startDecode(2, 1, 100);
    views.nowNs = 300;
    views.startDecode(2, 2, 50);
    expect(views.decodingNow(2)).toEqual({ requests: 2, tokens: 150 });
    expect(views.decodingAt(2, 1000, 1000)).toEqual({ requests: 1, tokens: 50 });
    expect(views.decodingAt(2, 999, 1000)).toEqual({ requests: 2, tokens: 150 });
    expect(views.decodeNsMean).toBe(0);
    views.nowNs = 500;
    views.endDecode(2, 1, true);
    views.endDecode(2, 1, true);
    views.endDecode(2, 2, false); // Did not complete: says nothing about how long decode takes.
    expect(views.decodeNsMean).toBe(500);
    expect(views.decodingNow(2)).toEqual({ requests: 0, tokens: 0 });
    views.checkIdle();
  });
});
