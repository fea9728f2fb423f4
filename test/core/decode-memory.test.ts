/** Decode space that grows: pages, who gives way, and that runs are still their steps. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type ClusterPlan, wireCluster } from '../../src/config/wire.ts';
import { Count, type Host, Mark, type Run } from '../../src/core/host.ts';
import type { LoggedMachine } from '../../src/core/log.ts';
import { Outcome } from '../../src/core/request.ts';
import { CONDUCTOR } from '../../src/core/topology.ts';
import { WorkingMemory } from '../../src/core/working-memory.ts';
import { Recorder } from '../../src/metrics/recorder.ts';
import { Simulation } from '../../src/sim/simulation.ts';
import { expectReplays } from '../support/replays.ts';
import { simulate } from '../support/simulate.ts';
import { type Done, requestOf, tellers } from '../support/teller.ts';
import { randomTrace, tinyCosts, tinyPlan, tinyTopology } from '../support/tiny.ts';

describe('working memory that grows', () => {
  const sequence = (request: number, tokens: number, basis: number) => ({
    request,
    attempt: 0,
    tokens,
    basis,
  });

  it('gives pages of 16 tokens, and as many steps as there is room for', () => {
    const memory = new WorkingMemory(0, 100);
    memory.hold(1, 0, 20, Infinity);
    memory.hold(2, 0, 30, Infinity);
    // 21 + k and 31 + k tokens: 32 + 48 fit, the page after 32 (k = 12) is the 96th token.
    expect(memory.grow([sequence(1, 20, 20), sequence(2, 30, 30)], 5, 1)).toBe(5);
    expect(memory.of(1, 0)?.hbmBytes).toBe(32);
    expect(memory.of(2, 0)?.hbmBytes).toBe(48);
    expect(memory.grow([sequence(1, 25, 20), sequence(2, 35, 30)], 50, 1)).toBe(13);
    expect(memory.of(1, 0)?.hbmBytes).toBe(48);
    expect(memory.grow([sequence(1, 48, 20), sequence(2, 48, 30)], 5, 1)).toBe(0);
    expect(memory.of(1, 0)?.hbmBytes).toBe(48);
    memory.check();
  });

  it('takes back what a cut run left', () => {
    const memory = new WorkingMemory(0, 100);
    memory.hold(1, 0, 16, Infinity);
    memory.grow([sequence(1, 16, 16)], 40, 1);
    expect(memory.of(1, 0)?.hbmBytes).toBe(64);
    memory.grow([sequence(1, 17, 16)], 1, 1);
    expect(memory.of(1, 0)?.hbmBytes).toBe(32);
  });

  it('gives what is there where a page is not', () => {
    const memory = new WorkingMemory(0, 40);
    memory.hold(1, 0, 30, Infinity);
    expect(memory.grow([sequence(1, 30, 30)], 20, 1)).toBe(10);
    expect(memory.of(1, 0)?.hbmBytes).toBe(40);
  });
});

describe.each(['recompute', 'swap'] as const)('preemption by %s', (preemption) => {
  const topology = tinyTopology({ prefill: 0, decode: 0, coupled: 1 });
  const settings = { instance: { decodeSpace: 'grow', preemption } } as const;
  let instance: ReturnType<typeof tellers>['instances'][0];
  let store: number;

  beforeEach(async () => {
    const cluster = tellers(await tinyPlan({ topology, settings }));
    instance = cluster.instances[0];
    store = cluster.addresses.store(0);
  });

  const idOf = (done: Done, verb: 'startStep' | 'startRun') =>
    (done.of(verb)[0][0] as { id: number }).id;
  const grown = (steps: number) => instance.tell({ kind: 'grown', instance: 0, steps }, store);
  const acquired = (request: number) => ({
    kind: 'acquired' as const,
    request,
    attempt: 0,
    hitBlocks: 0,
    cachedTokens: 0,
    hbmTokens: 0,
    ssdTokens: 0,
    peerTokens: 0,
    loads: [],
  });

  function compute(done: Done): Done {
    const step = idOf(done, 'startStep');
    const ended = { durationNs: 10, computeNs: 10, decoded: 0, decodeNs: 0 };
    return instance.tell({ kind: 'stepEnded', step, ...ended });
  }

  function runEnded(run: number, steps: number): Done {
    const gapsNs = new Float64Array(steps).fill(1);
    return instance.tell({ kind: 'runEnded', run, steps, gapsNs, from: 0 });
  }

  /** Requests 1 and 2 decode, 2 is the younger; memory has run out. */
  function outOfMemory(): Done {
    for (const id of [1, 2]) {
      const request = { ...requestOf(id, [id], 50), arrivalNs: id };
      const dispatch = {
        kind: 'dispatch',
        term: 1,
        sequence: id,
        after: id - 1,
        request,
        decodeInstance: 0,
        sources: [],
        untils: [],
        keepsFetched: true,
        nodes: [],
        sourceBlocks: 0,
        localBlocks: 0,
      } as const;
      const run = id === 2 ? idOf(grown(40), 'startRun') : 0;
      const told = instance.tell(dispatch, CONDUCTOR);
      // What the run has room for beyond its next step is free before the prompt asks.
      if (id === 2) expect(told.of('cutRun')).toEqual([[run]]);
      const asks = id === 2 ? runEnded(run, 3) : told;
      expect(asks.messages('acquire')).toMatchObject([{ hbmTokens: 16 }]);
      compute(instance.tell(acquired(id), store));
    }
    return grown(0);
  }

  it('makes the youngest give way, and no prompt begins until a request has ended', () => {
    const done = outOfMemory();
    expect(done.of('mark')).toContainEqual([2, Mark.preemptedNs, 0]);
    expect(done.of('count')).toContainEqual([Count.preempted, 1]);
    let next = done;
    if (preemption === 'swap') {
      expect(done.messages('park')).toMatchObject([{ request: 2, tokens: 16 }]);
      expect(done.messages('grow')).toEqual([]);
      next = instance.tell({ kind: 'parked', request: 2, attempt: 0, ok: true }, store);
    }
    const drop = preemption === 'swap' ? [] : [{ request: 2, attempt: 0 }];
    const [ask] = next.messages('grow');
    expect(ask).toMatchObject({ drop, sequences: [{ request: 1, tokens: 19, basis: 16 }] });
    const running = grown(50);
    expect([...running.messages('acquire'), ...running.messages('unpark')]).toEqual([]);
    const run = running.of('startRun')[0][0] as Run;
    expect(run).toMatchObject({ requests: [1], maxSteps: 46 });
    const over = runEnded(run.id, 46);
    expect(over.messages('finished')).toMatchObject([{ request: 1, outcome: Outcome.completed }]);
    if (preemption === 'swap') expect(over.messages('unpark')).toMatchObject([{ request: 2 }]);
    else expect(over.messages('acquire')).toMatchObject([{ request: { id: 2 }, hbmTokens: 17 }]);
  });

  it('goes on where it was', () => {
    outOfMemory();
    if (preemption === 'swap') {
      instance.tell({ kind: 'parked', request: 2, attempt: 0, ok: true }, store);
    }
    const run = idOf(grown(50), 'startRun');
    runEnded(run, 46);
    if (preemption === 'swap') {
      instance.tell({ kind: 'unparked', request: 2, attempt: 0 }, store);
    } else {
      const again = instance.tell(acquired(2), store);
      expect(again.of('startStep')[0][0]).toMatchObject({
        chunks: [{ request: 2, fromToken: 0, toToken: 17, last: true }],
      });
      const done = compute(again);
      // The pass made the second token.
      expect(done.of('mark')).toEqual([
        [2, Mark.recomputedNs, 0],
        [2, Mark.resumedNs, 0],
      ]);
      expect(done.messages('prefilled')).toEqual([]);
    }
    const made = preemption === 'swap' ? 1 : 2;
    const more = grown(60);
    expect(more.of('startRun')[0][0]).toMatchObject({ requests: [2], maxSteps: 50 - made });
    const over = runEnded(idOf(more, 'startRun'), 50 - made);
    expect(over.messages('finished')).toMatchObject([{ request: 2, outcome: Outcome.completed }]);
    instance.machine.checkIdle();
  });

  it('can be cancelled while away', () => {
    outOfMemory();
    const cancel = { kind: 'cancel', request: 2, attempt: 0 } as const;
    const now = instance.tell(cancel, CONDUCTOR);
    const then =
      preemption === 'swap'
        ? instance.tell({ kind: 'parked', request: 2, attempt: 0, ok: true }, store)
        : now;
    expect(then.messages('finished')).toMatchObject([{ outcome: Outcome.cancelled }]);
    expect(then.messages('release')).toMatchObject([{ request: 2 }]);
    runEnded(idOf(grown(50), 'startRun'), 46);
    instance.machine.checkIdle();
  });
});

it('computes again what DRAM has no room for', async () => {
  const topology = tinyTopology({ prefill: 0, decode: 0, coupled: 1, hbmTokens: 200 });
  const store = { parkingBytes: 0 };
  const instance = { decodeSpace: 'grow', preemption: 'swap' } as const;
  const plan = await tinyPlan({ topology, settings: { store, instance } });
  const trace = randomTrace(2, { blocks: 4, outputTokens: 60, gapNs: 20_000 });
  const { recorder } = simulate({ plan, trace });
  expect(recorder.counts[Count.preempted]).toBeGreaterThan(3);
  expect(recorder.counts[Count.swapped]).toBe(0);
  expect(recorder.column(Mark.outcome).every((o) => o === Outcome.completed)).toBe(true);
});

// --- laws over whole runs -----------------------------------------------------------------------

/** A host on which every run is one step long. */
function stepByStep(host: Host): Host {
  return {
    send: (to, message) => host.send(to, message),
    wakeAt: (atNs, token) => host.wakeAt(atNs, token),
    startTransfer: (transfer) => host.startTransfer(transfer),
    startStep: (step) => host.startStep(step),
    startRun: (run) => host.startRun({ ...run, maxSteps: 1 }),
    cutRun: (run) => host.cutRun(run),
    mark: (request, mark, value) => host.mark(request, mark, value),
    count: (what, by) => host.count(what, by),
  };
}

describe.each(['recompute', 'swap'] as const)(
  'a coupled cluster, preempting by %s',
  (preemption) => {
    const topology = tinyTopology({ prefill: 0, decode: 0, coupled: 2, hbmTokens: 300 });
    const settings = { instance: { decodeSpace: 'grow', preemption } } as const;
    const shape = { requests: 80, blocks: 5, outputTokens: 60, gapNs: 20_000 };

    function run(plan: ClusterPlan, seed: number, wrap: (host: Host) => Host): Recorder {
      const trace = randomTrace(seed, shape);
      const recorder = new Recorder(topology, trace.requests);
      const simulation = new Simulation({
        topology,
        costs: tinyCosts(topology),
        loadOverlap: 'layerwise',
        observers: [recorder],
        disturbance: null,
        rails: null,
      });
      const cluster = wireCluster(plan, trace, (address) => wrap(simulation.host(address)));
      simulation.setMachines(cluster.machines);
      simulation.run();
      return recorder;
    }

    it.each(['disaggregated', 'vllm', 'sarathi:budget=32'])(
      'comes to the same step by step and in runs (%s)',
      async (batching) => {
        const policies = { batching, disaggregation: 'never', prefill: 'least-loaded' };
        const plan = await tinyPlan({ topology, settings, policies });
        for (const seed of [1, 2, 3]) {
          const whole = run(plan, seed, (host) => host);
          const steps = run(plan, seed, stepByStep);
          expect(whole.counts[Count.preempted]).toBeGreaterThan(0);
          expect(steps.counts).toEqual(whole.counts);
          for (const mark of [Mark.startedNs, Mark.firstTokenNs, Mark.joinedNs, Mark.finishedNs]) {
            expect(steps.column(mark)).toEqual(whole.column(mark));
          }
          expect(steps.tbtNs).toEqual(whole.tbtNs);
        }
      },
    );

    it('has gaps that add up to the time between first and last token', async () => {
      const plan = await tinyPlan({ topology, settings, policies: { batching: 'vllm' } });
      const trace = randomTrace(1, shape);
      const recorder = run(plan, 1, (host) => host);
      for (let i = 0; i < trace.requests; i++) {
        const gaps = trace.outputTokens[i] - 1;
        if (gaps === 0) continue;
        const first = recorder.column(Mark.firstTokenNs)[i];
        const spanNs = recorder.column(Mark.finishedNs)[i] - first;
        const longest = Math.ceil(0.1 * gaps);
        expect(recorder.tbtNs[i]).toBeGreaterThanOrEqual(spanNs / gaps - 1e-6);
        expect(recorder.tbtNs[i] * longest).toBeLessThanOrEqual(spanNs + 1e-6);
        if (gaps === 1) expect(recorder.tbtNs[i]).toBe(spanNs);
      }
    });

    it('writes logs that replay', async () => {
      const plan = await tinyPlan({ topology, settings });
      const trace = randomTrace(1, shape);
      const { cluster, logs, recorder } = simulate({ plan, trace, segmentFacts: 50 });
      expect(recorder.counts[Count.preempted]).toBeGreaterThan(0);
      expectReplays(plan, trace, logs, cluster.machines as readonly LoggedMachine[]);
    });
  },
);

// A coupled engine that grows asks for a prompt's memory when the run is cut, not when it comes.
it('with memory to spare, growing is the same as reserving where decode is apart', async () => {
  const topology = tinyTopology({ prefill: 2, decode: 2, hbmTokens: 100_000 });
  const trace = randomTrace(3, { requests: 80, outputTokens: 60, gapNs: 20_000 });
  const columns = async (decodeSpace: 'reserve' | 'grow') => {
    const plan = await tinyPlan({ topology, settings: { instance: { decodeSpace } } });
    return simulate({ plan, trace }).recorder;
  };
  const [reserving, growing] = [await columns('reserve'), await columns('grow')];
  expect(growing.columns).toEqual(reserving.columns);
  expect(growing.tbtNs).toEqual(reserving.tbtNs);
  expect(growing.counts[Count.preempted]).toBe(0);
});
