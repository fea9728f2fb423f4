/** Puts a cluster together: machines, policies and streams. Both hosts wire theirs here. */
import { Conductor } from '../core/conductor.ts';
import type { Estimator } from '../core/cost.ts';
import type { Host, Machine } from '../core/host.ts';
import { Instance, type InstancePolicies } from '../core/instance.ts';
import type { Buckets } from '../core/messages.ts';
import { Occupancy } from '../core/occupancy.ts';
import type {
  EngineContext,
  EvictionContext,
  EvictionPolicy,
  Future,
  PlacementContext,
  PlacementPolicy,
  PolicyContext,
  PolicyKind,
  PolicyPorts,
  Slo,
  TieringContext,
} from '../core/policy.ts';
import type { Settings } from '../core/settings.ts';
import { StoreNode } from '../core/store-node.ts';
import {
  type Address,
  AddressBook,
  CONDUCTOR,
  type InstanceSpec,
  type KvLayout,
  type Node,
  TIER_NAMES,
  Tier,
  type Topology,
  WORKLOAD,
} from '../core/topology.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { Workload } from '../core/workload.ts';
import type { TierEviction } from './policy-ref.ts';
import { RandomStream } from './streams.ts';

/** A policy with its parameters bound. */
export interface Made<Context, Policy> {
  readonly name: string;
  /** Its name, parameters and source, where it was loaded. */
  readonly identity?: string;
  create(context: Context): Policy;
}

export type MadePolicies = {
  readonly [K in PolicyKind]: Made<PolicyPorts[K]['context'], PolicyPorts[K]['policy']>;
} & { readonly [K in TierEviction]: Made<EvictionContext, EvictionPolicy> };

export interface ClusterPlan {
  readonly topology: Topology;
  readonly settings: Settings;
  readonly estimator: Estimator;
  readonly slo: Slo;
  readonly policies: MadePolicies;
  readonly seed: number;
}

export interface Cluster {
  readonly addresses: AddressBook;
  /** By address. */
  readonly machines: readonly Machine[];
  readonly workload: Workload;
  readonly conductor: Conductor;
  readonly stores: readonly StoreNode[];
  readonly instances: readonly Instance[];
  /** A new, empty life of a machine on a node, or a successor of the conductor. */
  remake(address: Address, incarnation: number): Machine;
  /** The conductor gives the instance nothing any more. */
  drains(instance: number): boolean;
  /** Nothing runs on it or is bound for it. */
  isDrained(instance: number): boolean;
  /** Nothing of a node is to move to another home. */
  isSettled(node: number): boolean;
  /** What a successor of the conductor is told: the homes of blocks, where they have any. */
  bucketMap(): Buckets | null;
}

/** The policy of each tier. */
const EVICTION_OF = {
  [Tier.hbm]: 'hbmEviction',
  [Tier.dram]: 'eviction',
  [Tier.ssd]: 'ssdEviction',
} as const;

/** The ids that a first life gives are small integers, which V8 keeps without a box. */
const FIRST_INCARNATION = 0;

/** One machine per address, each bound to the host that `hostOf` gives for it. */
export function wireCluster(
  plan: ClusterPlan,
  trace: TraceColumns,
  hostOf: (address: Address) => Host,
  incarnation = FIRST_INCARNATION,
): Cluster {
  const { topology, settings } = plan;
  const addresses = new AddressBook(topology);
  const workload = new Workload({
    host: hostOf(WORKLOAD),
    trace,
    settings: settings.workload,
  });
  const leader = (life: number) => {
    const term = settings.conductor.term + life;
    return wireConductor(plan, trace, addresses, hostOf(CONDUCTOR), term);
  };
  const storeOf = (node: Node, life: number) => {
    const clock = { nowNs: 0 };
    const world = {
      host: hostOf(addresses.store(node.id)),
      node,
      kv: topology.kv,
      settings: settings.store,
      addresses,
      clock,
      eviction: (tier: Tier, instance: number, slots: number) => {
        const owner = instance < 0 ? `${node.id}` : `${node.id}/${instance}`;
        const context = evictionContext(plan, owner, tier, slots, clock);
        return plan.policies[EVICTION_OF[tier]].create(context);
      },
      tiering: (dramSlots: number, ssdSlots: number) =>
        plan.policies.tiering.create(new NodeContext({ clock }, dramSlots, ssdSlots)),
    };
    const own = topology.instances.filter((spec) => spec.node === node.id);
    return new StoreNode(world, life, trace.distinctBlocks, own);
  };
  const instanceOf = (spec: InstanceSpec, life: number) => {
    const host = hostOf(addresses.instance(spec.id));
    const { kv } = topology;
    // A pipeline cuts prompts into chunks by itself: see model/pipeline.ts.
    const chunkTokens = spec.stages > 1 ? Number.POSITIVE_INFINITY : settings.instance.chunkTokens;
    const own = spec.stages > 1 ? { ...settings.instance, chunkTokens } : settings.instance;
    const world = { host, spec, topology, kv, settings: own, addresses };
    return new Instance(world, enginePolicies(plan, spec.id), life);
  };
  const stores = topology.nodes.map((node) => storeOf(node, incarnation));
  const instances = topology.instances.map((spec) => instanceOf(spec, incarnation));
  const conductor = leader(0);
  const machines: Machine[] = [workload, conductor, ...stores, ...instances];
  const cluster = { addresses, machines, workload, conductor, stores, instances };
  const remake = (address: Address, life: number) => {
    let machine: Machine;
    if (address === CONDUCTOR) {
      cluster.conductor = leader(life);
      machine = cluster.conductor;
    } else if (addresses.isStore(address)) {
      const node = addresses.storeNode(address);
      stores[node] = storeOf(topology.nodes[node], incarnation + life);
      machine = stores[node];
    } else {
      const id = addresses.instanceId(address);
      instances[id] = instanceOf(topology.instances[id], incarnation + life);
      machine = instances[id];
    }
    machines[address] = machine;
    return machine;
  };
  const isDrained = (id: number) => {
    const { views } = cluster.conductor;
    const bound = views.queuedRequests(id) + views.decodeRequests(id);
    return bound === 0 && instances[id].isIdle;
  };
  const drains = (id: number) => cluster.conductor.views.rolesOf(id).length === 0;
  const isSettled = (node: number) => cluster.conductor.isSettled(node);
  const bucketMap = () => cluster.conductor.bucketMap;
  return Object.assign(cluster, { remake, drains, isDrained, isSettled, bucketMap });
}

function schedulingContext(plan: ClusterPlan, kind: string): SchedulingContext {
  const { estimator, seed, slo, topology } = plan;
  const stream = new RandomStream(seed, kind);
  return new SchedulingContext(stream, estimator, slo, topology.kv.blockTokens);
}

/** The policies that choose where a request and its blocks go, in their first state. */
export function routingPolicies(plan: ClusterPlan) {
  const { prefill, decode, disaggregation } = plan.policies;
  return {
    prefill: prefill.create(schedulingContext(plan, 'prefill')),
    decode: decode.create(schedulingContext(plan, 'decode')),
    disaggregation: disaggregation.create(schedulingContext(plan, 'disaggregation')),
    placement: placementPolicy(plan),
  };
}

function wireConductor(
  plan: ClusterPlan,
  trace: TraceColumns,
  addresses: AddressBook,
  host: Host,
  term: number,
): Conductor {
  const { topology, settings, estimator, policies } = plan;
  const context = (kind: string) => schedulingContext(plan, kind);
  const own = { ...settings.conductor, term };
  const world = { host, topology, addresses, settings: own, estimate: estimator };
  return new Conductor(
    world,
    {
      ...routingPolicies(plan),
      admission: policies.admission.create(context('admission')),
      elasticity: policies.elasticity.create(context('elasticity')),
      replication: policies.replication.create(context('replication')),
    },
    trace.distinctBlocks,
  );
}

/** Without DRAM there is nothing to place. */
function placementPolicy({ topology, policies, seed }: ClusterPlan): PlacementPolicy {
  const occupancy = new Occupancy(topology);
  const nodes = occupancy.nodes.map((id) => ({ id, dramSlots: occupancy.slots(id) }));
  if (nodes.length === 0) return { spreads: false, place: (_block, ownNode) => ownNode };
  const stream = new RandomStream(seed, 'placement');
  return policies.placement.create(new SpreadContext(nodes, stream));
}

class SpreadContext implements PlacementContext {
  readonly nodes: PlacementContext['nodes'];
  private readonly stream: RandomStream;

  constructor(nodes: PlacementContext['nodes'], stream: RandomStream) {
    this.nodes = nodes;
    this.stream = stream;
  }

  random(): number {
    return this.stream.next();
  }
}

/** The policies of one instance, each with a context and a stream of its own. */
function enginePolicies(plan: ClusterPlan, instance: number): InstancePolicies {
  const { policies, seed, estimator, slo, topology } = plan;
  const context = (kind: string) => {
    const stream = new RandomStream(seed, `${kind}/${instance}`);
    return new InstanceContext(stream, estimator, slo, topology.kv.blockTokens, instance);
  };
  return {
    batching: policies.batching.create(context('batching')),
    queue: policies.queue.create(context('queue')),
  };
}

class SchedulingContext implements PolicyContext {
  readonly world: { estimate: Estimator; slo: Slo };
  readonly blockTokens: number;
  private readonly stream: RandomStream;

  constructor(stream: RandomStream, estimate: Estimator, slo: Slo, blockTokens: number) {
    this.stream = stream;
    this.world = { estimate, slo };
    this.blockTokens = blockTokens;
  }

  get estimate(): Estimator {
    return this.world.estimate;
  }

  get slo(): Slo {
    return this.world.slo;
  }

  random(): number {
    return this.stream.next();
  }
}

class InstanceContext extends SchedulingContext implements EngineContext {
  readonly instance: number;

  constructor(
    stream: RandomStream,
    estimate: Estimator,
    slo: Slo,
    blockTokens: number,
    instance: number,
  ) {
    super(stream, estimate, slo, blockTokens);
    this.instance = instance;
  }
}

/** What an eviction policy of a store may know. */
export class TierContext implements EvictionContext {
  readonly world: { clock: { nowNs: number }; kv: KvLayout; recomputeNs(depth: number): number };
  readonly capacitySlots: number;
  readonly blockBytes: number;
  readonly blockTokens: number;
  readonly future: Future | null = null;
  private readonly stream: RandomStream;

  constructor(world: TierContext['world'], tier: Tier, slots: number, stream: RandomStream) {
    this.world = world;
    this.capacitySlots = slots;
    this.blockTokens = world.kv.blockTokens;
    this.blockBytes = world.kv.blockTokens * world.kv.bytesPerToken[tier];
    this.stream = stream;
  }

  get nowNs(): number {
    return this.world.clock.nowNs;
  }

  random(): number {
    return this.stream.next();
  }

  recomputeNs(depth: number): number {
    return this.world.recomputeNs(depth);
  }
}

/** What a tiering policy of a store may know. */
class NodeContext implements TieringContext {
  readonly world: { clock: { nowNs: number } };
  readonly dramSlots: number;
  readonly ssdSlots: number;

  constructor(world: NodeContext['world'], dramSlots: number, ssdSlots: number) {
    this.world = world;
    this.dramSlots = dramSlots;
    this.ssdSlots = ssdSlots;
  }

  get nowNs(): number {
    return this.world.clock.nowNs;
  }
}

function evictionContext(
  { topology, estimator, seed }: ClusterPlan,
  owner: string,
  tier: Tier,
  slots: number,
  clock: { nowNs: number },
): EvictionContext {
  const { kv } = topology;
  const recomputeNs = (depth: number) => {
    const from = depth * kv.blockTokens;
    return estimator.prefillNs(0, from + kv.blockTokens, from);
  };
  const stream = new RandomStream(seed, `eviction/${TIER_NAMES[tier]}/${owner}`);
  return new TierContext({ clock, kv, recomputeNs }, tier, slots, stream);
}
