/**
 * The machines of one life of a member and their world: what is made when it joins, and thrown
 * away when its membership is lost.
 */
import { policiesText } from '../../config/policies.ts';
import { type Cluster, type ClusterPlan, wireCluster } from '../../config/wire.ts';
import { type Log, type LoggedMachine, recordHost, recordMachine } from '../../core/log.ts';
import type { Buckets, SetRoles } from '../../core/messages.ts';
import type { Observer } from '../../core/observer.ts';
import type { StoreNode } from '../../core/store-node.ts';
import type { TierPool } from '../../core/tier-pool.ts';
import {
  type Address,
  AddressBook,
  CONDUCTOR,
  type Role,
  Tier,
  WORKLOAD,
} from '../../core/topology.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import type { Workload } from '../../core/workload.ts';
import type { Links } from '../control/links.ts';
import type { RailSpec } from '../data-plane.ts';
import { loadNative, type NativeRailInfo } from '../native.ts';
import { FactLogs } from './fact-logs.ts';
import { LiveNode } from './live-node.ts';
import { LiveProcess } from './live-process.ts';
import { manifestOf } from './log-manifest.ts';
import { addressesOn, type Membership } from './membership.ts';
import { numberedHost, numberedMachine } from './numbered.ts';
import type { Reporter } from './reporter.ts';
import { clockOrigin, emptyTrace, type LivePlan, type Member, ssdOf } from './spec.ts';
import type { Holding, MachineStatus } from './status.ts';

export interface MachinesWorld {
  readonly live: LivePlan;
  readonly name: string;
  readonly role: Member['role'];
  /** Of an agent, else -1. */
  readonly node: number;
  readonly incarnation: number;
  /** Of an agent, as peers reach them. */
  readonly rails: readonly RailSpec[];
  readonly links: Links;
  readonly membership: Membership;
  readonly reporter: Reporter;
  /** Who watches beside the reporter. */
  readonly observers: readonly Observer[];
  /** A machine threw: the process can't go on. */
  readonly onError: (error: unknown) => void;
  readonly onWarning: (message: string) => void;
  /** The conductor here made a map of the homes of blocks. */
  readonly onBuckets: (map: Buckets) => void;
}

/** Numbers that a member leaves beside its logs. */
export interface MemberStats {
  readonly name: string;
  readonly movedBytes: number;
  readonly verifiedBlocks: number;
  readonly wrongBytes: number;
  readonly evictions: number;
}

/** A trace and the number of its first request in the cluster. */
interface Played {
  readonly trace: TraceColumns;
  readonly first: number;
}

/** A new leader waits no longer than this for inventories, in the world's time. */
const GATHER_NS = 1e9;

export class Machines {
  readonly process: LiveProcess;
  readonly addresses: AddressBook;
  private readonly world: MachinesWorld;
  private node: LiveNode | null = null;
  private cluster: Cluster | null = null;
  private leads = false;
  private readonly logs: FactLogs | null;

  /** With what an agent has of its node: its SSD is read before its machines are told anything. */
  static async open(world: MachinesWorld): Promise<Machines> {
    const machines = new Machines(world);
    if (world.role !== 'agent') return machines;
    machines.node = await machines.openNode();
    machines.meet(world.membership.now);
    return machines;
  }

  private constructor(world: MachinesWorld) {
    this.world = world;
    const { live, membership } = world;
    const { topology } = live.plan;
    const addresses = new AddressBook(topology);
    this.addresses = addresses;
    this.logs = this.openLogs();
    this.process = new LiveProcess({
      topology,
      costs: live.resolved.truth,
      speed: live.spec.speed,
      originNs: clockOrigin(live.spec),
      observers: [world.reporter, ...world.observers],
      links: world.links,
      processOf: (address) => membership.processOf(addresses, address),
      addressesOf: (peer) => membership.addressesOf(addresses, peer),
      onBuckets: world.onBuckets,
      onError: world.onError,
      onTurn: () => this.logs?.flush(),
    });
  }

  /** What peers need to read this node's blocks; null where there is no node. */
  get segment(): string | null {
    return this.node === null ? null : Buffer.from(this.node.describe()).toString('base64');
  }

  // --- the others -----------------------------------------------------------------------------

  /** Members that are new, or began anew: their pools can be read. */
  meet(came: readonly Member[]): void {
    for (const { node, segment, incarnation, name } of came) {
      if (segment === null || this.node === null || name === this.world.name) continue;
      if (this.node.incarnationOf(node) === incarnation) continue;
      this.node.join(node, Buffer.from(segment, 'base64'), incarnation);
    }
  }

  /** The life of a member is over. */
  part({ node, role }: Member): void {
    if (role !== 'agent') return;
    this.node?.leave(node);
    this.mourn(node);
  }

  /** The leader's conductor learns that a node is gone. */
  private mourn(node: number): void {
    if (!this.leads) return;
    for (const peer of addressesOn(this.addresses, node)) {
      this.process.tell(CONDUCTOR, CONDUCTOR, { kind: 'peerGone', peer });
    }
  }

  /** Somebody leads now: the machines here say what they have. */
  hearLeader(): void {
    this.process.tellReset(CONDUCTOR);
  }

  /** The registry has a map of the homes of blocks. */
  hearBuckets(map: Buckets): void {
    const { role, node } = this.world;
    if (role !== 'agent' || this.node === null) return;
    this.process.tell(this.addresses.store(node), CONDUCTOR, map);
  }

  // --- roles ----------------------------------------------------------------------------------

  /** The conductor of this term is here; `map` is its forerunner's. */
  lead(term: number, map: Buckets | null): void {
    const { live, membership } = this.world;
    const { plan } = live;
    const conductor = { ...plan.settings.conductor, term, gatherNs: GATHER_NS * live.spec.speed };
    const led = { ...plan, settings: { ...plan.settings, conductor } };
    this.leads = true;
    if (map !== null) this.process.tell(CONDUCTOR, CONDUCTOR, map);
    const there = membership.agents;
    for (const { id } of plan.topology.nodes) if (!there.includes(id)) this.mourn(id);
    this.cluster = this.wire(led, (address) => address === CONDUCTOR);
  }

  /**
   * The workload is here and begins: row r of the trace is request `first` + r of the cluster.
   */
  play(trace: TraceColumns, first: number): Workload {
    const { plan } = this.world.live;
    this.cluster = this.wire(plan, (address) => address === WORKLOAD, { trace, first });
    this.process.tell(WORKLOAD, WORKLOAD, { kind: 'wake', token: -1 });
    return this.cluster.workload;
  }

  /** Wires a cluster and keeps the machines that are `own`. */
  private wire(plan: ClusterPlan, own: (address: Address) => boolean, played?: Played): Cluster {
    const { process, addresses } = this;
    const { spec } = this.world.live;
    const first = played?.first ?? 0;
    const trace = played?.trace ?? emptyTrace(spec);
    const logs = new Map<Address, Log>();
    const hostOf = (address: Address) => {
      const host = process.host(address);
      const numbered = address === WORKLOAD && first > 0 ? numberedHost(host, first) : host;
      if (!own(address) || this.logs === null) return numbered;
      const header = {
        machine: addresses.name(address),
        incarnation: this.world.incarnation,
        seed: plan.seed,
        policies: policiesText(plan.policies),
        configuration: plan.settings,
      };
      const log = this.logs.open(header, address === WORKLOAD ? trace : null);
      logs.set(address, log);
      return recordHost(numbered, log);
    };
    const cluster = wireCluster(plan, trace, hostOf, this.world.incarnation);
    for (const [address, machine] of cluster.machines.entries()) {
      if (!own(address)) continue;
      const log = logs.get(address);
      const logged = log === undefined ? machine : recordMachine(machine as LoggedMachine, log);
      const numbered = address === WORKLOAD && first > 0 ? numberedMachine(logged, first) : logged;
      process.setMachine(address, numbered);
    }
    return cluster;
  }

  private openNode(): Promise<LiveNode> {
    const { addon, reason } = loadNative();
    if (addon === null) throw new Error(reason ?? '');
    const { rails, node, live, reporter, incarnation } = this.world;
    const { plan, spec } = live;
    const own = new Set(addressesOn(this.addresses, node));
    return LiveNode.open({
      addon,
      plan,
      node,
      wire: () => {
        this.cluster = this.wire(plan, (address) => own.has(address));
        return this.cluster.stores[node];
      },
      process: this.process,
      rails,
      blockBytes: spec.blockBytes,
      prefault: spec.prefault,
      incarnation,
      ssd: ssdOf(spec, node),
      onWrongByte: (what) => reporter.wrongByte(what),
    });
  }

  /** The cluster whose machines of this process are here; null: none yet. */
  get wired(): Cluster | null {
    return this.cluster;
  }

  get railInfos(): readonly NativeRailInfo[] {
    return this.node?.plane.rails() ?? [];
  }

  /** Blocks that arrived with their sum. */
  get verifiedBlocks(): number {
    return this.node?.transfers.verifiedBlocks ?? 0;
  }

  // --- what operators ask ---------------------------------------------------------------------

  /** Nothing waits, computes, streams or decodes on the node. */
  get isIdle(): boolean {
    const { node, live } = this.world;
    const own = live.plan.topology.instances.filter((spec) => spec.node === node);
    return own.every(({ id }) => this.cluster?.instances[id].isIdle !== false);
  }

  /** Whether the leader gives a node nothing and has nothing there, and its blocks are away. */
  isDrained(node: number): boolean {
    const { cluster, leads } = this;
    if (!leads || cluster === null || !cluster.conductor.isSettled(node)) return false;
    const { views } = cluster.conductor;
    const own = this.world.live.plan.topology.instances.filter((spec) => spec.node === node);
    return own.every(({ id }) => {
      const bound = views.queuedRequests(id) + views.decodeRequests(id);
      return bound === 0 && (views.rolesOf(id).length === 0 || !views.isAlive(id));
    });
  }

  /** To the leader's conductor: what the instances of a node are to do. */
  setRoles(node: number, roles: readonly Role[] | null): void {
    if (!this.leads) return;
    if (roles?.length === 0) {
      // Not the roles alone: nothing is placed on it either.
      this.process.tell(CONDUCTOR, CONDUCTOR, { kind: 'drain', node });
      return;
    }
    for (const spec of this.world.live.plan.topology.instances) {
      if (spec.node !== node) continue;
      const body = { kind: 'setRoles', term: 0, instance: spec.id, roles: roles ?? spec.roles };
      this.process.tell(CONDUCTOR, CONDUCTOR, body as SetRoles);
    }
  }

  status(): MachineStatus {
    const { cluster, node, leads } = this;
    const { live } = this.world;
    const store = node === null ? undefined : cluster?.stores[this.world.node];
    return {
      tiers: store === undefined ? [] : tiersOf(store),
      rails: live.spec.rails.map(({ kind }) => kind),
      movedBytes: node?.transfers.movedBytes ?? 0,
      verifiedBlocks: node?.transfers.verifiedBlocks ?? 0,
      ssdFullBlocks: node?.ssd?.fullBlocks ?? 0,
      evictions: store?.dram.evictions ?? 0,
      moves: store?.moves ?? null,
      instances: leads && cluster !== null ? this.instancesSeen(cluster) : [],
      inFlight: leads && cluster !== null ? cluster.conductor.liveRequests : 0,
    };
  }

  /** An agent: what its store has. The leader: what it believes of all. */
  audit(): Holding[] {
    const { cluster, leads } = this;
    if (cluster === null) return [];
    if (!leads) {
      const { node } = this.world;
      return node < 0 ? [] : [holdingOf(node, cluster.stores[node].dram.readyBlocks())];
    }
    const { nodes } = this.world.live.plan.topology;
    const { directory } = cluster.conductor;
    return nodes.map(({ id }) => holdingOf(id, directory.blocksOf(id, Tier.dram)));
  }

  private instancesSeen({ conductor }: Cluster): MachineStatus['instances'] {
    const { views } = conductor;
    return this.world.live.plan.topology.instances.map(({ id, name, node }) => ({
      name,
      node,
      alive: views.isAlive(id),
      roles: views.rolesOf(id),
      queued: views.queuedRequests(id),
      decoding: views.decodeRequests(id),
    }));
  }

  /** `forGood`: no other life of the member follows. */
  async close(forGood: boolean): Promise<void> {
    this.process.stop();
    await this.node?.close(forGood);
    this.logs?.close();
  }

  // --- logs -----------------------------------------------------------------------------------

  private openLogs(): FactLogs | null {
    const { live, name, incarnation, reporter, onWarning } = this.world;
    const { logs: folder } = live.spec;
    if (folder === null) return null;
    const stats = (): MemberStats => {
      const { movedBytes, verifiedBlocks, evictions } = this.status();
      const { wrongBytes } = reporter;
      return { name, movedBytes, verifiedBlocks, wrongBytes, evictions };
    };
    const manifest = manifestOf(live);
    return new FactLogs({ folder, member: name, incarnation, manifest, stats, onWarning });
  }
}

function holdingOf(node: number, blocks: readonly number[]): Holding {
  const digest = blocks.reduce((sum, block) => (sum + Math.imul(block + 1, 0x9e3779b1)) | 0, 0);
  return { node, blocks: blocks.length, digest };
}

function tiersOf({ dram, ssd }: StoreNode): MachineStatus['tiers'] {
  const of = (tier: 'dram' | 'ssd', pool: TierPool) => ({
    tier,
    usedBlocks: pool.usedSlots,
    capacityBlocks: pool.capacitySlots,
    evictions: pool.evictions,
  });
  return ssd === null ? [of('dram', dram)] : [of('dram', dram), of('ssd', ssd)];
}
