/** Saving on another node: what the two stores say, and what happens when they don't. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Count } from '../../src/core/host.ts';
import type { WriteGrant } from '../../src/core/messages.ts';
import { ended, requestOf, tellers } from '../support/teller.ts';
import { BLOCK_TOKENS, TINY_SETTINGS, tinyPlan, tinyTopology } from '../support/tiny.ts';

const topology = tinyTopology({ prefill: 3, decode: 1, dramBlocks: 4, hbmTokens: 500 });
const plan = await tinyPlan({ topology });
const { leaseTtlNs, guardNs } = TINY_SETTINGS.store;

let cluster: ReturnType<typeof tellers>;
let source: (typeof cluster)['stores'][0];
let target: (typeof cluster)['stores'][0];
let instance: number;
let at: { source: number; target: number };

beforeEach(() => {
  cluster = tellers(plan);
  [source, target] = cluster.stores;
  instance = cluster.addresses.instance(0);
  at = { source: cluster.addresses.store(0), target: cluster.addresses.store(1) };
});

const request = requestOf(1, [1, 2, 3]);

/** Asks to keep block 1 here and the others on node 1. */
function save() {
  const { inputTokens: hbmTokens } = request;
  source.tell({ kind: 'acquire', request, instance: 0, hbmTokens }, instance);
  const body = { kind: 'saveBlocks', request, instance: 0, step: 1 } as const;
  return source.tell(
    { ...body, fromBlock: 0, toBlock: 3, nodes: [0, 1, 1], answer: false },
    instance,
  );
}

/** The question of `save`, put to the other store; its grant. */
function grant(): WriteGrant {
  const [asked] = save().messages('writeRequest');
  return target.tell(asked, at.source).messages('writeGrant')[0];
}

const release = { kind: 'release', request: 1, attempt: 0, instance: 0 } as const;

describe('a save onto another node', () => {
  it('is asked for, granted, written and published', () => {
    const saved = save();
    const [own] = saved.transfers;
    expect(own).toMatchObject({ kind: 'save', blocks: 1, target: { node: 0 } });
    const [asked] = saved.messages('writeRequest');
    expect(asked).toMatchObject({ blocks: [2, 3], parents: [1, 2], depths: [1, 2] });
    const [granted] = target.tell(asked, at.source).messages('writeGrant');
    expect(granted.places).toEqual([0, 1]);
    const [move] = source.tell(granted, at.target).transfers;
    expect(move).toMatchObject({
      kind: 'save',
      blocks: 2,
      tokens: 2 * BLOCK_TOKENS,
      afterStep: 1,
      target: { node: 1 },
    });
    expect(target.machine.dram.findReady(2)).toBe(-1);
    const [written] = source.tell(ended(move)).messages('writeEnded');
    const published = target.tell(written, at.source);
    expect(published.messages('delta')).toMatchObject([{ node: 1, stored: [2, 3] }]);
    source.tell(ended(own));
    source.tell(release, instance);
    for (const { machine } of [source, target]) machine.checkIdle(0);
  });

  it('keeps the memory that it is made from until it is over', () => {
    const granted = grant();
    source.tell(release, instance);
    expect(() => source.machine.checkIdle(0)).toThrow('is held');
    const [move] = source.tell(granted, at.target).transfers;
    source.tell(ended(move));
    source.machine.check();
  });

  it('passes over blocks that are there, and drops those without room', () => {
    grant();
    const parents = [-1, 2, 3, 9, 10];
    const again = target.tell(
      { kind: 'writeRequest', write: 50, blocks: [9, 2, 10, 11, 12], parents, depths: parents },
      at.source,
    );
    expect(again.messages('writeGrant')[0].places).toEqual([0, 2]);
  });

  it('says what arrived of a move that broke off; the rest is free again', () => {
    const [move] = source.tell(grant(), at.target).transfers;
    const done = source.tell(ended(move, 1));
    expect(done.of('count')).toEqual([[Count.transferFailed, 1]]);
    target.tell(done.messages('writeEnded')[0], at.source);
    const { dram } = target.machine;
    expect([dram.findReady(2) >= 0, dram.find(3)]).toEqual([true, -1]);
    target.machine.checkIdle(0);
  });

  it('takes no slot back from a source that is slow', () => {
    const granted = grant();
    target.nowNs = 100 * (leaseTtlNs + guardNs);
    target.tell({ kind: 'leaseRelease', lease: 1 }, at.source);
    expect(target.machine.dram.usedSlots).toBe(2);
    const [move] = source.tell(granted, at.target).transfers;
    target.tell(source.tell(ended(move)).messages('writeEnded')[0], at.source);
    expect(target.machine.dram.findReady(2)).toBeGreaterThanOrEqual(0);
  });

  it('frees the slots of a source that is silent for ttl + guard after a reset', () => {
    grant();
    target.tell({ kind: 'peerReset', peer: at.source });
    target.nowNs = leaseTtlNs + guardNs - 1;
    target.tell({ kind: 'leaseRelease', lease: 1 }, at.source);
    expect(target.machine.dram.usedSlots).toBe(2);
    target.nowNs++;
    target.tell({ kind: 'leaseRelease', lease: 1 }, at.source);
    target.machine.checkIdle(target.nowNs);
    expect(target.machine.dram.usedSlots).toBe(0);
  });

  it('goes on through a reset when its move is under way', () => {
    const [move] = source.tell(grant(), at.target).transfers;
    target.tell({ kind: 'peerReset', peer: at.source });
    const [open] = source.tell({ kind: 'peerReset', peer: at.target }).messages('writesOpen');
    expect(open.writes).toHaveLength(1);
    target.tell(open, at.source);
    target.nowNs = 100 * (leaseTtlNs + guardNs);
    target.tell(source.tell(ended(move)).messages('writeEnded')[0], at.source);
    expect(target.machine.dram.findReady(3)).toBeGreaterThanOrEqual(0);
  });

  it('is dropped when the channel breaks before its grant, which then is given back', () => {
    const granted = grant();
    const reset = source.tell({ kind: 'peerReset', peer: at.target });
    expect(reset.of('count')).toEqual([[Count.droppedSave, 2]]);
    target.tell(reset.messages('writesOpen')[0], at.source);
    expect(target.machine.dram.usedSlots).toBe(0);
    const late = source.tell(granted, at.target);
    expect(late.messages('writeEnded')).toMatchObject([{ blocksDone: 0 }]);
    expect(late.of('count')).toEqual([[Count.lateFact, 1]]);
  });

  it('answers the same question once', () => {
    const [asked] = save().messages('writeRequest');
    target.tell(asked, at.source);
    const twice = target.tell(asked, at.source);
    expect(twice.commands).toEqual([['count', Count.lateFact, 1]]);
  });
});
