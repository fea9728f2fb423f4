/**
 * One process of a live cluster from its start to its end: joins the registry, finds the others,
 * hosts its machines, writes its fact logs.
 */
import { policiesText } from '../../config/policies.ts';
import { type Cluster, wireCluster } from '../../config/wire.ts';
import { type Log, type LoggedMachine, recordHost, recordMachine } from '../../core/log.ts';
import { type Address, AddressBook, CONDUCTOR, WORKLOAD } from '../../core/topology.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { Links } from '../control/links.ts';
import { channelCredentials, checkBind, serverCredentials, type Tls } from '../control/security.ts';
import { DataPlane, PLANE_DEFAULTS, type Segment } from '../data-plane.ts';
import { loadNative } from '../native.ts';
import { type Campaign, campaign, type Leadership } from '../registry/election.ts';
import { EtcdRegistry } from '../registry/etcd.ts';
import { ANY, type Lease, type Registry, RegistryError } from '../registry/registry.ts';
import { type RegistryServer, RemoteRegistry } from '../registry/served.ts';
import { FactLogs } from './fact-logs.ts';
import { LiveMemory, PARKED } from './live-memory.ts';
import { LiveProcess } from './live-process.ts';
import { LiveTransfers } from './live-transfers.ts';
import { manifestOf } from './log-manifest.ts';
import {
  emptyTrace,
  LEADER_KEY,
  type LivePlan,
  type LiveSpec,
  MEMBERS,
  type Member,
  memberOf,
  nextIncarnation,
  planOf,
  readSpec,
} from './spec.ts';

/** Of memberships and of the leader: how long a dead process is believed alive. */
export const MEMBER_TTL_MS = 5000;
/** The process that serves a registry in memory. */
export const HUB = 'hub';

export interface MemberOptions {
  readonly name: string;
  readonly role: Member['role'];
  /** Of an agent, else -1. */
  readonly node: number;
  /** `host:port` to listen on. */
  readonly listen: string;
  /** Null: none is asked for; then there must be `tls`, or nobody but this machine listens. */
  readonly token: string | null;
  /** Mutual TLS on all channels, and with etcd. */
  readonly tls?: Tls | null;
  /** etcd's endpoints, or where the process listens that serves a registry. */
  readonly registry:
    | { readonly etcd: readonly string[]; readonly prefix: string }
    | { readonly hub: string };
  /** Of the process that serves it itself. */
  readonly server?: RegistryServer;
  /** What the ingress plays. */
  readonly trace?: TraceColumns;
  readonly onError: (error: unknown) => void;
  /** What an operator should know; the process goes on. */
  readonly onWarning?: (message: string) => void;
}

/** Numbers that a member leaves beside its logs. */
export interface MemberStats {
  readonly name: string;
  readonly movedBytes: number;
  readonly verifiedBlocks: number;
  readonly wrongBytes: number;
  readonly evictions: number;
}

export class LiveMember {
  readonly name: string;
  readonly registry: Registry;
  readonly links: Links;
  private readonly options: MemberOptions;
  private readonly remote: RemoteRegistry | null;
  private members: ReadonlyMap<string, Member> = new Map();
  private segments = new Map<number, { segment: Segment; incarnation: number }>();
  private leader: string | null = null;
  private incarnation = 0;
  private lease: Lease | null = null;
  private candidate: Campaign | null = null;
  private leadership: Leadership | null = null;
  private live: LivePlan | null = null;
  private process: LiveProcess | null = null;
  private plane: DataPlane | null = null;
  private memory: LiveMemory | null = null;
  private transfers: LiveTransfers | null = null;
  private cluster: Cluster | null = null;
  private logs: FactLogs | null = null;
  private wrongBytes = 0;
  private onLeader: (() => void)[] = [];

  /** @throws InputError where strangers could reach it */
  constructor(options: MemberOptions) {
    this.options = options;
    this.name = options.name;
    const security = { token: options.token, tls: options.tls ?? null };
    checkBind(options.listen, security, '--listen');
    this.links = new Links({
      name: options.name,
      life: Date.now(),
      listen: options.listen,
      token: options.token,
      serverCredentials: serverCredentials(security),
      channelCredentials: channelCredentials(security),
      endpointOf: (peer) => this.endpointOf(peer),
      handler: {
        onMessage: (peer, message) => this.receive(peer, message),
        onReset: (peer) => this.reset(peer),
      },
    });
    const { registry, server } = options;
    this.remote = null;
    if (server !== undefined) this.registry = server.registry;
    else if ('etcd' in registry) {
      const { etcd: endpoints, prefix } = registry;
      const { tls } = security;
      const credentials =
        tls === null ? null : { rootCertificate: tls.ca, privateKey: tls.key, certChain: tls.cert };
      this.registry = new EtcdRegistry({ endpoints, prefix, credentials });
    } else {
      this.remote = new RemoteRegistry(HUB, (peer, letter) => this.links.send(peer, letter));
      this.registry = this.remote;
    }
  }

  /** Joins with its machines. The spec must be in the registry. */
  async join(): Promise<void> {
    const { role, node } = this.options;
    const port = await this.links.listen();
    const host = this.options.listen.slice(0, this.options.listen.lastIndexOf(':'));
    this.incarnation = await nextIncarnation(this.registry, this.name);
    this.live = await planOf(await readSpec(this.registry));
    this.openLogs(this.live);
    this.build(this.live);
    const member: Member = {
      name: this.name,
      role,
      node,
      endpoint: `${host}:${port}`,
      incarnation: this.incarnation,
      segment: this.memory === null ? null : base64(this.memory.pool.describe()),
    };
    this.lease = await this.registry.lease(MEMBER_TTL_MS);
    void this.lease.lost.then(() => this.options.onError(new RegistryError('membership lost')));
    await this.lease.put(MEMBERS + this.name, JSON.stringify(member), ANY);
    await this.registry.watch(MEMBERS, (entries) => {
      const members = [...entries.values()].map(({ value }) => memberOf(value));
      this.onMembers(members.filter((found) => found !== null));
    });
    await this.registry.watch(LEADER_KEY, (entries) => {
      this.onLeaderChange(entries.get(LEADER_KEY)?.value ?? null);
    });
    if (role === 'conductor') void this.standForElection();
  }

  /** Resolves when so many agents are members and a conductor leads. */
  async ready(agents: number): Promise<void> {
    const enough = () => {
      const found = [...this.members.values()].filter(({ role }) => role === 'agent').length;
      return found >= agents && this.leader !== null && this.members.has(this.leader);
    };
    while (!enough()) {
      await new Promise<void>((resolve) => this.onLeader.push(resolve));
    }
  }

  /** Starts the workload; of the ingress alone. */
  play(): void {
    this.process?.tell(WORKLOAD, WORKLOAD, { kind: 'wake', token: -1 });
  }

  get endedRequests(): number {
    return this.cluster?.workload.endedRequests ?? 0;
  }

  get done(): boolean {
    return this.cluster?.workload.done ?? false;
  }

  get membersNow(): readonly Member[] {
    return [...this.members.values()];
  }

  get leaderNow(): string | null {
    return this.leader;
  }

  /** Leaves: gives up its lease, closes everything, its logs first. */
  async leave(): Promise<void> {
    this.process?.stop();
    await this.logs?.close();
    const settle = async (step: Promise<unknown> | undefined) => {
      await step?.catch(() => {});
    };
    await settle(this.leadership?.resign());
    await settle(this.candidate?.cancel());
    await settle(this.lease?.end());
    await settle(this.options.server === undefined ? this.registry.close() : undefined);
    await this.links.close();
    this.plane?.close();
  }

  // --- machines -------------------------------------------------------------------------------

  private build({ plan, resolved, spec }: LivePlan): void {
    const { role, node } = this.options;
    const { topology } = plan;
    const addresses = new AddressBook(topology);
    const process = new LiveProcess({
      topology,
      blocks: spec.blocks,
      costs: resolved.truth,
      speed: spec.speed,
      originNs: BigInt(spec.originNs),
      observers: [],
      links: this.links,
      processOf: (address) => this.processOf(addresses, address),
      addressesOf: (peer) => this.addressesOf(addresses, peer),
      onError: this.options.onError,
    });
    this.process = process;
    if (role === 'conductor') return;
    const own = (address: Address) =>
      role === 'ingress' ? address === WORKLOAD : addresses.nodeOf[address] === node;
    this.cluster = this.wire(plan, spec, addresses, own);
    if (role === 'agent') this.openNode(spec, this.cluster);
  }

  /** Wires a cluster and keeps the machines that are `own`. */
  private wire(
    plan: LivePlan['plan'],
    spec: LiveSpec,
    addresses: AddressBook,
    own: (address: Address) => boolean,
  ): Cluster {
    const process = this.process!;
    const trace = this.options.trace ?? emptyTrace(spec);
    const logs = new Map<Address, Log>();
    const hostOf = (address: Address) => {
      const host = process.host(address);
      if (!own(address) || this.logs === null) return host;
      const header = {
        machine: addresses.name(address),
        incarnation: this.incarnation,
        seed: plan.seed,
        policies: policiesText(plan.policies),
        configuration: plan.settings,
      };
      const log = this.logs.open(header, address === WORKLOAD ? trace : null);
      logs.set(address, log);
      return recordHost(host, log);
    };
    const cluster = wireCluster(plan, trace, hostOf, this.incarnation);
    cluster.machines.forEach((machine, address) => {
      if (!own(address)) return;
      const log = logs.get(address);
      const logged = machine as LoggedMachine;
      process.setMachine(address, log === undefined ? machine : recordMachine(logged, log));
    });
    return cluster;
  }

  private openNode(spec: LiveSpec, cluster: Cluster): void {
    const { addon, reason } = loadNative();
    if (addon === null) throw new Error(reason ?? '');
    const { node } = this.options;
    const { plan } = this.live!;
    const { topology } = plan;
    const stream = { random: () => 0.5 };
    const plane = new DataPlane(addon, plan.policies.rail.create(stream as never), PLANE_DEFAULTS);
    for (const rail of spec.rails) plane.addRail(rail);
    const store = cluster.stores[node];
    const specs = topology.instances.filter((instance) => instance.node === node);
    const modelBytes = topology.kv.blockTokens * topology.kv.bytesPerToken[0];
    const pages = specs.reduce((sum, { kvCapacityBytes }) => sum + kvCapacityBytes, 0) / modelBytes;
    this.memory = new LiveMemory({
      addon,
      plane,
      dramSlots: store.dram.capacitySlots,
      pages: Math.ceil(pages) + topology.instances.length,
      blockBytes: spec.blockBytes,
    });
    this.plane = plane;
    const process = this.process!;
    this.transfers = new LiveTransfers({
      node,
      plane,
      memory: this.memory,
      prompts: process.prompts,
      blockTokens: topology.kv.blockTokens,
      segmentOf: (peer) => this.segments.get(peer) ?? null,
      blockAt: (slot) => store.dram.block(slot),
      generationAt: (slot) => store.dram.generations[slot],
      offer: (peer, offer) => process.offer(peer, offer),
      onWrongByte: (what) => {
        this.wrongBytes++;
        this.options.onError(new Error(what));
      },
    });
    const isHeld = (owner: number, request: number) =>
      owner === PARKED
        ? specs.some(({ id }) => store.isHeld(id, request))
        : store.isHeld(owner, request);
    process.setNode({ memory: this.memory, transfers: this.transfers, isHeld });
  }

  private async standForElection(): Promise<void> {
    try {
      this.candidate = campaign(this.registry, LEADER_KEY, this.name, MEMBER_TTL_MS);
      const leadership = await this.candidate.elected;
      this.leadership = leadership;
      void leadership.lost.then(() => this.options.onError(new RegistryError('leadership lost')));
      const { plan, spec } = this.live!;
      const conductor = { ...plan.settings.conductor, term: leadership.term };
      const led = { ...plan, settings: { ...plan.settings, conductor } };
      const addresses = new AddressBook(plan.topology);
      this.cluster = this.wire(led, spec, addresses, (address) => address === CONDUCTOR);
    } catch (error) {
      this.options.onError(error);
    }
  }

  // --- the others -----------------------------------------------------------------------------

  private onMembers(members: readonly Member[]): void {
    const before = this.members;
    this.members = new Map(members.map((member) => [member.name, member]));
    for (const [name, { incarnation, node }] of before) {
      if (this.members.get(name)?.incarnation === incarnation || name === this.name) continue;
      const known = this.segments.get(node);
      this.segments.delete(node);
      if (known !== undefined) this.plane?.dropSegment(known.segment);
      this.links.drop(name, 'it left the cluster');
    }
    for (const { node, segment, incarnation, name } of members) {
      if (segment === null || this.plane === null || name === this.name) continue;
      if (this.segments.get(node)?.incarnation === incarnation) continue;
      const imported = this.plane.importSegment(Buffer.from(segment, 'base64'));
      if (imported !== null) this.segments.set(node, { segment: imported, incarnation });
    }
    this.wakeWaiting();
  }

  /** Whoever led before: what was said to it may be lost, and who leads now must be told. */
  private onLeaderChange(leader: string | null): void {
    if (leader === this.leader) return;
    this.leader = leader;
    if (leader !== null) this.process?.tellReset(CONDUCTOR);
    this.wakeWaiting();
  }

  private wakeWaiting(): void {
    for (const wake of this.onLeader.splice(0)) wake();
  }

  private endpointOf(peer: string): string | null {
    const { registry } = this.options;
    if (peer === HUB && 'hub' in registry) return registry.hub;
    return this.members.get(peer)?.endpoint ?? null;
  }

  private processOf(addresses: AddressBook, address: Address): string | null {
    if (address === CONDUCTOR) return this.leader;
    const node = addresses.nodeOf[address];
    for (const member of this.members.values()) {
      if (address === WORKLOAD ? member.role === 'ingress' : member.node === node && node >= 0) {
        return member.name;
      }
    }
    return null;
  }

  private addressesOf(addresses: AddressBook, peer: string): Address[] {
    const all = Array.from({ length: addresses.count }, (_, address) => address);
    return all.filter((address) => this.processOf(addresses, address) === peer);
  }

  private receive(peer: string, letter: unknown): void {
    if (Array.isArray(letter) && letter[0] === 'registry') {
      if (this.options.server !== undefined) this.options.server.receive(peer, letter[1]);
      else if (peer === HUB) this.remote?.receive(letter[1]);
    } else this.process?.receive(peer, letter);
  }

  private reset(peer: string): void {
    this.options.server?.reset(peer);
    if (peer === HUB) this.remote?.reset();
    this.process?.reset(peer);
  }

  // --- logs -----------------------------------------------------------------------------------

  private openLogs(live: LivePlan): void {
    const { logs: folder } = live.spec;
    if (folder === null) return;
    const { name, incarnation } = this;
    this.logs = new FactLogs({
      folder,
      member: name,
      incarnation,
      manifest: manifestOf(live),
      stats: () => this.stats(),
      onWarning: this.options.onWarning ?? (() => {}),
    });
  }

  private stats(): MemberStats {
    return {
      name: this.name,
      movedBytes: this.transfers?.movedBytes ?? 0,
      verifiedBlocks: this.transfers?.verifiedBlocks ?? 0,
      wrongBytes: this.wrongBytes,
      evictions: this.cluster?.stores[this.options.node]?.dram.evictions ?? 0,
    };
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
