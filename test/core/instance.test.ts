/** An instance on its own: chunks, hand-off, batches, and what it does when others fail. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Count, Mark } from '../../src/core/host.ts';
import type { Dispatch, Reserved } from '../../src/core/messages.ts';
import { Outcome, Phase } from '../../src/core/request.ts';
import { CONDUCTOR, Tier } from '../../src/core/topology.ts';
import { type Done, ended, requestOf, tellers } from '../support/teller.ts';
import { TINY_SETTINGS, tinyPlan, tinyTopology } from '../support/tiny.ts';

const { chunkTokens } = TINY_SETTINGS.instance;
/** 0 and 1 prefill, 2 decodes, 3 does both. */
const topology = tinyTopology({ prefill: 2, decode: 1, coupled: 1 });
const plan = await tinyPlan({ topology });
/** 6 blocks are 96 tokens: two chunks. */
const request = requestOf(5, [0, 1, 2, 3, 4, 5]);

let cluster: ReturnType<typeof tellers>;
let instance: (typeof cluster)['instances'][0];
let store: number;
let decodeStore: number;
let decode: number;

beforeEach(() => {
  cluster = tellers(plan);
  instance = cluster.instances[0];
  store = cluster.addresses.store(0);
  decodeStore = cluster.addresses.store(2);
  decode = cluster.addresses.instance(2);
});

function dispatch(more: Partial<Dispatch> = {}): Dispatch {
  return {
    kind: 'dispatch',
    term: 1,
    sequence: 1,
    after: (more.sequence ?? 1) - 1,
    request,
    decodeInstance: 2,
    sources: [],
    sourceBlocks: 0,
    localBlocks: 0,
    untils: [] as readonly number[],
    keepsFetched: true,
    nodes: [] as readonly number[],
    ...more,
  };
}

const ids = (id = request.id) => ({ request: id, attempt: 0 });
const acquired = (id = request.id) =>
  ({
    kind: 'acquired',
    ...ids(id),
    hitBlocks: 0,
    cachedTokens: 0,
    hbmTokens: 0,
    ssdTokens: 0,
    peerTokens: 0,
    loads: [] as readonly number[],
  }) as const;
const reserved = (status: Reserved['status']) => ({ kind: 'reserved', ...ids(), status }) as const;
const stepOf = (done: Done) => done.of('startStep')[0][0] as { id: number; chunks: object[] };
const stepEnded = (step: number) =>
  ({ kind: 'stepEnded', step, durationNs: 10, computeNs: 10, decoded: 0, decodeNs: 0 }) as const;
const taken = (ok: boolean) => ({ kind: 'handoffTaken', ...ids(), ok }) as const;
const cancel = { kind: 'cancel', ...ids() } as const;

/** Up to the first chunk on the GPUs. */
function compute(): Done {
  instance.tell(dispatch(), CONDUCTOR);
  return instance.tell(acquired(), store);
}

/** Up to the end of the prompt. */
function prefill(): Done {
  const second = instance.tell(stepEnded(stepOf(compute()).id));
  return instance.tell(stepEnded(stepOf(second).id));
}

describe('an instance that prefills', () => {
  it('acquires memory, computes in chunks, saves what each makes', () => {
    const asks = instance.tell(dispatch(), CONDUCTOR);
    expect(asks.messages('acquire')).toMatchObject([{ request, hbmTokens: request.inputTokens }]);
    const first = instance.tell(acquired(), store);
    expect(stepOf(first).chunks).toEqual([
      { request: 5, fromToken: 0, toToken: chunkTokens, first: true, last: false, loads: [] },
    ]);
    expect(first.messages('saveBlocks')).toMatchObject([{ fromBlock: 0, toBlock: 4 }]);
    const second = instance.tell(stepEnded(stepOf(first).id));
    expect(stepOf(second).chunks).toEqual([
      { request: 5, fromToken: chunkTokens, toToken: 96, first: false, last: true, loads: [] },
    ]);
    expect(second.messages('saveBlocks')).toMatchObject([{ fromBlock: 4, toBlock: 6 }]);
    const done = instance.tell(stepEnded(stepOf(second).id));
    expect(done.sent).toContainEqual([CONDUCTOR, { kind: 'prefilled', ...ids() }]);
    expect(done.of('mark')).toContainEqual([5, Mark.computeNs, 20]);
  });

  it('computes only what its cache lacks, once the load is there', () => {
    instance.tell(dispatch(), CONDUCTOR);
    const done = instance.tell(
      { ...acquired(), hitBlocks: 5, loads: [77], cachedTokens: 80 },
      store,
    );
    expect(stepOf(done).chunks).toEqual([
      { request: 5, fromToken: 80, toToken: 96, first: true, last: true, loads: [77] },
    ]);
    expect(done.messages('saveBlocks')).toMatchObject([{ fromBlock: 5, toBlock: 6 }]);
  });

  it('lets a prompt whose blocks are still on their way wait, and takes the next', () => {
    const fetching = dispatch({ sources: [1], sourceBlocks: 4 });
    const asks = instance.tell(fetching, CONDUCTOR);
    expect(asks.messages('fetchBlocks')).toMatchObject([{ sources: [1], sourceBlocks: 4 }]);
    expect(asks.messages('acquire')).toEqual([]);
    const other = requestOf(6, [9]);
    const next = instance.tell(dispatch({ sequence: 2, request: other }), CONDUCTOR);
    expect(next.messages('acquire')).toMatchObject([{ request: other }]);
    instance.tell({ kind: 'fetched', ...ids(), blocks: 4 }, store);
    const step = stepOf(instance.tell(acquired(6), store));
    const done = instance.tell(stepEnded(step.id));
    expect(done.messages('acquire')).toMatchObject([{ request }]);
  });

  it('takes dispatches without a hole: twice once, and none after one that was lost', () => {
    const asks = instance.tell(dispatch({ sequence: 2 }), CONDUCTOR);
    expect(asks.commands).toEqual([['count', Count.lateFact, 1]]);
    expect(instance.tell(dispatch(), CONDUCTOR).messages('acquire')).toHaveLength(1);
    expect(instance.tell(dispatch(), CONDUCTOR).commands).toEqual([['count', Count.lateFact, 1]]);
  });

  it('goes over a hole that the conductor knows of, and takes nothing from it later', () => {
    const late = [['count', Count.lateFact, 1]];
    instance.tell(dispatch(), CONDUCTOR);
    const other = (id: number) => ({ request: requestOf(id, [id]) });
    const tell = (sequence: number, after: number) =>
      instance.tell(dispatch({ sequence, after, ...other(sequence) }), CONDUCTOR).commands;
    expect(tell(4, 3)).toEqual(late);
    expect(tell(3, 1)).not.toEqual(late);
    expect(tell(2, 1)).toEqual(late);
    expect(tell(4, 3)).not.toEqual(late);
  });

  it('rejects more than its queue may hold', async () => {
    const settings = { instance: { queueRequests: 1 } };
    instance = tellers(await tinyPlan({ topology, settings })).instances[0];
    const send = (sequence: number) =>
      instance.tell(dispatch({ sequence, request: requestOf(sequence, [0]) }), CONDUCTOR);
    expect([1, 2].flatMap((sequence) => send(sequence).messages('finished'))).toEqual([]);
    expect(send(3).messages('finished')).toMatchObject([{ outcome: Outcome.rejectedQueueFull }]);
  });
});

describe('an instance that hands over', () => {
  it('streams no token before decode space is granted, and then follows the step', () => {
    const computing = compute();
    expect(computing.messages('reserve')).toMatchObject([{ instance: 2, tokens: 100 }]);
    expect(computing.transfers).toEqual([]);
    const [stream] = instance.tell(reserved('granted'), decodeStore).transfers;
    expect(stream).toMatchObject({ kind: 'stream', tokens: chunkTokens });
    expect(stream.afterStep).toBe(stepOf(computing).id);
    const second = instance.tell(stepEnded(stepOf(computing).id));
    expect(second.transfers[0]).toMatchObject({ tokens: 32, afterStep: stepOf(second).id });
    instance.tell(stepEnded(stepOf(second).id));
    expect(instance.tell(ended(stream)).messages('handoff')).toEqual([]);
    const last = instance.tell(ended(second.transfers[0]));
    expect(last.sent).toEqual([[decode, { kind: 'handoff', request }]]);
    const done = instance.tell(taken(true), decode);
    expect(done.sent).toEqual([[store, { kind: 'release', ...ids(), instance: 0 }]]);
    instance.machine.checkIdle();
  });

  it('parks KV in DRAM while decode has no room, and streams from there', () => {
    const done = prefill();
    expect(done.messages('park')).toMatchObject([{ tokens: 96 }]);
    instance.tell({ kind: 'parked', ...ids(), ok: true }, store);
    const [stream] = instance.tell(reserved('granted'), decodeStore).transfers;
    expect(stream).toMatchObject({ tokens: 96, afterStep: 0 });
    expect(stream.source).toMatchObject({ node: 0, tier: Tier.dram });
  });

  it('rejects when neither decode nor DRAM has room', () => {
    prefill();
    const done = instance.tell({ kind: 'parked', ...ids(), ok: false }, store);
    expect(done.messages('finished')).toMatchObject([{ outcome: Outcome.rejectedDecodeFull }]);
    expect(done.messages('unreserve')).toHaveLength(1);
    instance.machine.checkIdle();
  });

  it('streams again what broke off, twice, and then fails', () => {
    const computing = compute();
    let [stream] = instance.tell(reserved('granted'), decodeStore).transfers;
    const second = instance.tell(stepEnded(stepOf(computing).id));
    instance.tell(stepEnded(stepOf(second).id));
    instance.tell(ended(second.transfers[0]));
    const broken = () => ({ ...ended(stream), ok: false, cause: 'lost' as const });
    for (let retry = 0; retry < 2; retry++) {
      const done = instance.tell(broken());
      expect(done.of('count')).toEqual([[Count.transferFailed, 1]]);
      [stream] = done.transfers;
      expect(stream.tokens).toBe(96);
    }
    const done = instance.tell(broken());
    expect(done.messages('finished')).toMatchObject([{ outcome: Outcome.failed }]);
    instance.machine.checkIdle();
  });

  it('reserves again when its reservation had run out, twice, and then fails', () => {
    prefill();
    instance.tell({ kind: 'parked', ...ids(), ok: true }, store);
    for (let retry = 0; ; retry++) {
      const [stream] = instance.tell(reserved('granted'), decodeStore).transfers;
      expect(instance.tell(ended(stream)).messages('handoff')).toHaveLength(1);
      const done = instance.tell(taken(false), decode);
      if (retry === 2) {
        expect(done.messages('finished')).toMatchObject([{ outcome: Outcome.failed }]);
        break;
      }
      expect(done.messages('reserve')).toHaveLength(1);
    }
    instance.machine.checkIdle();
  });
});

describe('an instance whose request is cancelled', () => {
  it('drops one that waits at once, and one that computes at the end of its step', () => {
    const computing = compute();
    const waiting = requestOf(6, [9]);
    instance.tell(dispatch({ sequence: 2, request: waiting }), CONDUCTOR);
    const dropped = instance.tell({ ...cancel, request: 6 }, CONDUCTOR);
    expect(dropped.messages('finished')).toMatchObject([
      { request: 6, outcome: Outcome.cancelled },
    ]);
    expect(instance.tell(cancel, CONDUCTOR).commands).toEqual([]);
    const done = instance.tell(stepEnded(stepOf(computing).id));
    expect(done.messages('finished')).toMatchObject([{ outcome: Outcome.cancelled }]);
    expect(done.messages('unreserve')).toHaveLength(1);
    expect(done.messages('release')).toHaveLength(1);
    instance.machine.checkIdle();
  });

  it('gives memory back only when nothing streams out of it any more', () => {
    const computing = compute();
    const [stream] = instance.tell(reserved('granted'), decodeStore).transfers;
    instance.tell(cancel, CONDUCTOR);
    const over = instance.tell(stepEnded(stepOf(computing).id));
    expect(over.messages('finished')).toMatchObject([{ outcome: Outcome.cancelled }]);
    expect([...over.messages('release'), ...over.messages('unreserve')]).toEqual([]);
    const drained = instance.tell(ended(stream));
    expect(drained.sent.map(([, { kind }]) => kind)).toEqual(['unreserve', 'release']);
    instance.machine.checkIdle();
  });

  it('passes the cancel on when decode has taken it meanwhile', () => {
    prefill();
    instance.tell({ kind: 'parked', ...ids(), ok: true }, store);
    const [stream] = instance.tell(reserved('granted'), decodeStore).transfers;
    instance.tell(ended(stream));
    expect(instance.tell(cancel, CONDUCTOR).commands).toEqual([]);
    const done = instance.tell(taken(true), decode);
    expect(done.sent).toContainEqual([decode, cancel]);
  });

  it('ends it when decode has refused it meanwhile', () => {
    prefill();
    instance.tell({ kind: 'parked', ...ids(), ok: true }, store);
    const [stream] = instance.tell(reserved('granted'), decodeStore).transfers;
    instance.tell(ended(stream));
    instance.tell(cancel, CONDUCTOR);
    const done = instance.tell(taken(false), decode);
    expect(done.messages('finished')).toMatchObject([{ outcome: Outcome.cancelled }]);
    instance.machine.checkIdle();
  });
});

describe('an instance that decodes', () => {
  const runEnded = (run: number, steps: number) =>
    ({ kind: 'runEnded', run, steps, gapsNs: new Float64Array(steps).fill(1), from: 0 }) as const;
  const runOf = (done: Done) => done.of('startRun')[0][0] as { id: number; maxSteps: number };
  const take = (id: number, outputTokens: number) => {
    const handoff = { kind: 'handoff', request: requestOf(id, [0], outputTokens) } as const;
    instance.tell(handoff, cluster.addresses.instance(0));
    return instance.tell({ kind: 'claimed', ...ids(id), ok: true }, decodeStore);
  };

  beforeEach(() => {
    instance = cluster.instances[2];
  });

  it('runs a batch to the end of its shortest request, and admits others between steps', () => {
    const first = runOf(take(1, 5));
    expect(first).toMatchObject({ batch: 1, contextTokens: 17, maxSteps: 4, requests: [1] });
    expect(take(2, 3).of('cutRun')).toEqual([[first.id]]);
    const second = runOf(instance.tell(runEnded(first.id, 2)));
    expect(second).toMatchObject({ batch: 2, contextTokens: 36, maxSteps: 2, requests: [1, 2] });
    const done = instance.tell(runEnded(second.id, 2));
    expect(done.messages('finished').map(({ request }) => request)).toEqual([1, 2]);
    expect(done.messages('release')).toHaveLength(2);
    instance.machine.checkIdle();
  });

  it('cuts no run for a request that the batch has no room for', async () => {
    const settings = { instance: { batchRequests: 1 } };
    instance = tellers(await tinyPlan({ topology, settings })).instances[2];
    const run = runOf(take(1, 5));
    expect(take(2, 3).of('cutRun')).toEqual([]);
    expect(runOf(instance.tell(runEnded(run.id, 4)))).toMatchObject({ requests: [2] });
  });

  it('claims a hand-off once and answers it as often as it is asked', () => {
    const prefill = cluster.addresses.instance(0);
    const handoff = { kind: 'handoff', request } as const;
    expect(instance.tell(handoff, prefill).messages('claim')).toHaveLength(1);
    expect(instance.tell(handoff, prefill).commands).toEqual([]);
    const claimed = instance.tell({ kind: 'claimed', ...ids(), ok: true }, decodeStore);
    expect(claimed.sent).toEqual([[prefill, taken(true)]]);
    expect(instance.tell(handoff, prefill).sent).toEqual([[prefill, taken(true)]]);
  });

  it('says again how a request ended when a successor of the conductor sends it anew', () => {
    const run = runOf(take(1, 5));
    const done = instance.tell(runEnded(run.id, 4)).messages('finished');
    expect(done).toMatchObject([{ request: 1, outcome: Outcome.completed }]);
    const again = requestOf(1, [0], 5);
    const handoff = { kind: 'handoff', request: again } as const;
    const prefill = cluster.addresses.instance(0);
    const { sent } = instance.tell(handoff, prefill);
    expect(sent).toEqual([
      [prefill, { kind: 'handoffTaken', ...ids(1), ok: true }],
      [CONDUCTOR, done[0]],
    ]);
    const dispatched = instance.tell(dispatch({ request: again }), CONDUCTOR);
    expect(dispatched.messages('finished')).toEqual(done);
  });

  it('ends a cancelled request at the next step', () => {
    const run = runOf(take(1, 50));
    const cut = instance.tell({ ...cancel, request: 1 }, CONDUCTOR);
    expect(cut.of('cutRun')).toEqual([[run.id]]);
    const done = instance.tell(runEnded(run.id, 3));
    expect(done.messages('finished')).toMatchObject([{ outcome: Outcome.cancelled }]);
    instance.machine.checkIdle();
  });
});

describe('an instance after a reset', () => {
  it('asks again for space that it waits for', () => {
    compute();
    const again = instance.tell({ kind: 'peerReset', peer: decodeStore });
    expect(again.messages('reserve')).toHaveLength(1);
    // The store forgets who waits for an instance that began anew.
    const born = instance.tell({ kind: 'peerReset', peer: decode });
    expect(born.messages('reserve')).toHaveLength(1);
    instance.tell(reserved('granted'), decodeStore);
    expect(instance.tell({ kind: 'peerReset', peer: decodeStore }).commands).toEqual([]);
  });

  it('offers again what was not taken', () => {
    prefill();
    instance.tell({ kind: 'parked', ...ids(), ok: true }, store);
    const [stream] = instance.tell(reserved('granted'), decodeStore).transfers;
    instance.tell(ended(stream));
    const offered = instance.tell({ kind: 'peerReset', peer: decode });
    expect(offered.sent).toEqual([[decode, { kind: 'handoff', request }]]);
  });

  it('tells the conductor what lives here and what ended', () => {
    compute();
    instance.tell(dispatch({ sequence: 2, request: requestOf(6, [1]) }), CONDUCTOR);
    instance.tell(dispatch({ sequence: 3, request: requestOf(7, [2]) }), CONDUCTOR);
    instance.tell({ ...cancel, request: 7 }, CONDUCTOR);
    const done = instance.tell({ kind: 'peerReset', peer: CONDUCTOR });
    expect(done.messages('requestInventory')).toEqual([
      {
        kind: 'requestInventory',
        instance: 0,
        incarnation: 0,
        roles: ['prefill'],
        term: 1,
        dispatchSequence: 3,
        live: [
          { ...ids(5), phase: Phase.prefill, decodeInstance: 2 },
          { ...ids(6), phase: Phase.queued, decodeInstance: 2 },
        ],
        ended: [{ ...ids(7), outcome: Outcome.cancelled }],
      },
    ]);
  });
});

describe('roles', () => {
  const drain = { kind: 'setRoles', term: 1, instance: 0, roles: [] } as const;

  it('are acknowledged at once by an idle instance', () => {
    const told = instance.tell(drain, CONDUCTOR).messages('rolesSet');
    expect(told).toEqual([{ kind: 'rolesSet', instance: 0, roles: [], idle: true }]);
    expect(instance.tell(drain, CONDUCTOR).messages('rolesSet')).toEqual(told);
  });

  it('are acknowledged again when a busy one is through', () => {
    const step = stepOf(compute());
    expect(instance.tell(drain, CONDUCTOR).messages('rolesSet')).toMatchObject([{ idle: false }]);
    expect(instance.tell(cancel, CONDUCTOR).messages('rolesSet')).toEqual([]);
    const through = instance.tell(stepEnded(step.id)).messages('rolesSet');
    expect(through).toMatchObject([{ roles: [], idle: true }]);
  });
});

describe('leaders and probes', () => {
  it('refuses commands of an earlier leader, and counts anew for a new one', () => {
    instance.tell(dispatch(), CONDUCTOR);
    const next = { request: requestOf(6, [1]) };
    instance.tell(dispatch({ ...next, term: 2, sequence: 1 }), CONDUCTOR);
    const late = instance.tell(dispatch({ ...next, sequence: 2 }), CONDUCTOR);
    expect(late.commands).toEqual([['count', Count.lateFact, 1]]);
    const [told] = instance
      .tell({ kind: 'peerReset', peer: CONDUCTOR })
      .messages('requestInventory');
    expect(told).toMatchObject({ term: 2, dispatchSequence: 1 });
    expect(told.live.map((live) => live.request)).toEqual([5, 6]);
  });

  it('says that a request is not here and will not come', () => {
    const decoder = cluster.instances[2];
    const probe = { kind: 'probe', ...ids() } as const;
    expect(decoder.tell(probe, CONDUCTOR).messages('finished')).toMatchObject([
      { ...ids(), outcome: Outcome.lost },
    ]);
    decoder.tell({ kind: 'handoff', request }, cluster.addresses.instance(0));
    expect(decoder.tell(probe, CONDUCTOR).messages('finished')).toEqual([]);
    const failed = decoder.tell({ kind: 'claimed', ...ids(), ok: false }, decodeStore);
    expect(failed.messages('finished')).toMatchObject([{ outcome: Outcome.lost }]);
  });
});
