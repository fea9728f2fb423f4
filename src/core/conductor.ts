/**
 * Conductor: takes every request, asks the policies which instance computes its prompt, which
 * decodes it and where cached blocks come from, and follows it to its end. It decides on hints:
 * the directory and the views lag behind the cluster by the control delay.
 */
import { BucketKeeper } from './bucket-keeper.ts';
import { InstanceViews, ViewWorld } from './cluster-view.ts';
import type { Estimator } from './cost.ts';
import { Directory } from './directory.ts';
import { DirectoryMatch } from './directory-match.ts';
import { Elasticity } from './elasticity.ts';
import { assert, PolicyError } from './errors.ts';
import { Count, type Host, type Machine, Mark } from './host.ts';
import type * as M from './messages.ts';
import { Occupancy } from './occupancy.ts';
import type {
  AdmissionPolicy,
  DecodePolicy,
  DisaggregationPolicy,
  ElasticityPolicy,
  PlacementPolicy,
  PrefillChoice,
  PrefillPolicy,
  Replica,
  ReplicationPolicy,
  Verdict,
} from './policy.ts';
import { predictWork } from './predict.ts';
import { Recent } from './recent.ts';
import { attemptKey, attemptOf, Outcome, Phase, type Request, requestOf } from './request.ts';
import type { ConductorSettings } from './settings.ts';
import { Restorable } from './snapshot.ts';
import { type Found, GATHER_NS, Takeover } from './takeover.ts';
import { type Address, type AddressBook, Tier, type Topology, WORKLOAD } from './topology.ts';

/** What a conductor is given; not part of its state. */
export interface ConductorWorld {
  readonly host: Host;
  readonly topology: Topology;
  readonly addresses: AddressBook;
  readonly settings: ConductorSettings;
  readonly estimate: Estimator;
}

export interface ConductorPolicies {
  readonly prefill: PrefillPolicy;
  readonly decode: DecodePolicy;
  readonly disaggregation: DisaggregationPolicy;
  readonly admission: AdmissionPolicy;
  readonly placement: PlacementPolicy;
  readonly elasticity: ElasticityPolicy;
  readonly replication: ReplicationPolicy;
}

const NONE: readonly number[] = [];

type Sources = Pick<M.Dispatch, 'sources' | 'untils'>;
const NO_SOURCES: Sources = { sources: NONE, untils: NONE };

/** A request that runs. */
interface Booked {
  readonly request: Request;
  readonly prefillInstance: number;
  readonly decodeInstance: number;
  /** Null when an earlier conductor sent it off. */
  readonly dispatch: M.Dispatch | null;
  prefilled: boolean;
  /** Who computed its prompt is dead: its decode instance is asked whether it was handed over. */
  orphaned: boolean;
  cancelled: boolean;
  /** Why the conductor itself cancelled it, or inFlight. */
  withdrawn: Outcome;
}

/** Life of a machine that no inventory has told of. */
const UNHEARD = -1;
/** Ended requests that are remembered for an ingress that asks again. */
const RECENT_ENDED = 65_536;
/** Replicas named as alternates to the first source of a fetch. */
const ALTERNATES = 2;

const VERDICTS: Record<Exclude<Verdict, ''>, Outcome> = {
  ttft: Outcome.rejectedTtft,
  tbt: Outcome.rejectedTbt,
  policy: Outcome.rejectedPolicy,
};

export class Conductor extends Restorable implements Machine {
  readonly world: ConductorWorld;
  readonly directory: Directory;
  readonly views: InstanceViews;
  /** What policies see: `views`, or what they were a while ago. */
  private readonly seen: InstanceViews;
  private seenAtNs = 0;
  private readonly policies: ConductorPolicies;
  private readonly match: DirectoryMatch;
  private readonly occupancy: Occupancy;
  private readonly elasticity: Elasticity;
  private readonly live = new Map<number, Booked>();
  /** Outcomes by attempt. */
  private readonly ended = new Recent(RECENT_ENDED);
  /** Dispatches sent to each instance, and deltas seen of each store. */
  private readonly dispatched: Float64Array;
  /** The last dispatch that each instance has, or will have if nothing is lost. */
  private readonly reached: Float64Array;
  private readonly deltaSequence: Float64Array;
  /** Life of each instance, and of each store by its tiers' rows, that was heard last. */
  private readonly lives: Float64Array;
  private readonly storeLives: Float64Array;
  private readonly takeover: Takeover;
  /** Null where blocks have no homes. */
  private readonly keeper: BucketKeeper | null;

  constructor(world: ConductorWorld, policies: ConductorPolicies, blocks: number) {
    super();
    this.world = world;
    this.policies = policies;
    const { topology, addresses } = world;
    this.directory = new Directory(topology.nodes.length, blocks);
    const viewWorld = new ViewWorld(topology, addresses);
    this.views = new InstanceViews(viewWorld);
    const lags = world.settings.stalenessNs > 0;
    this.seen = lags ? new InstanceViews(viewWorld, this.views) : this.views;
    this.match = new DirectoryMatch(
      this.directory,
      topology,
      !world.settings.pooled ? 'local' : policies.placement.spreads ? 'spread' : 'whole',
    );
    this.occupancy = new Occupancy(topology, this.directory);
    this.elasticity = new Elasticity(world, this.views, policies.elasticity);
    this.dispatched = new Float64Array(topology.instances.length);
    this.reached = new Float64Array(topology.instances.length);
    this.deltaSequence = new Float64Array(2 * topology.nodes.length + topology.instances.length);
    this.lives = new Float64Array(topology.instances.length).fill(UNHEARD);
    this.storeLives = new Float64Array(this.deltaSequence.length).fill(UNHEARD);
    const instances = topology.instances.map(({ id }) => addresses.instance(id));
    const stores = topology.nodes.map(({ id }) => addresses.store(id));
    const { placement } = policies;
    const mapped = placement.mapFor !== undefined;
    this.keeper = mapped ? new BucketKeeper(world, placement, this.occupancy) : null;
    this.takeover = new Takeover(world.settings.term > 1 ? [...instances, ...stores] : []);
  }

  handle(fact: M.Fact): void {
    const { body } = fact;
    const { addresses } = this.world;
    if (this.seen !== this.views) this.refresh(fact.atNs);
    this.views.nowNs = fact.atNs;
    const { takeover } = this;
    if (takeover.gathering) {
      const { gatherNs = GATHER_NS } = this.world.settings;
      if (takeover.begins()) this.world.host.wakeAt(fact.atNs + gatherNs, 0);
      if (body.kind === 'arrive' || body.kind === 'cancel') return takeover.hold(body);
    }
    switch (body.kind) {
      case 'arrive':
        return this.onArrive(body.request);
      case 'delta':
        return this.onDelta(body);
      case 'prefilled':
        return this.onPrefilled(body);
      case 'finished':
        return this.onFinished(body, fact.atNs);
      case 'setRoles':
        return this.onSetRoles(body);
      case 'drain':
        return this.onDrain(body.node);
      case 'rolesSet':
        return this.elasticity.onRolesSet(body, fact.atNs);
      case 'buckets':
        return this.keeper?.adopt(body);
      case 'movesLeft':
        return this.keeper?.heard(body);
      case 'cancel':
        return this.onCancel(body);
      case 'blockInventory':
        return this.onBlockInventory(body);
      case 'requestInventory':
        return this.onRequestInventory(body);
      case 'peerGone':
        return this.onPeerGone(body.peer);
      case 'wake':
        return this.onWake(body.token, fact.atNs);
      case 'peerReset':
        // The other side reports: stores and instances their inventories, the ingress its requests.
        if (addresses.isInstance(body.peer)) {
          this.elasticity.repeat(addresses.instanceId(body.peer));
        }
        return;
      default:
        throw new Error(`a conductor does not take ${body.kind}`);
    }
  }

  private onWake(token: number, nowNs: number): void {
    const { takeover, seen, live } = this;
    if (token !== 0) this.elasticity.onWake(token, nowNs, seen, live.size > 0);
    else if (takeover.gathering) this.endTakeover();
  }

  /** Shows policies what was so at the last whole multiple of the staleness. */
  private refresh(nowNs: number): void {
    const { stalenessNs } = this.world.settings;
    const dueNs = Math.floor(nowNs / stalenessNs) * stalenessNs;
    if (dueNs > this.seenAtNs) {
      this.seenAtNs = dueNs;
      this.seen.copy(this.views);
    }
    this.seen.passTo(nowNs, nowNs - this.seenAtNs);
  }

  /** Requests that run. */
  get liveRequests(): number {
    return this.live.size;
  }

  /** The homes of blocks, as the stores were told; null where they have none. */
  get bucketMap(): M.Buckets | null {
    return this.keeper?.map ?? null;
  }

  /** Nothing of a node is to move to another home. */
  isSettled(node: number): boolean {
    return this.keeper?.isSettled(node) ?? true;
  }

  /** Nothing is believed to run; for tests. */
  checkIdle(): void {
    assert(this.live.size === 0, 'a request is booked');
    this.views.checkIdle();
  }

  // --- decisions ------------------------------------------------------------------------------

  private onArrive(request: Request): void {
    const key = attemptKey(request.id, request.attempt);
    if (this.live.has(key)) return;
    const ended = this.ended.get(key);
    if (ended !== undefined) {
      this.tellIngress(request.id, request.attempt, ended as Outcome);
      return;
    }
    const found = this.takeover.take(key);
    if (found !== undefined) this.adopt(request, key, found);
    else this.decide(request, key);
  }

  private decide(request: Request, key: number): void {
    const { policies, views, seen, match } = this;
    if (views.prefillInstances.length === 0 || views.decodeInstances.length === 0) {
      this.reject(request, Outcome.rejectedNoInstance);
      return;
    }
    match.of(request.blocks);
    if (this.world.settings.congestion) match.preferIdle(views);
    const apart = policies.disaggregation.separates(request, match, seen);
    seen.offerPrefill(apart);
    const choice = policies.prefill.choose(request, match, seen);
    const together = !apart && views.coupledInstances.includes(choice.instance);
    const decodeInstance = together
      ? choice.instance
      : policies.decode.choose(request, choice.instance, seen);
    this.checkChoice(choice, decodeInstance);
    if (this.tooLarge(request, choice.instance, decodeInstance)) {
      this.reject(request, Outcome.rejectedTooLarge);
      return;
    }
    const verdict = policies.admission.verdict(request, choice, decodeInstance, seen);
    this.elasticity.begin(views.nowNs);
    if (verdict === '') this.book(request, key, choice, decodeInstance);
    else this.reject(request, VERDICTS[verdict]);
  }

  /** Whether it could never have the working memory that it needs. */
  private tooLarge({ inputTokens, outputTokens }: Request, prefill: number, decode: number) {
    const { views } = this;
    const short = views.decodeCapacityTokens(decode) < inputTokens + outputTokens;
    return short || views.decodeCapacityTokens(prefill) < inputTokens;
  }

  private checkChoice(choice: PrefillChoice, decodeInstance: number): void {
    const { prefillInstances, decodeInstances } = this.seen;
    if (!prefillInstances.includes(choice.instance)) {
      throw new PolicyError(`the prefill policy chose ${choice.instance}, not a prefill instance`);
    }
    if (!decodeInstances.includes(decodeInstance)) {
      throw new PolicyError(`the decode policy chose ${decodeInstance}, not a decode instance`);
    }
    if (choice.sourceNode >= this.world.topology.nodes.length) {
      throw new PolicyError(`the prefill policy chose source ${choice.sourceNode}, not a node`);
    }
  }

  private book(request: Request, key: number, choice: PrefillChoice, decode: number): void {
    const { world, views, match } = this;
    const { instance } = choice;
    const { sources, untils } = this.sourcesFor(choice, request);
    const after = this.reached[instance];
    const dispatch: M.Dispatch = {
      kind: 'dispatch',
      term: world.settings.term,
      sequence: ++this.dispatched[instance],
      after,
      request,
      decodeInstance: decode,
      sources,
      untils,
      sourceBlocks: choice.sourceBlocks,
      localBlocks: match.localBlocks(instance),
      nodes: this.nodesFor(request, instance),
      keepsFetched: this.policies.replication.keepsFetched,
    };
    const { predictedNs, tokens } = predictWork(world.estimate, world.topology, instance, dispatch);
    const decodeTokens = request.inputTokens + request.outputTokens;
    this.reached[instance] = dispatch.sequence;
    views.enqueue(instance, { key, predictedNs, tokens, decodeTokens });
    views.bindDecode(decode, decodeTokens);
    if (world.settings.congestion) this.bookFetch(dispatch, instance);
    this.live.set(key, {
      request,
      prefillInstance: instance,
      decodeInstance: decode,
      dispatch,
      prefilled: false,
      orphaned: false,
      cancelled: false,
      withdrawn: Outcome.inFlight,
    });
    world.host.send(world.addresses.instance(instance), dispatch);
    const { replication } = this.policies;
    if (!replication.watches) return;
    this.occupancy.nowNs = views.nowNs;
    this.replicate(request, replication.onRequest(request, this.occupancy));
  }

  /** The source will be busy with what the target lacks. */
  private bookFetch(dispatch: M.Dispatch, instance: number): void {
    const { request, sources, sourceBlocks, localBlocks } = dispatch;
    if (sources.length === 0) return;
    const { estimate, topology } = this.world;
    const { blockTokens } = topology.kv;
    const blocks = sourceBlocks - localBlocks;
    const tokens = Math.min(blocks * blockTokens, request.inputTokens - localBlocks * blockTokens);
    const target = this.views.nodeOf(instance);
    this.views.send(sources[0], estimate.transferNs(sources[0], target, tokens));
  }

  /** The chosen source, then others that hold as much; where blocks are spread, all of them. */
  private sourcesFor(choice: PrefillChoice, { blocks }: Request): Sources {
    const { sourceNode, sourceBlocks, instance } = choice;
    if (sourceNode < 0 || sourceBlocks === 0 || !this.world.settings.pooled) return NO_SOURCES;
    const target = this.views.nodeOf(instance);
    if (this.policies.placement.spreads) {
      const runs = this.directory.runsFor(target, blocks, sourceBlocks);
      return { sources: runs.map(({ node }) => node), untils: runs.map(({ until }) => until) };
    }
    const sources = [sourceNode];
    const { matched } = this.directory;
    for (let node = 0; node < matched.length && sources.length <= ALTERNATES; node++) {
      const other = node !== sourceNode && node !== target;
      if (other && matched[node] >= sourceBlocks) sources.push(node);
    }
    return { sources, untils: NONE };
  }

  /** Has copies made that the policy wants. */
  private replicate(request: Request, replicas: readonly Replica[]): void {
    const { host, addresses } = this.world;
    const { nodes } = this.occupancy;
    for (const { source, target, blocks } of replicas) {
      const known = nodes.includes(source) && nodes.includes(target) && source !== target;
      if (!known || !(blocks > 0 && blocks <= request.blocks.length)) {
        throw new PolicyError(
          `the replication policy wants ${blocks} blocks from ${source} to ${target}, expected ` +
            `up to ${request.blocks.length} between two nodes with DRAM for blocks`,
        );
      }
      host.send(addresses.store(target), { kind: 'replicate', request, source, blocks });
    }
  }

  /** Which nodes are to keep the blocks of a prompt. */
  private nodesFor({ blocks }: Request, instance: number): readonly number[] {
    const { policies, occupancy } = this;
    const { placement } = policies;
    if (!placement.spreads || occupancy.nodes.length === 0) return NONE;
    this.remap();
    const own = this.views.nodeOf(instance);
    const nodes: number[] = [];
    for (let i = 0; i < blocks.length; i++) {
      const node = placement.place(blocks.at(i), own, occupancy);
      if (!occupancy.nodes.includes(node)) {
        throw new PolicyError(
          `the placement policy chose ${node}, not a node with DRAM for blocks`,
        );
      }
      nodes.push(node);
    }
    return nodes;
  }

  private reject(request: Request, outcome: Outcome): void {
    const { id, attempt } = request;
    this.world.host.mark(id, Mark.finishedNs, this.views.nowNs);
    this.world.host.mark(id, Mark.outcome, outcome);
    this.ended.set(attemptKey(id, attempt), outcome);
    this.tellIngress(id, attempt, outcome);
  }

  // --- what became of it ----------------------------------------------------------------------

  private onPrefilled(body: M.Prefilled): void {
    const key = attemptKey(body.request, body.attempt);
    const booked = this.live.get(key);
    if (booked === undefined || booked.prefilled) {
      this.world.host.count(Count.lateFact, 1);
      return;
    }
    const { request, decodeInstance } = booked;
    const verdict =
      booked.cancelled || request.outputTokens === 1
        ? ''
        : this.policies.admission.verdictAtDecode?.(request, decodeInstance, this.seen);
    this.toDecode(key, booked);
    const { replication } = this.policies;
    const node = this.views.nodeOf(booked.prefillInstance);
    if (replication.watches && this.occupancy.nodes.includes(node)) {
      this.occupancy.nowNs = this.views.nowNs;
      this.replicate(request, replication.onComputed(request, node, this.occupancy));
    }
    if (verdict) this.withdraw(booked, VERDICTS[verdict]);
  }

  /** Its prompt is done: decode comes next. */
  private toDecode(key: number, booked: Booked): void {
    const { request, prefillInstance, decodeInstance } = booked;
    booked.prefilled = true;
    this.views.dequeue(prefillInstance, key);
    this.views.startDecode(decodeInstance, key, request.inputTokens + request.outputTokens);
  }

  /** Takes a request back that is under way. */
  private withdraw(booked: Booked, outcome: Outcome): void {
    booked.cancelled = true;
    booked.withdrawn = outcome;
    this.passCancel(booked);
  }

  /** An instance knows a cancel; the conductor knows why. */
  private onFinished({ request, attempt, outcome }: M.Finished, nowNs: number): void {
    const key = attemptKey(request, attempt);
    const booked = this.live.get(key);
    if (booked === undefined) {
      // It ended before its ingress asked again, who may do so after the gathering.
      const found = this.takeover.take(key);
      // Why an earlier conductor withdrew it, nobody knows: an ingress that still asks tries again.
      const said = outcome === Outcome.cancelled ? Outcome.lost : outcome;
      if (found !== undefined || this.takeover.gathering) this.ended.set(key, said);
    }
    if (outcome === Outcome.lost && booked !== undefined) {
      this.lose(booked, booked.prefillInstance);
      return;
    }
    const withdrawn = booked?.withdrawn ?? Outcome.inFlight;
    if (outcome !== Outcome.cancelled || withdrawn === Outcome.inFlight) {
      this.end(request, attempt, outcome);
      return;
    }
    this.world.host.mark(request, Mark.outcome, withdrawn);
    this.world.host.mark(request, Mark.finishedNs, nowNs);
    this.end(request, attempt, withdrawn);
  }

  private end(request: number, attempt: number, outcome: Outcome): void {
    const key = attemptKey(request, attempt);
    const booked = this.live.get(key);
    if (booked === undefined) {
      this.world.host.count(Count.lateFact, 1);
      return;
    }
    const { inputTokens, outputTokens } = booked.request;
    this.live.delete(key);
    this.views.dequeue(booked.prefillInstance, key);
    this.views.unbindDecode(booked.decodeInstance, inputTokens + outputTokens);
    this.views.endDecode(booked.decodeInstance, key, outcome === Outcome.completed);
    this.ended.set(key, outcome);
    this.tellIngress(request, attempt, outcome);
  }

  private onCancel(body: M.Cancel): void {
    const booked = this.live.get(attemptKey(body.request, body.attempt));
    if (booked === undefined) return;
    booked.cancelled = true;
    this.passCancel(booked);
  }

  private passCancel({ request, prefillInstance, decodeInstance }: Booked): void {
    const { host, addresses } = this.world;
    const cancel: M.Cancel = { kind: 'cancel', request: request.id, attempt: request.attempt };
    host.send(addresses.instance(prefillInstance), cancel);
    if (decodeInstance !== prefillInstance) {
      host.send(addresses.instance(decodeInstance), cancel);
    }
  }

  private tellIngress(request: number, attempt: number, outcome: Outcome): void {
    this.world.host.send(WORKLOAD, { kind: 'terminal', request, attempt, outcome });
  }

  /** Nodes may have come or gone. A successor first hears who is there. */
  private remap(): void {
    if (this.keeper !== null && !this.takeover.gathering) this.keeper.refresh();
  }

  // --- operators ------------------------------------------------------------------------------

  private onSetRoles({ instance, roles }: M.SetRoles): void {
    if (roles.length > 0) {
      this.occupancy.setLeaving(this.views.nodeOf(instance), false);
      this.remap();
    }
    this.elasticity.order(instance, roles);
  }

  /** The node is going: nothing new is for it. */
  private onDrain(node: number): void {
    this.occupancy.setLeaving(node, true);
    this.remap();
    for (const spec of this.world.topology.instances) {
      if (spec.node === node) this.elasticity.drain(spec.id);
    }
  }

  // --- deaths and takeovers -------------------------------------------------------------------

  private onPeerGone(peer: Address): void {
    const { addresses, topology } = this.world;
    if (addresses.isInstance(peer)) {
      const instance = addresses.instanceId(peer);
      this.views.setAlive(instance, false);
      this.elasticity.forget(instance);
      this.loseInstance(instance);
    } else if (addresses.isStore(peer)) {
      const node = addresses.storeNode(peer);
      this.occupancy.setAlive(node, false);
      for (const tier of [Tier.dram, Tier.ssd]) this.directory.clear(node, tier);
      for (const spec of topology.instances) {
        if (spec.node === node) this.directory.hbmOf(spec.id).clear();
      }
      this.remap();
    }
    this.heard(peer);
  }

  /** What ran on it is lost, unless a live instance decodes it already. */
  private loseInstance(instance: number): void {
    // Another instance may still have part in it: this attempt is over, and the next is another.
    for (const { key, prefillInstance } of this.takeover.lose(instance)) {
      const { host, addresses } = this.world;
      const [request, attempt] = [requestOf(key), attemptOf(key)];
      this.ended.set(key, Outcome.lost);
      if (prefillInstance === instance) continue;
      host.send(addresses.instance(prefillInstance), { kind: 'cancel', request, attempt });
    }
    for (const booked of [...this.live.values()]) {
      const { prefillInstance, decodeInstance, prefilled } = booked;
      if (decodeInstance === instance || (prefillInstance === instance && !prefilled)) {
        this.lose(booked, instance);
      } else if (prefillInstance === instance) {
        booked.orphaned = true;
        this.probe(booked);
      }
    }
  }

  private probe({ request, decodeInstance }: Booked): void {
    const { host, addresses } = this.world;
    const { id, attempt } = request;
    host.send(addresses.instance(decodeInstance), { kind: 'probe', request: id, attempt });
  }

  /** A request whose instance died ends here; what it has elsewhere is given up. */
  private lose(booked: Booked, dead: number): void {
    const { request, decodeInstance, cancelled, withdrawn } = booked;
    const { id, attempt } = request;
    const { host, addresses } = this.world;
    this.passCancel(booked);
    if (decodeInstance !== dead) {
      const store = addresses.store(this.views.nodeOf(decodeInstance));
      host.send(store, { kind: 'unreserve', request: id, attempt, instance: decodeInstance });
    }
    const withdrawal = withdrawn === Outcome.inFlight ? Outcome.cancelled : withdrawn;
    const outcome = cancelled ? withdrawal : Outcome.lost;
    host.mark(id, Mark.outcome, outcome);
    host.mark(id, Mark.finishedNs, this.views.nowNs);
    this.end(id, attempt, outcome);
  }

  /** A request that an earlier conductor sent off stays where it runs. */
  private adopt(request: Request, key: number, found: Found): void {
    const { views, world } = this;
    const { prefillInstance, decodeInstance, phase } = found;
    const decodeTokens = request.inputTokens + request.outputTokens;
    const tokens = request.inputTokens;
    const predictedNs = world.estimate.prefillNs(prefillInstance, tokens, 0);
    views.enqueue(prefillInstance, { key, predictedNs, tokens, decodeTokens });
    views.bindDecode(decodeInstance, decodeTokens);
    const booked: Booked = {
      request,
      prefillInstance,
      decodeInstance,
      dispatch: null,
      prefilled: false,
      orphaned: false,
      cancelled: false,
      withdrawn: Outcome.inFlight,
    };
    this.live.set(key, booked);
    if (phase >= Phase.handoff) this.toDecode(key, booked);
  }

  private heard(peer: Address): void {
    if (this.takeover.heard(peer) && this.takeover.gathering) this.endTakeover();
  }

  private endTakeover(): void {
    const held = this.takeover.end();
    this.remap();
    for (const body of held) {
      if (body.kind === 'arrive') this.onArrive(body.request);
      else this.onCancel(body);
    }
  }

  // --- the directory --------------------------------------------------------------------------

  private onDelta(body: M.Delta): void {
    const { node, tier, instance, stored, removed } = body;
    const { directory } = this;
    if (!this.isNews(body)) {
      this.world.host.count(Count.lateFact, 1);
      return;
    }
    if (tier === Tier.hbm) {
      const hbm = directory.hbmOf(instance);
      for (const block of removed) hbm.delete(block);
      for (const block of stored) hbm.add(block);
      return;
    }
    if (tier === Tier.dram) this.occupancy.add(node, stored.length - removed.length);
    for (let i = 0; i < removed.length; i++) directory.remove(node, tier, removed[i]);
    for (let i = 0; i < stored.length; i++) directory.add(node, tier, stored[i]);
  }

  private onBlockInventory(body: M.BlockInventory): void {
    const { node, tier, instance, incarnation, blocks } = body;
    const { directory, storeLives } = this;
    const row = this.rowOf(node, tier, instance);
    if (incarnation > storeLives[row]) {
      // A store that began anew counts from one.
      if (storeLives[row] !== UNHEARD || incarnation > 0) this.deltaSequence[row] = 0;
      storeLives[row] = incarnation;
    }
    if (!this.isNews(body)) return;
    if (tier === Tier.dram) this.heard(this.world.addresses.store(node));
    if (tier === Tier.hbm) {
      const hbm = directory.hbmOf(instance);
      hbm.clear();
      for (const block of blocks) hbm.add(block);
      return;
    }
    if (tier === Tier.dram) {
      this.occupancy.setAlive(node, true);
      this.occupancy.set(node, blocks.length);
      this.remap();
      this.keeper?.tell(node);
    }
    directory.clear(node, tier);
    for (let i = 0; i < blocks.length; i++) directory.add(node, tier, blocks[i]);
  }

  /** Whether a report on a tier is later than all that were heard of it. */
  private isNews({ node, tier, instance, sequence }: M.Delta | M.BlockInventory): boolean {
    const row = this.rowOf(node, tier, instance);
    if (sequence <= this.deltaSequence[row]) return false;
    this.deltaSequence[row] = sequence;
    return true;
  }

  private rowOf(node: number, tier: Tier, instance: number): number {
    const { nodes } = this.world.topology;
    return tier === Tier.hbm ? 2 * nodes.length + instance : 2 * node + tier - 1;
  }

  // --- after a reset --------------------------------------------------------------------------

  /** Ends what ended unheard, and sends again what the instance never got. */
  private onRequestInventory(body: M.RequestInventory): void {
    const { instance, term } = body;
    this.meet(body);
    const sequence = term === this.world.settings.term ? body.dispatchSequence : 0;
    for (const { request, attempt, outcome } of body.ended) {
      const known = this.live.has(attemptKey(request, attempt));
      if (!known && !this.takeover.knows(attemptKey(request, attempt))) continue;
      this.onFinished({ kind: 'finished', request, attempt, outcome }, this.views.nowNs);
    }
    const known = new Map(body.live.map((l) => [attemptKey(l.request, l.attempt), l]));
    const { host, addresses } = this.world;
    // What ended before it came leaves a hole, over which the next one goes.
    this.reached[instance] = sequence;
    for (const [key, booked] of this.live) {
      const { dispatch, prefillInstance, prefilled } = booked;
      if (prefillInstance === instance && !prefilled) {
        const live = known.get(key);
        // Bookings are in order of their dispatches.
        if (dispatch !== null && dispatch.sequence > sequence) {
          host.send(addresses.instance(instance), { ...dispatch, after: this.reached[instance] });
          this.reached[instance] = dispatch.sequence;
        } else if (live === undefined || live.phase >= Phase.handoff) {
          this.toDecode(key, booked);
        }
      }
      if (booked.orphaned && booked.decodeInstance === instance) this.probe(booked);
      if (booked.cancelled) this.passCancel(booked);
    }
    this.heard(addresses.instance(instance));
  }

  /** An instance that was not known, or that began anew: what an earlier life had is lost. */
  private meet(body: M.RequestInventory): void {
    const { instance, incarnation, roles } = body;
    const { lives, views, takeover } = this;
    if (incarnation > lives[instance]) {
      if (lives[instance] !== UNHEARD || incarnation > 0) this.loseInstance(instance);
      lives[instance] = incarnation;
      views.setAlive(instance, true);
      views.setRoles(instance, roles);
    }
    if (!takeover.gathering) return;
    views.setRoles(instance, roles);
    takeover.learn(body);
  }
}
