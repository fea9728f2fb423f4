/** Random scenarios: everything about one follows from its seed. */
import { policyNames } from '../../src/config/policies.ts';
import { RandomStream } from '../../src/config/streams.ts';
import type { ClusterPlan } from '../../src/config/wire.ts';
import type { Scenario as Faults, ScenarioEvent } from '../../src/core/scenario.ts';
import type { Topology } from '../../src/core/topology.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import type { DisturbanceRates } from '../../src/sim/disturbance.ts';
import type { Cancel } from '../support/cancelling.ts';
import { randomTrace, type TinyPlan, tinyPlan, tinyTopology } from '../support/tiny.ts';
import { RECKLESS } from './reckless.ts';

export interface Scenario {
  readonly plan: ClusterPlan;
  readonly trace: TraceColumns;
  readonly cancels: readonly Cancel[];
  /** Null: nothing goes wrong. */
  readonly rates: DisturbanceRates | null;
  readonly random: () => number;
  /** Null: nothing happens from outside. */
  readonly faults: Faults | null;
}

class Dice {
  private readonly stream: RandomStream;

  constructor(seed: number, name = 'fuzz') {
    this.stream = new RandomStream(seed, name);
  }

  next(): number {
    return this.stream.next();
  }

  pick<T>(...values: readonly T[]): T {
    return values[Math.floor(this.next() * values.length)];
  }
}

/** Elasticity at the pace of a tiny cluster, and eager. */
const ELASTIC = [
  'role-switch:high=0.01,low=0.5,interval=0.00005,cooldown=0.0001',
  'thresholds:high=0.02,low=0.01,interval=0.00005,cooldown=0.0001,startup=0.00002',
];

/** Offline policies, and those whose state is too large to make anew in every scenario. */
const LEFT_OUT = ['belady', 'lhd'];

/** With `homes`, blocks have homes whatever the dice say of placement. */
export async function scenarioOf(seed: number, homes = false): Promise<Scenario> {
  const dice = new Dice(seed);
  const topology = tinyTopology({
    prefill: dice.pick(1, 2, 3, 4),
    decode: dice.pick(1, 1, 2),
    coupled: dice.pick(0, 0, 1, 2),
    mixed: dice.pick(0, 0, 1, 2),
    dramBlocks: dice.pick(1, 2, 5, 12, 30, 200, 200),
    ssdBlocks: dice.pick(0, 0, 3, 10, 40, 300),
    hbmTokens: [1, 2, 3].map(() => dice.pick(100, 180, 220, 300, 600, 4096)),
    railBytesPerNs: dice.pick(1, 1, 0.01),
    rails: dice.pick(1, 2, 4),
    racks: dice.pick(0, 0, 1, 2),
    controlDelayNs: dice.pick(0, 1_000, 5_000, 5_000, 50_000),
  });
  const planned = await tinyPlan({
    topology,
    seed,
    policies: { ...policiesOf(dice), ...(homes ? { placement: 'bucket-map:buckets=32' } : {}) },
    settings: withMoves(settingsOf(dice), seed),
    slo: dice.pick({ ttftNs: 10e6, tbtNs: 1e6 }, { ttftNs: 300_000, tbtNs: 30_000 }),
  });
  const reckless = dice.pick<Partial<typeof RECKLESS>>({}, RECKLESS, {
    prefill: RECKLESS.prefill,
  });
  const plan = { ...planned, policies: { ...planned.policies, ...reckless } };
  const requests = dice.pick(20, 40, 80);
  const gapNs = dice.pick(1_000, 30_000, 100_000, 300_000);
  const trace = randomTrace(seed, {
    requests,
    gapNs,
    blocks: dice.pick(2, 6, 12),
    conversations: dice.pick(1, 4, 12),
    outputTokens: dice.pick(1, 4, 30),
    closed: dice.pick(0, 0, 0.5),
  });
  return {
    plan,
    trace,
    cancels: cancelsOf(dice, trace),
    rates: dice.pick(true, true, false) ? ratesOf(dice) : null,
    random: () => dice.next(),
    faults: dice.pick(true, false) ? faultsOf(dice, topology, trace) : null,
  };
}

/** Up to six things that happen while the trace plays, each for ever or for a while. */
function faultsOf(dice: Dice, topology: Topology, trace: TraceColumns): Faults {
  const spanNs = trace.arrivalNs[trace.requests - 1] + 200_000;
  const below = (limit: number) => Math.floor(dice.next() * limit);
  const nodes = topology.nodes.length;
  const events = Array.from({ length: 1 + below(6) }, (): ScenarioEvent => {
    const node = below(nodes);
    const instance = below(topology.instances.length);
    const time = {
      atNs: below(spanNs),
      forNs: dice.pick(Number.POSITIVE_INFINITY, 20_000, 300_000, 20e6),
    };
    const detectNs = dice.pick(0, 10_000, 500_000);
    const rail = below(topology.nodes[node].rails.length);
    const { roles } = topology.instances[below(topology.instances.length)];
    return dice.pick<ScenarioEvent>(
      { kind: 'crash', ...time, node, detectNs },
      { kind: 'crash', ...time, node, detectNs },
      { kind: 'crashInstance', ...time, instance, detectNs },
      { kind: 'crashInstance', ...time, instance, detectNs },
      { kind: 'rail', ...time, node, rail, rate: dice.pick(0, 0, 0.1, 0.5) },
      { kind: 'ssd', ...time, node, rate: dice.pick(0, 0.1, 0.5) },
      { kind: 'link', ...time, nodes: [node, (node + 1) % nodes] },
      { kind: 'failover', atNs: time.atNs, downNs: dice.pick(0, 50_000, 1e6) },
      { kind: 'leave', atNs: time.atNs, node },
      { kind: 'join', atNs: time.atNs, node },
      { kind: 'roles', atNs: time.atNs, instance, roles },
    );
  });
  const self = ({ kind, ...more }: ScenarioEvent) =>
    kind === 'link' && 'nodes' in more && more.nodes[0] === more.nodes[1];
  return { events: events.filter((event) => !self(event)).sort((a, b) => a.atNs - b.atNs) };
}

function policiesOf(dice: Dice): TinyPlan['policies'] & object {
  const eviction = policyNames('eviction').filter((name) => !LEFT_OUT.includes(name));
  return {
    eviction: dice.pick(...eviction),
    replication: dice.pick('side-effect', 'none', 'k-copies', 'heat-threshold:gets=2,window=0.001'),
    placement: dice.pick('local', 'local', ...policyNames('placement')),
    tiering: dice.pick(...policyNames('tiering')),
    ssdEviction: dice.pick('fifo', dice.pick(...eviction)),
    hbmEviction: dice.pick('leaf-lru', dice.pick(...eviction)),
    prefill: dice.pick('kvcache-centric', dice.pick(...policyNames('prefill'))),
    decode: dice.pick(...policyNames('decode')),
    rail: dice.pick(...policyNames('rail')),
    disaggregation: dice.pick('always', ...policyNames('disaggregation')),
    admission: dice.pick('none', 'none', 'none', ...policyNames('admission')),
    elasticity: dice.pick('none', 'none', ...ELASTIC),
    batching: dice.pick('disaggregated', ...policyNames('batching')),
    queue: dice.pick('fcfs', ...policyNames('queue')),
  };
}

function settingsOf(dice: Dice): TinyPlan['settings'] & object {
  const hbmCache = dice.pick(false, true);
  return {
    store: {
      hbmCache,
      watermark: dice.pick(0.7, 0.9, 1),
      lowWatermark: dice.pick(0, 0.5, 0.7),
      ssdWatermark: dice.pick(0.9, 1),
      ssdLowWatermark: dice.pick(0.5, 0.8),
      leaseTtlNs: dice.pick(20_000, 120_000, 10e6),
      guardNs: dice.pick(5_000, 15_000),
      reserveQueueRequests: dice.pick(0, 1, 100),
      parkingBytes: dice.pick(0, 1_000, 1e6),
      fetchRetries: dice.pick(0, 1, 2),
      deltaLimitBlocks: dice.pick(0, 1, 5, 1_000),
    },
    conductor: {
      congestion: dice.pick(false, false, true),
      stalenessNs: dice.pick(0, 0, 1_000, 200_000),
    },
    instance: {
      hbmCache,
      prefetch: dice.pick(false, true),
      chunkTokens: dice.pick(7, 16, 40, 64, 8_192),
      loadOverlap: dice.pick('layerwise', 'serial'),
      queueRequests: dice.pick(2, 10, 1_000),
      batchRequests: dice.pick(1, 2, 8),
      decodeSpace: dice.pick('reserve', 'grow'),
      preemption: dice.pick('recompute', 'swap'),
      reserveTtlNs: dice.pick(50_000, 500_000, 50e6),
    },
  };
}

/** By dice of its own: what other seeds stand for stays what it was. */
function withMoves(settings: TinyPlan['settings'] & object, seed: number): typeof settings {
  const dice = new Dice(seed, 'moves');
  const moves = dice.pick(null, true, true, true) && {
    bytesPerNs: dice.pick(0.001, 0.1, null),
    railShare: dice.pick(0.01, 1),
    inFlight: dice.pick(1, 2, 5),
    batchBlocks: dice.pick(1, 3, 16),
    lingerNs: dice.pick(0, 10_000, 1e6),
  };
  return {
    ...settings,
    store: { ...settings.store, moves },
    conductor: { ...settings.conductor, moves: moves !== null },
  };
}

function cancelsOf(dice: Dice, trace: TraceColumns): Cancel[] {
  const share = dice.pick(0, 0, 0.1, 0.5);
  const cancels: Cancel[] = [];
  for (let request = 0; request < trace.requests; request++) {
    if (dice.next() >= share) continue;
    const afterNs = Math.floor(dice.next() * dice.pick(20_000, 300_000, 3e6));
    cancels.push({ request, atNs: trace.arrivalNs[request] + afterNs });
  }
  return cancels;
}

function ratesOf(dice: Dice): DisturbanceRates {
  return {
    jitterNs: dice.pick(0, 1_000, 30_000),
    duplicate: dice.pick(0, 0.05, 0.3),
    reset: dice.pick(0, 0.01, 0.05, 0.2),
    resetPauseNs: dice.pick(10_000, 200_000),
    transferFailure: dice.pick(0, 0.2, 0.5, 0.9),
    transferFailureNs: dice.pick(100, 2_000, 10_000),
  };
}
