/** The hosts that conformance holds to one behaviour. A further host is one entry here. */
import { afterAll, describe } from 'vitest';
import type { Cluster, ClusterPlan } from '../../src/config/wire.ts';
import type { Host, Machine } from '../../src/core/host.ts';
import type { FactLog } from '../../src/core/log.ts';
import type { Observer } from '../../src/core/observer.ts';
import { type Address, type Tier, WORKLOAD } from '../../src/core/topology.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { Recorder } from '../../src/metrics/recorder.ts';
import type { RailKind, RailSpec } from '../../src/runtime/data-plane.ts';
import { Loopback } from '../../src/runtime/loopback.ts';
import { loadNative } from '../../src/runtime/native.ts';
import { Simulation } from '../../src/sim/simulation.ts';
import { Causality } from './causality.ts';
import { fabricProviders } from './fabric.ts';
import { LiveCluster, type LiveDisks, type LiveOptions } from './live.ts';
import { Kept } from './live-kept.ts';
import { wireRecorded } from './simulate.ts';
import { tinyCosts } from './tiny.ts';

/** A host with its machines, ready to run. */
export interface World {
  host(address: Address): Host;
  setMachines(machines: readonly Machine[]): void;
  run(): Promise<void>;
}

export interface WorldOptions {
  readonly plan: ClusterPlan;
  readonly trace: TraceColumns;
  readonly observers: readonly Observer[];
  /** The block that a store has put into a slot of a tier. */
  readonly blockAt: (node: number, tier: Tier, slot: number) => number;
  readonly isInHbm: (instance: number, block: number) => boolean;
  /** Known once the machines are wired. */
  readonly stores: () => Cluster['stores'];
}

export interface HostKind {
  readonly name: string;
  /** What it reports as time is what passed, to the ns. */
  readonly exact: boolean;
  /** Messages arrive as copies, over real channels. */
  readonly copies: boolean;
  /** Why it can't be had here, or null. */
  readonly reason: string | null;
  make(options: WorldOptions): World;
  /** What its worlds share is closed. */
  close?(): Promise<void>;
}

class SimWorld implements World {
  private readonly simulation: Simulation;

  constructor({ plan, observers }: WorldOptions) {
    this.simulation = new Simulation({
      topology: plan.topology,
      costs: tinyCosts(plan.topology),
      loadOverlap: plan.settings.instance.loadOverlap,
      rails: null,
      observers,
      disturbance: null,
    });
  }

  host(address: Address): Host {
    return this.simulation.host(address);
  }

  setMachines(machines: readonly Machine[]): void {
    this.simulation.setMachines(machines);
  }

  async run(): Promise<void> {
    this.simulation.run();
  }
}

const LOOPBACK_SPEED = 1;
/** So slow that real messages take what they take in the plans of the tests: tens of us. */
const LIVE_SPEED = 0.05;
const LIVE_TTL_NS = 1e9;
/** Parked KV takes real memory, a block 4 KiB. */
const LIVE_PARKING_BYTES = 64e3;

/** A live cluster whose nodes have these rails between them. */
export function liveHost(
  name: string,
  rails: LiveOptions['rails'],
  reason: string | null,
  disks: LiveDisks = {},
  kept: Kept | null = null,
): HostKind {
  return {
    name,
    exact: false,
    copies: true,
    reason,
    make: ({ plan, observers, stores }) =>
      new LiveCluster({
        plan,
        observers,
        rails,
        speed: IN_VM ? LIVE_SPEED / 10 : LIVE_SPEED,
        stores,
        disks,
        kept,
      }),
    close: async () => kept?.close(),
  };
}

const fabric = fabricProviders();
const FABRIC_TCP = { provider: fabric.providers.at(-1) ?? '', address: '127.0.0.1' };

/** The same rail for every node. */
export function railsOf(kind: RailKind, options: RailSpec['options'] = {}): LiveOptions['rails'] {
  return () => [{ kind, bytesPerNs: null, options }];
}

/** In the machine of test/e2e/verbs: two hosts of two NICs, and everything takes longer. */
const IN_VM = process.env.MOONTIDE_VERBS_VM === '1';
const VM_ADDRESSES = [
  ['10.78.0.1', '10.78.0.2'],
  ['10.78.0.11', '10.78.0.12'],
];

function verbsRails(node: number): RailSpec[] {
  return VM_ADDRESSES[node % 2].map((address) => {
    const options = { provider: 'verbs;ofi_rxm', address };
    return { kind: 'fabric', bytesPerNs: null, options } as const;
  });
}

export const HOSTS: readonly HostKind[] = [
  {
    name: 'SimHost',
    exact: true,
    copies: false,
    reason: null,
    make: (options) => new SimWorld(options),
  },
  {
    name: 'LoopbackHost',
    exact: false,
    copies: false,
    reason: null,
    make: ({ plan, trace, observers, blockAt, isInHbm }) =>
      new Loopback({
        topology: plan.topology,
        costs: tinyCosts(plan.topology),
        speed: LOOPBACK_SPEED,
        trace,
        blockAt,
        isInHbm,
        observers,
      }),
  },
  liveHost('live, local', railsOf('local'), loadNative().reason, {}, new Kept()),
  liveHost('live, fabric', railsOf('fabric', FABRIC_TCP), fabric.reason, {}, new Kept()),
  ...(IN_VM ? [liveHost('live, verbs', verbsRails, null, {}, new Kept())] : []),
];

export interface ClusterOptions {
  readonly plan: ClusterPlan;
  readonly trace: TraceColumns;
  readonly observers?: readonly Observer[];
  /** Record every machine, with a new segment after so many facts. */
  readonly segmentFacts?: number;
  /** Of the machines, which are not recorded then. */
  readonly incarnation?: number;
}

export interface ClusterRun {
  /** As it was run. */
  readonly plan: ClusterPlan;
  readonly cluster: Cluster;
  readonly causality: Causality;
  readonly recorder: Recorder;
  readonly logs: readonly FactLog[];
  /** The ingress, to say something from outside. */
  readonly ingress: Host;
  run(): Promise<void>;
}

/** Over real channels on a busy machine: what runs out must not do so in a test. */
function patient(plan: ClusterPlan): ClusterPlan {
  const { store, instance } = plan.settings;
  const leases = { leaseTtlNs: LIVE_TTL_NS, guardNs: LIVE_TTL_NS / 10 };
  const parkingBytes = Math.min(store.parkingBytes, LIVE_PARKING_BYTES);
  const settings = {
    ...plan.settings,
    store: { ...store, ...leases, parkingBytes },
    instance: { ...instance, reserveTtlNs: LIVE_TTL_NS / 50 },
  };
  return { ...plan, settings };
}

/** A whole cluster on a host, watched by Causality; not yet run. */
export function clusterOn(kind: HostKind, options: ClusterOptions): ClusterRun {
  const { trace, observers = [], segmentFacts, incarnation = 0 } = options;
  const plan = kind.copies ? patient(options.plan) : options.plan;
  const { exact, copies } = kind;
  const causality = new Causality(plan.topology, { disturbed: false, exact, copies });
  const recorder = new Recorder(plan.topology, trace.requests);
  const world = kind.make({
    plan,
    trace,
    observers: [causality, recorder, ...observers],
    blockAt: (node, tier, slot) => cluster.stores[node].tiers.at(tier).pool.block(slot),
    isInHbm: (instance, block) => {
      const { node } = plan.topology.instances[instance];
      const cache = cluster.stores[node].hbmCache(instance);
      return cache !== null && cache.pool.findReady(block) >= 0;
    },
    stores: () => cluster.stores,
  });
  const hostOf = (address: Address) => world.host(address);
  const wired = wireRecorded(plan, trace, segmentFacts, hostOf, incarnation);
  const { cluster, machines, logs } = wired;
  world.setMachines(machines);
  const run = () => world.run();
  return { plan, cluster, causality, recorder, logs, ingress: world.host(WORKLOAD), run };
}

/** What the directory knows of HBM caches is what they hold. */
export function checkHbmDirectory(
  { conductor, stores }: Cluster,
  blocks: number,
  isDead = (_node: number) => false,
): void {
  for (const { id, node } of conductor.world.topology.instances) {
    if (isDead(node)) continue;
    const cache = stores[node].hbmCache(id);
    if (cache === null) continue;
    for (let block = 0; block < blocks; block++) {
      const known = conductor.directory.hbmOf(id).has(block);
      const held = cache.pool.findReady(block) >= 0;
      if (known !== held) throw new Error(`the directory is wrong on block ${block} in HBM ${id}`);
    }
  }
}

/** Every request has its end, nothing is held, and the directory knows what the stores hold. */
export function checkAtRest({ cluster, causality }: ClusterRun, blocks: number): void {
  causality.checkEnd();
  if (!cluster.workload.done) throw new Error('a request has no end');
  cluster.conductor.checkIdle();
  checkHbmDirectory(cluster, blocks);
  for (const instance of cluster.instances) instance.checkIdle();
  for (const [node, store] of cluster.stores.entries()) {
    store.check();
    store.checkIdle(0);
    for (let block = 0; block < blocks; block++) {
      const known = cluster.conductor.directory.has(node, block);
      const held = store.tiers.isReady(block);
      if (known !== held) throw new Error(`the directory is wrong on block ${block} of ${node}`);
    }
  }
}

/** A suite for each host; `%s` in the name is the host's. */
export function describeHosts(name: string, suite: (kind: HostKind) => void): void {
  for (const kind of HOSTS) {
    const title = name.replace('%s', kind.name);
    const missing = kind.reason !== null && process.env.CI !== 'true';
    describe.skipIf(missing)(missing ? `${title} (skipped: ${kind.reason})` : title, () => {
      suite(kind);
      afterAll(() => kind.close?.());
    });
  }
}
