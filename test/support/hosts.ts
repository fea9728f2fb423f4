/** The hosts that conformance holds to one behaviour. A further host is one entry here. */
import type { Cluster, ClusterPlan } from '../../src/config/wire.ts';
import type { Host, Machine } from '../../src/core/host.ts';
import type { FactLog } from '../../src/core/log.ts';
import type { Observer } from '../../src/core/observer.ts';
import { type Address, type Tier, WORKLOAD } from '../../src/core/topology.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { Recorder } from '../../src/metrics/recorder.ts';
import { Loopback } from '../../src/runtime/loopback.ts';
import { Simulation } from '../../src/sim/simulation.ts';
import { Causality } from './causality.ts';
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
}

export interface HostKind {
  readonly name: string;
  /** What it reports as time is what passed, to the ns. */
  readonly exact: boolean;
  make(options: WorldOptions): World;
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

export const HOSTS: readonly HostKind[] = [
  { name: 'SimHost', exact: true, make: (options) => new SimWorld(options) },
  {
    name: 'LoopbackHost',
    exact: false,
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
];

export interface ClusterOptions {
  readonly plan: ClusterPlan;
  readonly trace: TraceColumns;
  readonly observers?: readonly Observer[];
  /** Record every machine, with a new segment after so many facts. */
  readonly segmentFacts?: number;
}

export interface ClusterRun {
  readonly cluster: Cluster;
  readonly causality: Causality;
  readonly recorder: Recorder;
  readonly logs: readonly FactLog[];
  /** The ingress, to say something from outside. */
  readonly ingress: Host;
  run(): Promise<void>;
}

/** A whole cluster on a host, watched by Causality; not yet run. */
export function clusterOn(kind: HostKind, options: ClusterOptions): ClusterRun {
  const { plan, trace, observers = [], segmentFacts } = options;
  const causality = new Causality(plan.topology, { disturbed: false, exact: kind.exact });
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
  });
  const wired = wireRecorded(plan, trace, segmentFacts, (address) => world.host(address));
  const { cluster, machines, logs } = wired;
  world.setMachines(machines);
  const run = () => world.run();
  return { cluster, causality, recorder, logs, ingress: world.host(WORKLOAD), run };
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
