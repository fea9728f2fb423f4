/** A conductor on its own: bookings, ends, the directory, and what it does after a reset. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Count, Mark } from '../../src/core/host.ts';
import type { LiveRequest, RequestInventory } from '../../src/core/messages.ts';
import { Outcome, Phase } from '../../src/core/request.ts';
import { type Role, Tier, WORKLOAD } from '../../src/core/topology.ts';
import { requestOf, tellers } from '../support/teller.ts';
import { tinyPlan, tinyTopology } from '../support/tiny.ts';

const topology = tinyTopology({ prefill: 2, decode: 1, hbmTokens: [4096, 64, 4096] });
const plan = await tinyPlan({ topology, policies: { prefill: 'round-robin' } });

let cluster: ReturnType<typeof tellers>;
let conductor: (typeof cluster)['conductor'];
let prefill: number;

beforeEach(() => {
  cluster = tellers(plan);
  conductor = cluster.conductor;
  prefill = cluster.addresses.instance(0);
});

const arrive = (id: number, blocks = [id]) =>
  conductor.tell({ kind: 'arrive', request: requestOf(id, blocks) }, WORKLOAD);
const finished = (id: number, outcome: Outcome = Outcome.completed) =>
  conductor.tell({ kind: 'finished', request: id, attempt: 0, outcome }, prefill);
const inventory = (more: Partial<RequestInventory>) =>
  conductor.tell(
    {
      kind: 'requestInventory',
      instance: 0,
      incarnation: 0,
      roles: ['prefill'],
      term: 1,
      dispatchSequence: 0,
      live: [],
      ended: [],
      ...more,
    },
    prefill,
  );
const alive = (request: number, phase: Phase): LiveRequest => ({
  request,
  attempt: 0,
  phase,
  decodeInstance: 2,
});

describe('a conductor', () => {
  it('books a request, sends it off and tells of its end', () => {
    const done = arrive(0);
    expect(done.sent).toHaveLength(1);
    expect(done.sent[0]).toMatchObject([prefill, { kind: 'dispatch', sequence: 1, term: 1 }]);
    expect(conductor.machine.views.queuedRequests(0)).toBe(1);
    expect(conductor.machine.views.decodeTokens(2)).toBe(20);
    conductor.tell({ kind: 'prefilled', request: 0, attempt: 0 }, prefill);
    expect(conductor.machine.views.queuedRequests(0)).toBe(0);
    const terminal = { kind: 'terminal', request: 0, attempt: 0, outcome: Outcome.completed };
    expect(finished(0).sent).toEqual([[WORKLOAD, terminal]]);
    conductor.machine.checkIdle();
  });

  it('answers for a request that ended, and books none twice', () => {
    arrive(0);
    expect(arrive(0).commands).toEqual([]);
    finished(0);
    expect(finished(0).commands).toEqual([['count', Count.lateFact, 1]]);
    expect(arrive(0).messages('terminal')).toMatchObject([{ outcome: Outcome.completed }]);
  });

  it('rejects what is too large for the decode instance, or for the prefill instance', () => {
    const huge = arrive(0, new Array(300).fill(1));
    expect(huge.messages('terminal')).toMatchObject([{ outcome: Outcome.rejectedTooLarge }]);
    const onSmall = arrive(1, [0, 1, 2, 3, 4]);
    expect(onSmall.messages('terminal')).toMatchObject([{ outcome: Outcome.rejectedTooLarge }]);
    expect(arrive(2, [0, 1, 2, 3, 4]).messages('dispatch')).toHaveLength(1);
  });

  it('stops a policy that names what is not there', async () => {
    const choice = { instance: 2, sourceNode: -1, sourceBlocks: 0, ttftNs: 0 };
    const bad = { name: 'bad', create: () => ({ choose: () => choice }) };
    const policies = { ...plan.policies, prefill: bad };
    conductor = tellers({ ...plan, policies }).conductor;
    expect(() => arrive(0)).toThrow('the prefill policy chose 2, not a prefill instance');
  });

  it('takes a request back whose decode instance is loaded when its prompt is done', async () => {
    // A step takes 20 us, 1 us a request and 1 ns a token: of 23 us for two and 40 tokens.
    const slo = { ttftNs: 1e9, tbtNs: 22_030 };
    conductor = tellers(
      await tinyPlan({ topology, slo, policies: { admission: 'baseline' } }),
    ).conductor;
    arrive(0);
    arrive(1);
    const done = (request: number) =>
      conductor.tell({ kind: 'prefilled', request, attempt: 0 }, prefill);
    expect(done(0).sent).toEqual([]);
    expect(done(1).messages('cancel')).toHaveLength(2);
    const end = finished(1, Outcome.cancelled);
    expect(end.messages('terminal')).toMatchObject([{ outcome: Outcome.rejectedTbt }]);
    expect(end.of('mark')).toEqual([
      [1, Mark.outcome, Outcome.rejectedTbt],
      [1, Mark.finishedNs, 0],
    ]);
    expect(arrive(1).messages('terminal')).toMatchObject([{ outcome: Outcome.rejectedTbt }]);
    finished(0);
    conductor.machine.checkIdle();
  });

  it('keeps prefill and decode together where a policy says so and an instance can', async () => {
    const shape = tinyTopology({ prefill: 1, decode: 1, coupled: 1 });
    const policies = { disaggregation: 'never', prefill: 'least-loaded' };
    conductor = tellers(await tinyPlan({ topology: shape, policies })).conductor;
    const [dispatch] = arrive(0).messages('dispatch');
    expect(dispatch).toMatchObject({ decodeInstance: 2 });
    expect(conductor.machine.views.queuedRequests(2)).toBe(1);
    const apart = await tinyPlan({ topology, policies });
    conductor = tellers(apart).conductor;
    expect(arrive(0).messages('dispatch')).toMatchObject([{ decodeInstance: 2 }]);
  });

  it('gives an instance work for its roles alone, and turns away what nobody may do', () => {
    const roles = (instance: number, ...to: Role[]) =>
      conductor.tell({ kind: 'setRoles', term: 1, instance, roles: to }, WORKLOAD);
    const told = roles(0);
    expect(told.sent).toEqual([[prefill, { kind: 'setRoles', term: 1, instance: 0, roles: [] }]]);
    const { views } = conductor.machine;
    expect([views.prefillInstances, views.decodeInstances]).toEqual([[1], [2]]);
    for (const id of [0, 1]) expect(arrive(id, [0]).sent[0][0]).toBe(prefill + 1);
    roles(1, 'decode');
    expect([views.prefillInstances, views.decodeInstances]).toEqual([[], [1, 2]]);
    expect(arrive(2).messages('terminal')).toMatchObject([{ outcome: Outcome.rejectedNoInstance }]);
    roles(0, 'decode', 'prefill');
    expect([views.prefillInstances, views.decodeInstances]).toEqual([[0], [0, 1, 2]]);
  });

  it('shows policies the loads of the last multiple of the staleness', async () => {
    const policies = { prefill: 'jsq' };
    const settings = { conductor: { stalenessNs: 1000 } };
    conductor = tellers(await tinyPlan({ topology, policies, settings })).conductor;
    const at = (nowNs: number, id: number) => {
      conductor.nowNs = nowNs;
      return arrive(id).sent[0][0] - prefill;
    };
    expect([at(0, 0), at(0, 1), at(999, 2)]).toEqual([0, 0, 0]);
    expect([at(1000, 3), at(1999, 4)]).toEqual([1, 1]); // 3 and 0 were queued at 1,000
    expect(at(2500, 5)).toBe(1); // 3 and 2 at 2,000
    expect(at(3000, 6)).toBe(0); // 3 and 3
  });

  it('knows what senders have to send, and asks the idlest of equals', async () => {
    const shape = tinyTopology({ prefill: 3, decode: 1 });
    const policies = { prefill: 'kvcache-centric' };
    const plans = [true, false].map((congestion) =>
      tinyPlan({ topology: shape, policies, settings: { conductor: { congestion } } }),
    );
    const [aware, unaware] = (await Promise.all(plans)).map((each) => tellers(each).conductor);
    for (const one of [aware, unaware]) {
      for (const node of [0, 1]) {
        const stored = [1, 2, 3, 4];
        const where = { node, tier: Tier.dram, instance: -1 };
        one.tell({ kind: 'delta', ...where, sequence: 1, stored, removed: [] });
      }
      // Long prompts that share nothing keep instances 0 and 1 busy.
      for (const id of [0, 1]) {
        const long = requestOf(id, Array(200).fill(90 + id));
        one.tell({ kind: 'arrive', request: long }, WORKLOAD);
      }
    }
    const sources = (one: typeof aware, id: number) => {
      const request = requestOf(id, [1, 2, 3, 4, 100 + id]);
      return one.tell({ kind: 'arrive', request }, WORKLOAD).messages('dispatch')[0].sources[0];
    };
    expect([sources(aware, 10), sources(aware, 11)]).toEqual([0, 1]);
    expect([sources(unaware, 10), sources(unaware, 11)]).toEqual([0, 0]);
    // Four blocks of 64 bytes at 1 byte a ns, and 1 us of latency.
    expect([0, 1].map((node) => aware.machine.views.sendingNs(node))).toEqual([1256, 1256]);
    expect(unaware.machine.views.sendingNs(0)).toBe(0);
  });

  it('passes a cancel to both instances', () => {
    arrive(0);
    const done = conductor.tell({ kind: 'cancel', request: 0, attempt: 0 }, WORKLOAD);
    expect(done.sent.map(([to]) => to)).toEqual([prefill, cluster.addresses.instance(2)]);
    const unknown = conductor.tell({ kind: 'cancel', request: 9, attempt: 0 }, WORKLOAD);
    expect(unknown.commands).toEqual([]);
  });
});

describe('a conductor and the directory', () => {
  const store = () => cluster.addresses.store(1);
  const delta = (sequence: number, stored: number[], removed: number[] = []) =>
    conductor.tell(
      { kind: 'delta', node: 1, tier: Tier.dram, instance: -1, sequence, stored, removed },
      store(),
    );
  const has = (block: number) => conductor.machine.directory.has(1, block);

  it('follows deltas, each once', () => {
    delta(1, [4, 5]);
    delta(2, [6], [4]);
    expect([4, 5, 6].map(has)).toEqual([false, true, true]);
    expect(delta(1, [4]).commands).toEqual([['count', Count.lateFact, 1]]);
    expect(has(4)).toBe(false);
  });

  it('takes an inventory for everything before it', () => {
    delta(1, [4]);
    const inventory = {
      kind: 'blockInventory',
      node: 1,
      tier: Tier.dram,
      instance: -1,
      incarnation: 1,
    } as const;
    conductor.tell({ ...inventory, sequence: 3, blocks: [7] }, store());
    delta(2, [5]);
    expect([4, 5, 7].map(has)).toEqual([false, false, true]);
    conductor.tell({ ...inventory, sequence: 2, blocks: [] }, store());
    expect(has(7)).toBe(true);
  });
});

describe('a conductor after a reset', () => {
  it('sends again, in order and under its old number, what the instance never got', () => {
    const first = [0, 1, 2, 3, 4].flatMap((id) => arrive(id).messages('dispatch'));
    const sent = first.filter(({ request }) => request.id % 2 === 0);
    expect(sent.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    const again = inventory({ dispatchSequence: 1, live: [alive(0, Phase.prefill)] });
    expect(again.sent).toEqual(sent.slice(1).map((dispatch) => [prefill, dispatch]));
    // Lost once more, and the inventory too: nothing is forgotten.
    const later = inventory({ dispatchSequence: 2, live: [alive(0, Phase.prefill)] });
    expect(later.sent).toEqual([[prefill, sent[2]]]);
  });

  it('goes over what ended before it came', () => {
    const gone = { kind: 'peerGone' as const, peer: cluster.addresses.instance(2) };
    arrive(0);
    conductor.tell(gone);
    inventory({ dispatchSequence: 0 });
    conductor.tell({
      kind: 'requestInventory',
      instance: 2,
      incarnation: 1,
      roles: ['decode'],
      term: 0,
      dispatchSequence: 0,
      live: [],
      ended: [],
    });
    const sent = [2, 3, 4, 5].flatMap((id) => arrive(id).sent);
    expect(sent.filter(([to]) => to === prefill)).toMatchObject([
      [prefill, { sequence: 2, after: 0 }],
      [prefill, { sequence: 3, after: 2 }],
    ]);
  });

  it('ends what ended unheard', () => {
    arrive(0);
    const ended = [{ request: 0, attempt: 0, outcome: Outcome.failed }];
    const done = inventory({ dispatchSequence: 1, ended });
    expect(done.messages('terminal')).toMatchObject([{ request: 0, outcome: Outcome.failed }]);
    conductor.machine.checkIdle();
  });

  it('learns that a prompt was done', () => {
    arrive(0);
    arrive(1);
    arrive(2);
    inventory({ dispatchSequence: 2, live: [alive(0, Phase.handoff)] });
    expect(conductor.machine.views.queuedRequests(0)).toBe(0);
    expect(conductor.machine.views.decodeRequests(2)).toBe(3);
  });

  it('passes a cancel again', () => {
    arrive(0);
    conductor.tell({ kind: 'cancel', request: 0, attempt: 0 }, WORKLOAD);
    const done = inventory({ dispatchSequence: 0 });
    const kinds = done.sent.filter(([to]) => to === prefill).map(([, { kind }]) => kind);
    expect(kinds).toEqual(['dispatch', 'cancel']);
  });
});

describe('deaths', () => {
  const gone = (instance: number) =>
    conductor.tell({ kind: 'peerGone', peer: cluster.addresses.instance(instance) });
  const prefilled = (request: number) =>
    conductor.tell({ kind: 'prefilled', request, attempt: 0 }, prefill);
  const lost = (request: number) => ({ request, outcome: Outcome.lost });

  it('lose what waits on a dead instance or decodes there, and give up its other half', () => {
    arrive(0);
    arrive(1, [1, 2]);
    const done = gone(0);
    expect(done.messages('terminal')).toMatchObject([lost(0)]);
    expect(done.messages('unreserve')).toMatchObject([{ request: 0, instance: 2 }]);
    expect(conductor.machine.views.prefillInstances).toEqual([1]);
    const all = gone(2);
    expect(all.messages('terminal')).toMatchObject([lost(1)]);
    const prefill1 = cluster.addresses.instance(1);
    expect(all.sent).toContainEqual([prefill1, { kind: 'cancel', request: 1, attempt: 0 }]);
    conductor.machine.checkIdle();
    expect(arrive(2).messages('terminal')).toMatchObject([{ outcome: Outcome.rejectedNoInstance }]);
  });

  it('ask the decode instance for what a dead instance had computed', () => {
    arrive(0);
    prefilled(0);
    const done = gone(0);
    expect(done.messages('terminal')).toEqual([]);
    expect(done.messages('probe')).toEqual([{ kind: 'probe', request: 0, attempt: 0 }]);
    // The question or its answer was lost.
    const again = inventory({ instance: 2, roles: ['decode'] });
    expect(again.messages('probe')).toEqual([{ kind: 'probe', request: 0, attempt: 0 }]);
    expect(finished(0, Outcome.lost).messages('terminal')).toMatchObject([lost(0)]);
    conductor.machine.checkIdle();
  });

  it('are over when a new life reports, which has lost what the old one had', () => {
    arrive(0);
    const back = inventory({ incarnation: 2, term: 0, roles: ['prefill'] });
    expect(back.messages('terminal')).toMatchObject([lost(0)]);
    expect(conductor.machine.views.prefillInstances).toEqual([0, 1]);
    arrive(1);
    // Numbers go on: what the new life was sent before it reported is not taken for this one.
    expect(arrive(2).messages('dispatch')).toMatchObject([{ sequence: 2, after: 0 }]);
  });
});

describe('a successor', () => {
  const stores = [0, 1, 2].map((node) => ({
    kind: 'blockInventory' as const,
    node,
    tier: Tier.dram,
    instance: -1,
    incarnation: 1,
    sequence: 4,
    blocks: [],
  }));
  const answer = (instance: number, more: Partial<RequestInventory>) =>
    inventory({ instance, roles: instance === 2 ? ['decode'] : ['prefill'], ...more });

  beforeEach(() => {
    const settings = { ...plan.settings, conductor: { ...plan.settings.conductor, term: 2 } };
    cluster = tellers({ ...plan, settings });
    conductor = cluster.conductor;
  });

  it('decides nothing before all have answered, then keeps what runs', () => {
    expect(arrive(0).of('wakeAt')).toEqual([[1e9, 0]]);
    expect(arrive(1).commands).toEqual([]);
    for (const store of stores) conductor.tell(store, cluster.addresses.store(store.node));
    const ended = [{ request: 2, attempt: 0, outcome: Outcome.completed }];
    answer(0, { live: [alive(0, Phase.handoff)], dispatchSequence: 7 });
    answer(1, { ended });
    expect(arrive(2).commands).toEqual([]);
    const done = answer(2, { live: [alive(0, Phase.decode)] });
    expect(done.messages('dispatch')).toMatchObject([{ term: 2, sequence: 1 }]);
    expect(done.messages('dispatch')[0].request.id).toBe(1);
    expect(done.messages('terminal')).toMatchObject([{ request: 2, outcome: Outcome.completed }]);
    expect(conductor.machine.views.decodeRequests(2)).toBe(2);
    finished(0);
    finished(1);
    conductor.machine.checkIdle();
  });

  it('waits a second at most, and not for the dead', () => {
    arrive(0);
    expect(conductor.tell({ kind: 'wake', token: 0 }).messages('dispatch')).toHaveLength(1);
    conductor = tellers({
      ...plan,
      settings: { ...plan.settings, conductor: { ...plan.settings.conductor, term: 2 } },
    }).conductor;
    arrive(0);
    for (const store of stores) conductor.tell(store, cluster.addresses.store(store.node));
    answer(1, {});
    answer(2, {});
    const last = conductor.tell({ kind: 'peerGone', peer: cluster.addresses.instance(0) });
    expect(last.messages('dispatch')).toHaveLength(1);
  });
});

describe('where blocks are kept', () => {
  const inventoryOf = (node: number) => ({
    kind: 'blockInventory' as const,
    node,
    tier: Tier.dram,
    instance: -1,
    incarnation: 1,
    sequence: 1,
    blocks: [],
  });
  const blocks = Array.from({ length: 30 }, (_, i) => i);

  it.each(['random', 'free-ratio-first', 'bucket-map'])('is never dead: %s', async (placement) => {
    const policies = { prefill: 'round-robin', placement };
    cluster = tellers(
      await tinyPlan({ topology: tinyTopology({ prefill: 2, decode: 1 }), policies }),
    );
    conductor = cluster.conductor;
    const keepers = (id: number) => {
      const [{ nodes }] = arrive(id, blocks).messages('dispatch');
      return [...new Set(nodes)].sort();
    };
    expect(keepers(0)).toEqual([0, 1, 2]);
    const store = cluster.addresses.store(2);
    conductor.tell({ kind: 'peerGone', peer: store });
    expect(keepers(2)).toEqual([0, 1]);
    conductor.tell(inventoryOf(2), store);
    expect(keepers(4)).toEqual([0, 1, 2]);
  });
});
