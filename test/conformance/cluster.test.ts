/** What a cluster does on any host: one suite, the simulated and the real-time world. */
import { describe, expect, it } from 'vitest';
import { policyNames } from '../../src/config/policies.ts';
import type { ClusterPlan } from '../../src/config/wire.ts';
import { Count, Mark } from '../../src/core/host.ts';
import type { LoggedMachine } from '../../src/core/log.ts';
import type { Body } from '../../src/core/messages.ts';
import type { PrefillChoice } from '../../src/core/policy.ts';
import { Outcome } from '../../src/core/request.ts';
import { AddressBook, CONDUCTOR } from '../../src/core/topology.ts';
import { withDecoded } from '../../src/study/decoded.ts';
import { RECKLESS } from '../fuzz/reckless.ts';
import { type ClusterRun, checkAtRest, clusterOn, describeHosts } from '../support/hosts.ts';
import { expectReplays } from '../support/replays.ts';
import {
  BLOCK_TOKENS,
  randomTrace,
  SETTLE_NS,
  type TinyPlan,
  tinyPlan,
  tinyTopology,
  traceOf,
} from '../support/tiny.ts';

type Steer = Partial<PrefillChoice>;

/** A plan whose prefill policy is told what to choose for each request. */
async function steered(given: TinyPlan, choices: readonly Steer[]): Promise<ClusterPlan> {
  const plan = await tinyPlan(given);
  const none: PrefillChoice = { instance: 0, sourceNode: -1, sourceBlocks: 0, ttftNs: 0 };
  const prefill = {
    name: 'steered',
    create: () => ({ choose: ({ id }: { id: number }) => ({ ...none, ...choices[id] }) }),
  };
  return { ...plan, policies: { ...plan.policies, prefill } };
}

/** What a prefill instance hears, prompt by prompt: space for decode, and room to park. */
class SpaceSeen {
  /** Whose first token came before space was granted. */
  readonly late: number[] = [];
  /** Those for which there was no room to park, and no space by then. */
  readonly refused = new Set<number>();
  private readonly granted = new Set<number>();

  onMark(_from: number, request: number, mark: Mark): void {
    if (mark === Mark.firstTokenNs && !this.granted.has(request)) this.late.push(request);
  }

  onFact(_to: number, { body }: { body: Body }): void {
    if (body.kind === 'reserved' && body.status === 'granted') this.granted.add(body.request);
    else if (body.kind === 'parked' && !body.ok && !this.granted.has(body.request)) {
      this.refused.add(body.request);
    }
  }
}

const outcomes = ({ recorder }: ClusterRun) => [...recorder.column(Mark.outcome)];
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describeHosts('%s', (kind) => {
  describe('brings every request to its end and breaks no law', () => {
    const shapes = {
      disaggregated: { prefill: 2, decode: 2 },
      coupled: { prefill: 0, decode: 0, coupled: 3 },
      mixed: { prefill: 1, decode: 0, mixed: 2, coupled: 1 },
    };
    it.each(policyNames('batching'))('batching %s', async (batching) => {
      const topology = tinyTopology({ prefill: 0, decode: 1, coupled: 2, hbmTokens: 600 });
      const plan = await tinyPlan({ topology, policies: { batching, prefill: 'least-loaded' } });
      const trace = randomTrace(4, { requests: 80, gapNs: 20_000 });
      const run = clusterOn(kind, { plan, trace, segmentFacts: 60 });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(outcomes(run)).toEqual(new Array(trace.requests).fill(Outcome.completed));
      const ends = run.cluster.machines as readonly LoggedMachine[];
      expect(expectReplays(run.plan, trace, run.logs, ends)).toBeGreaterThan(run.logs.length);
      if (batching === 'sarathi') expect(run.causality.count('mixed step')).toBeGreaterThan(0);
    });

    it.each(['recompute', 'swap'] as const)('preempting by %s', async (preemption) => {
      const topology = tinyTopology({ prefill: 1, decode: 1, coupled: 1, hbmTokens: 300 });
      const settings = { instance: { decodeSpace: 'grow', preemption } } as const;
      const plan = await tinyPlan({ topology, settings, policies: { prefill: 'least-loaded' } });
      const shape = { requests: 60, blocks: 5, outputTokens: 60, gapNs: 10_000 };
      const trace = randomTrace(4, shape);
      const run = clusterOn(kind, { plan, trace });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(outcomes(run)).toEqual(new Array(trace.requests).fill(Outcome.completed));
      expect(run.recorder.counts[Count.preempted]).toBeGreaterThan(0);
      if (preemption === 'swap') expect(run.causality.count('unpark ok')).toBeGreaterThan(0);
    });

    it.each(Object.entries(shapes))('%s', async (_name, shape) => {
      const topology = tinyTopology({ ...shape, dramBlocks: 30, hbmTokens: 600 });
      const planned = await tinyPlan({ topology });
      const plan = { ...planned, policies: { ...planned.policies, prefill: RECKLESS.prefill } };
      const trace = randomTrace(3, { requests: 80, closed: 0.3 });
      const run = clusterOn(kind, { plan, trace });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(outcomes(run)).toEqual(new Array(trace.requests).fill(Outcome.completed));
      for (let request = 0; request < trace.requests; request++) {
        expect(run.causality.terminals.get(request)).toBe(1);
      }
    });
  });

  it('computes a prompt in chunks, streams it and decodes it', async () => {
    const plan = await tinyPlan({ topology: tinyTopology({ prefill: 1 }) });
    const trace = traceOf([{ atNs: 0, blocks: range(0, 10), outputTokens: 5 }]);
    const run = clusterOn(kind, { plan, trace });
    await run.run();
    checkAtRest(run, trace.distinctBlocks);
    const mark = (which: Mark) => run.recorder.column(which)[0];
    expect(run.causality.count('step')).toBe(3);
    expect(mark(Mark.computeNs)).toBe(170_000);
    const order = [Mark.arrivedNs, Mark.dispatchedNs, Mark.startedNs, Mark.firstTokenNs];
    const times = [...order, Mark.joinedNs, Mark.finishedNs].map(mark);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(mark(Mark.decodeInstance)).toBe(1);
    expect(range(0, 10).map((block) => run.cluster.stores[0].dram.findReady(block) >= 0)).toEqual(
      new Array(10).fill(true),
    );
  });

  it('starts a request of a closed loop after its parent and the think time', async () => {
    const thinkNs = 700_000;
    const plan = await tinyPlan({ topology: tinyTopology() });
    const trace = traceOf([
      { atNs: 0, blocks: [0], outputTokens: 2 },
      { atNs: 0, blocks: [0, 1], outputTokens: 2, parent: 0, thinkNs },
      { atNs: 0, blocks: [0, 1, 2], outputTokens: 2, parent: 1, thinkNs },
    ]);
    const run = clusterOn(kind, { plan, trace });
    await run.run();
    const arrived = run.recorder.column(Mark.arrivedNs);
    const finished = run.recorder.column(Mark.finishedNs);
    expect(arrived[1]).toBeGreaterThanOrEqual(finished[0] + thinkNs);
    expect(arrived[2]).toBeGreaterThanOrEqual(finished[1] + thinkNs);
  });

  describe('a fetch from a peer', () => {
    const topology = tinyTopology({ prefill: 2, decode: 1 });

    it('leaves a replica, which the directory learns of', async () => {
      const trace = traceOf([
        { atNs: 0, blocks: range(0, 4), outputTokens: 2 },
        { atNs: 0, blocks: range(0, 6), outputTokens: 2, parent: 0, thinkNs: SETTLE_NS },
      ]);
      const plan = await steered({ topology }, [
        {},
        { instance: 1, sourceNode: 0, sourceBlocks: 4 },
      ]);
      const run = clusterOn(kind, { plan, trace });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(run.causality.count('fetch ok')).toBe(1);
      expect(run.recorder.column(Mark.peerTokens)[1]).toBe(4 * BLOCK_TOKENS);
      const { stores, conductor } = run.cluster;
      for (const block of range(0, 4)) {
        expect(stores[0].dram.findReady(block)).toBeGreaterThanOrEqual(0);
        expect(stores[1].dram.findReady(block)).toBeGreaterThanOrEqual(0);
        expect(conductor.directory.replicas(block)).toBe(2);
      }
      expect(conductor.directory.replicas(4)).toBe(1);
    });

    it('takes what is there of what was hinted, and recomputes the rest', async () => {
      const trace = traceOf([
        { atNs: 0, blocks: range(0, 2), outputTokens: 2 },
        { atNs: 0, blocks: range(0, 6), outputTokens: 2, parent: 0, thinkNs: SETTLE_NS },
      ]);
      const plan = await steered({ topology }, [
        {},
        { instance: 1, sourceNode: 0, sourceBlocks: 5 },
      ]);
      const run = clusterOn(kind, { plan, trace });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(outcomes(run)).toEqual([Outcome.completed, Outcome.completed]);
      expect(run.causality.counts.get(Count.staleMiss)).toBe(3);
      expect(run.recorder.column(Mark.peerTokens)[1]).toBe(2 * BLOCK_TOKENS);
      expect(run.recorder.column(Mark.staleTokens)[1]).toBe(3 * BLOCK_TOKENS);
    });
  });

  describe('with an HBM cache', () => {
    const settings = { store: { hbmCache: true }, instance: { hbmCache: true } };

    it('serves what an earlier prompt of the instance computed or loaded from there', async () => {
      const trace = traceOf([
        { atNs: 0, blocks: range(0, 6), outputTokens: 2 },
        { atNs: 0, blocks: range(0, 8), outputTokens: 2, parent: 0, thinkNs: SETTLE_NS },
      ]);
      const plan = await tinyPlan({
        topology: tinyTopology({ prefill: 0, decode: 0, coupled: 1 }),
        settings,
      });
      const run = clusterOn(kind, { plan, trace });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(run.recorder.column(Mark.hbmTokens)[1]).toBe(6 * BLOCK_TOKENS);
      expect(run.causality.count('load')).toBe(0);
    });

    it('gives its room to working memory, and keeps every law', async () => {
      const topology = tinyTopology({
        prefill: 1,
        decode: 0,
        coupled: 2,
        dramBlocks: 10,
        hbmTokens: [300, 400, 500],
      });
      const planned = await tinyPlan({ topology, settings });
      const plan = { ...planned, policies: { ...planned.policies, prefill: RECKLESS.prefill } };
      const trace = randomTrace(4, { requests: 80, closed: 0.3 });
      const run = clusterOn(kind, { plan, trace });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(outcomes(run)).toEqual(new Array(trace.requests).fill(Outcome.completed));
      const hbm = run.recorder.column(Mark.hbmTokens).filter((tokens) => tokens > 0);
      expect(hbm.length).toBeGreaterThan(0);
      const caches = run.cluster.stores.map((store, id) => store.hbmCache(id));
      expect(caches.some((cache) => cache !== null && cache.pool.evictions > 0)).toBe(true);
    });
  });

  it('caches what decode produces, where that is asked for', async () => {
    const shape = { prefill: 2, decode: 1, coupled: 1, dramBlocks: 60 };
    const plan = await tinyPlan({ topology: tinyTopology(shape) });
    const plain = randomTrace(6, { requests: 50, closed: 0.8, outputTokens: 60 });
    const trace = withDecoded(plain, 'parent', 'here');
    const run = clusterOn(kind, { plan, trace });
    await run.run();
    checkAtRest(run, trace.distinctBlocks);
    expect(outcomes(run)).toEqual(new Array(trace.requests).fill(Outcome.completed));
    expect(run.causality.count('writeEnded')).toBeGreaterThan(5);
  });

  describe('with blocks spread over nodes', () => {
    const SPREADING = policyNames('placement').filter((name) => name !== 'local');

    it.each(SPREADING)('%s finds them again and breaks no law', async (placement) => {
      const topology = tinyTopology({ prefill: 3, decode: 1, coupled: 1, dramBlocks: 60 });
      const plan = await tinyPlan({ topology, policies: { placement } });
      const shape = { requests: 60, closed: 0.5, conversations: 3, echoes: 24 };
      const trace = randomTrace(3, shape);
      const run = clusterOn(kind, { plan, trace });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(outcomes(run)).toEqual(new Array(trace.requests).fill(Outcome.completed));
      expect(run.causality.count('writeEnded')).toBeGreaterThan(10);
      const peer = run.recorder.column(Mark.peerTokens).filter((tokens) => tokens > 0);
      expect(peer.length).toBeGreaterThan(5);
    });

    it('brings a prefix together that lies on three nodes', async () => {
      const topology = tinyTopology({ prefill: 4, decode: 1, dramBlocks: 60 });
      const planned = await steered({ topology }, [{}, { sourceNode: 1, sourceBlocks: 9 }]);
      const placement = {
        name: 'by hand',
        create: () => ({
          spreads: true,
          place: (block: number) => 1 + (Math.floor(block / 2) % 3),
        }),
      };
      const plan = { ...planned, policies: { ...planned.policies, placement } };
      const trace = traceOf([
        { atNs: 0, blocks: range(0, 9), outputTokens: 2 },
        { atNs: 0, blocks: range(0, 12), outputTokens: 2, parent: 0, thinkNs: SETTLE_NS },
      ]);
      const run = clusterOn(kind, { plan, trace });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(run.causality.count('leaseRequest')).toBe(5);
      expect(run.recorder.column(Mark.peerTokens)[1]).toBe(9 * BLOCK_TOKENS);
    });
  });

  describe('with an SSD', () => {
    it.each(policyNames('tiering'))('%s moves blocks and breaks no law', async (tiering) => {
      const topology = tinyTopology({
        prefill: 2,
        decode: 1,
        coupled: 1,
        dramBlocks: 20,
        ssdBlocks: 60,
        hbmTokens: 600,
      });
      const settings = { instance: { prefetch: true } };
      const heartbeat = tiering === 'mooncake-store' ? ':heartbeat=0.0001,touches=1' : '';
      const policies = { tiering: `${tiering}${heartbeat}`, ssdEviction: 'lru' };
      const planned = await tinyPlan({ topology, settings, policies });
      const plan = { ...planned, policies: { ...planned.policies, prefill: RECKLESS.prefill } };
      const shape = { requests: 80, closed: 0.3, conversations: 3, echoes: 20 };
      const trace = randomTrace(3, shape);
      const run = clusterOn(kind, { plan, trace });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(outcomes(run)).toEqual(new Array(trace.requests).fill(Outcome.completed));
      expect(run.causality.count('demote ok')).toBeGreaterThan(0);
      const ssd = run.recorder.column(Mark.ssdTokens).filter((tokens) => tokens > 0);
      expect(ssd.length).toBeGreaterThan(0);
    });
  });

  describe('when decode has no room', () => {
    // The decode instance holds one request at a time.
    const topology = tinyTopology({ prefill: 1, decode: 1, hbmTokens: [4096, 600] });
    const trace = traceOf([
      { atNs: 0, blocks: range(0, 8), outputTokens: 400 },
      { atNs: 1, blocks: range(8, 16), outputTokens: 400 },
    ]);

    it('parks KV in DRAM and hands it over later', async () => {
      const plan = await tinyPlan({ topology });
      const space = new SpaceSeen();
      const run = clusterOn(kind, { plan, trace, observers: [space] });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      // Who is computed before space is granted parks. The first may be too where a grant takes
      // longer than its prompt; the second always is.
      expect(run.causality.count('park ok')).toBe(space.late.length);
      expect(space.late).toContain(1);
      if (kind.exact) expect(space.late).toEqual([1]);
      const joined = run.recorder.column(Mark.joinedNs);
      const finished = run.recorder.column(Mark.finishedNs);
      expect(joined[1]).toBeGreaterThan(finished[0]);
      expect(outcomes(run)).toEqual([Outcome.completed, Outcome.completed]);
    });

    it('rejects when parking has no room either', async () => {
      const plan = await tinyPlan({ topology, settings: { store: { parkingBytes: 100 } } });
      const space = new SpaceSeen();
      const run = clusterOn(kind, { plan, trace, observers: [space] });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      // Those, and only those, that are told so before space is granted.
      const { completed, rejectedDecodeFull } = Outcome;
      const ends = [0, 1].map((id) => (space.refused.has(id) ? rejectedDecodeFull : completed));
      expect(outcomes(run)).toEqual(ends);
      expect(ends).toContain(rejectedDecodeFull);
      if (kind.exact) expect(ends).toEqual([completed, rejectedDecodeFull]);
    });

    it('rejects what could never fit', async () => {
      const plan = await tinyPlan({ topology });
      const large = traceOf([{ atNs: 0, blocks: range(0, 37), outputTokens: 20 }]);
      const run = clusterOn(kind, { plan, trace: large });
      await run.run();
      checkAtRest(run, large.distinctBlocks);
      expect(outcomes(run)).toEqual([Outcome.rejectedTooLarge]);
    });
  });

  it('rejects more than a queue may hold', async () => {
    const topology = tinyTopology({ prefill: 1, decode: 1, hbmTokens: 20_000 });
    const settings = { instance: { queueRequests: 2, chunkTokens: 20_000 } };
    const plan = await tinyPlan({ topology, settings });
    const rows = range(0, 5).map((i) => ({ atNs: 0, blocks: [i], outputTokens: 1 }));
    const long = { atNs: 0, blocks: range(5, 1_005), outputTokens: 1 };
    const trace = traceOf([long, ...rows]);
    const run = clusterOn(kind, { plan, trace });
    await run.run();
    checkAtRest(run, trace.distinctBlocks);
    expect(outcomes(run).filter((o) => o === Outcome.rejectedQueueFull)).toHaveLength(3);
    expect(outcomes(run).filter((o) => o === Outcome.completed)).toHaveLength(3);
  });

  it('writes logs that replay to the same commands', async () => {
    const topology = tinyTopology({ prefill: 2, decode: 1, coupled: 1, hbmTokens: 400 });
    const plan = await tinyPlan({ topology });
    const trace = randomTrace(5);
    const run = clusterOn(kind, { plan, trace, segmentFacts: 60 });
    await run.run();
    const ends = run.cluster.machines as readonly LoggedMachine[];
    expect(expectReplays(run.plan, trace, run.logs, ends)).toBeGreaterThan(2 * run.logs.length);
    checkAtRest(run, trace.distinctBlocks);
  });
});

// --- cancellation -------------------------------------------------------------------------------

/** A moment in the life of request 1: something that an observer sees. */
interface Moment {
  readonly name: string;
  readonly mark?: Mark;
  readonly fact?: string;
  readonly transfer?: string;
}

const MOMENTS: readonly Moment[] = [
  { name: 'on its way to prefill', fact: 'arrive' },
  { name: 'queued', mark: Mark.dispatchedNs },
  { name: 'fetching', fact: 'fetchBlocks' },
  { name: 'fetching, its move under way', transfer: 'fetch' },
  { name: 'fetched', mark: Mark.fetchedNs },
  { name: 'computing', mark: Mark.startedNs },
  { name: 'streaming', transfer: 'stream' },
  { name: 'handing over', mark: Mark.firstTokenNs },
  { name: 'offered', fact: 'claim' },
  { name: 'decoding', mark: Mark.joinedNs },
];

const CANCEL = { kind: 'cancel', request: 1, attempt: 0 } as const;

interface Told {
  readonly atNs: number;
  readonly body: { readonly kind: string; readonly request?: unknown };
}

/** Sends the cancel of request 1 once, at the moment. */
class CancelAt {
  sent = false;
  /** When a machine heard of it. */
  readonly reachedNs = new Map<number, number>();
  private readonly moment: Moment;
  private readonly send: () => void;

  constructor(moment: Moment, send: () => void) {
    this.moment = moment;
    this.send = send;
  }

  onMark(_from: number, request: number, mark: Mark): void {
    if (request === 1 && mark === this.moment.mark) this.once();
  }

  onTransfer(_from: number, { request, kind }: { request: number; kind: string }): void {
    if (request === 1 && kind === this.moment.transfer) this.once();
  }

  onFact(to: number, { body, atNs }: Told): void {
    const { kind, request } = body;
    if (kind === 'cancel') this.reachedNs.set(to, atNs);
    const id = typeof request === 'object' ? (request as { id: number }).id : request;
    if (id === 1 && kind === this.moment.fact) this.once();
  }

  private once(): void {
    if (this.sent) return;
    this.sent = true;
    this.send();
  }
}

describeHosts('%s cancels', (kind) => {
  const trace = traceOf([
    { atNs: 0, blocks: range(0, 8), outputTokens: 2 },
    { atNs: 0, blocks: range(0, 12), outputTokens: 800, parent: 0, thinkNs: SETTLE_NS },
    { atNs: 0, blocks: range(0, 12), outputTokens: 20, parent: 0, thinkNs: SETTLE_NS },
  ]);

  async function cancelAt(
    moment: Moment,
    plan: ClusterPlan,
  ): Promise<{ readonly run: ClusterRun; readonly reachedNs: ReadonlyMap<number, number> }> {
    const observer = new CancelAt(moment, () => run.ingress.send(CONDUCTOR, CANCEL));
    const run = clusterOn(kind, { plan, trace, observers: [observer] });
    await run.run();
    expect(observer.sent, 'the moment came').toBe(true);
    checkAtRest(run, trace.distinctBlocks);
    expect(outcomes(run)).toEqual([Outcome.completed, Outcome.cancelled, Outcome.completed]);
    return { run, reachedNs: observer.reachedNs };
  }

  it.each(MOMENTS)('a request that is $name', async (moment) => {
    const topology = tinyTopology({ prefill: 2, decode: 1 });
    const fetch = { instance: 1, sourceNode: 0, sourceBlocks: 8 };
    const plan = await steered({ topology }, [{}, fetch, { instance: 0 }]);
    const { run, reachedNs } = await cancelAt(moment, plan);
    // It begins to decode only where the cancel has not come yet. How far a request gets meanwhile
    // is known to the ns in simulated time alone.
    const joinedNs = run.recorder.column(Mark.joinedNs)[1];
    const decoder = new AddressBook(topology).instance(2);
    expect(joinedNs).not.toBeGreaterThan(reachedNs.get(decoder) ?? Number.POSITIVE_INFINITY);
    if (moment.name === 'decoding') expect(joinedNs).not.toBeNaN();
    if (!kind.exact) return;
    const decoded = !Number.isNaN(joinedNs);
    expect(decoded).toBe(moment.name === 'decoding' || moment.name === 'offered');
  });

  it('a request that is parked', async () => {
    const topology = tinyTopology({ prefill: 2, decode: 1, hbmTokens: [4096, 4096, 1000] });
    // Request 2, on the other instance, fills decode first.
    const full = traceOf([
      { atNs: 0, blocks: [0], outputTokens: 1 },
      { atNs: 0, blocks: range(0, 30), outputTokens: 450, parent: 0, thinkNs: SETTLE_NS },
      { atNs: 0, blocks: range(30, 31), outputTokens: 900, parent: 0 },
    ]);
    const plan = await steered({ topology }, [{}, { instance: 0 }, { instance: 1 }]);
    const observer = new CancelAt({ name: 'parked', fact: 'parked' }, () =>
      run.ingress.send(CONDUCTOR, CANCEL),
    );
    const run = clusterOn(kind, { plan, trace: full, observers: [observer] });
    await run.run();
    expect(observer.sent, 'it was parked').toBe(true);
    checkAtRest(run, full.distinctBlocks);
    expect(outcomes(run)).toEqual([Outcome.completed, Outcome.cancelled, Outcome.completed]);
  });

  it('a request of a coupled engine, computing and decoding', async () => {
    const topology = tinyTopology({ prefill: 0, decode: 0, coupled: 1 });
    const plan = await tinyPlan({ topology });
    await cancelAt({ name: 'computing', mark: Mark.startedNs }, plan);
    await cancelAt({ name: 'decoding', mark: Mark.joinedNs }, plan);
  });
});
