/**
 * Conductor: takes every request, asks the policies which instance computes its prompt, which
 * decodes it and where cached blocks come from, and follows it to its end. It decides on hints:
 * the directory and the views lag behind the cluster by the control delay.
 */
import { Bookings } from './bookings.ts';
import { BucketKeeper } from './bucket-keeper.ts';
import { InstanceViews, ViewWorld } from './cluster-view.ts';
import type { Estimator } from './cost.ts';
import { Directory } from './directory.ts';
import { DirectoryMatch } from './directory-match.ts';
import { Dispatches } from './dispatches.ts';
import { Elasticity } from './elasticity.ts';
import { PolicyError } from './errors.ts';
import { Count, type Host, type Machine } from './host.ts';
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
  ReplicationPolicy,
  Verdict,
} from './policy.ts';
import { predictWork } from './predict.ts';
import { Replicas } from './replicas.ts';
import { attemptKey, attemptOf, Outcome, Phase, type Request, requestOf } from './request.ts';
import type { ConductorSettings } from './settings.ts';
import { Restorable } from './snapshot.ts';
import { type Found, GATHER_NS, Takeover } from './takeover.ts';
import { TierReports, UNHEARD } from './tier-reports.ts';
import { type Address, type AddressBook, Tier, type Topology } from './topology.ts';

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
  private readonly reports: TierReports;
  private readonly bookings: Bookings;
  private readonly dispatches: Dispatches;
  private readonly replicas: Replicas;
  /** Life of each instance that was heard last. */
  private readonly lives: Float64Array;
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
    const { directory, views, match, occupancy } = this;
    const { placement, replication } = policies;
    this.reports = new TierReports(world, directory, occupancy);
    this.bookings = new Bookings(world, views);
    const known = { directory, views, match, occupancy };
    this.dispatches = new Dispatches({ ...world, ...known, placement, replication });
    this.replicas = new Replicas(world, replication, occupancy);
    this.lives = new Float64Array(topology.instances.length).fill(UNHEARD);
    const instances = topology.instances.map(({ id }) => addresses.instance(id));
    const stores = topology.nodes.map(({ id }) => addresses.store(id));
    const mapped = placement.mapFor !== undefined;
    this.keeper = mapped ? new BucketKeeper(world, placement, occupancy) : null;
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
    const { takeover, seen, bookings } = this;
    if (token !== 0) this.elasticity.onWake(token, nowNs, seen, bookings.size > 0);
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
    return this.bookings.size;
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
    this.bookings.checkIdle();
    this.views.checkIdle();
  }

  // --- decisions ------------------------------------------------------------------------------

  private onArrive(request: Request): void {
    const key = attemptKey(request.id, request.attempt);
    const { bookings } = this;
    if (bookings.get(key) !== undefined) return;
    const ended = bookings.endOf(key);
    if (ended !== undefined) {
      bookings.tellIngress(request.id, request.attempt, ended);
      return;
    }
    const found = this.takeover.take(key);
    if (found !== undefined) this.adopt(request, key, found);
    else this.decide(request, key);
  }

  private decide(request: Request, key: number): void {
    const { policies, views, seen, match } = this;
    if (views.prefillInstances.length === 0 || views.decodeInstances.length === 0) {
      this.bookings.reject(request, Outcome.rejectedNoInstance);
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
      this.bookings.reject(request, Outcome.rejectedTooLarge);
      return;
    }
    const verdict = policies.admission.verdict(request, choice, decodeInstance, seen);
    this.elasticity.begin(views.nowNs);
    if (verdict === '') this.book(request, key, choice, decodeInstance);
    else this.bookings.reject(request, VERDICTS[verdict]);
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
    const { world, views, dispatches } = this;
    const { instance } = choice;
    if (dispatches.spreads) this.remap();
    const dispatch = dispatches.make(request, choice, decode);
    const { predictedNs, tokens } = predictWork(world.estimate, world.topology, instance, dispatch);
    const decodeTokens = request.inputTokens + request.outputTokens;
    views.enqueue(instance, { key, predictedNs, tokens, decodeTokens });
    views.bindDecode(decode, decodeTokens);
    if (world.settings.congestion) dispatches.bookFetch(dispatch, instance);
    this.bookings.add(key, request, instance, decode, dispatch);
    world.host.send(world.addresses.instance(instance), dispatch);
    this.replicas.onRequest(request, views.nowNs);
  }

  // --- what became of it ----------------------------------------------------------------------

  private onPrefilled(body: M.Prefilled): void {
    const { policies, bookings, views } = this;
    const key = attemptKey(body.request, body.attempt);
    const booked = bookings.get(key);
    if (booked === undefined || booked.prefilled) {
      this.world.host.count(Count.lateFact, 1);
      return;
    }
    const { request, decodeInstance } = booked;
    const verdict =
      booked.cancelled || request.outputTokens === 1
        ? ''
        : policies.admission.verdictAtDecode?.(request, decodeInstance, this.seen);
    bookings.toDecode(key, booked);
    this.replicas.onComputed(request, views.nodeOf(booked.prefillInstance), views.nowNs);
    if (verdict) bookings.withdraw(booked, VERDICTS[verdict]);
  }

  private onFinished({ request, attempt, outcome }: M.Finished, nowNs: number): void {
    const { bookings, takeover } = this;
    const key = attemptKey(request, attempt);
    const booked = bookings.get(key);
    if (booked === undefined) {
      // It ended before its ingress asked again, who may do so after the gathering.
      const found = takeover.take(key);
      // Why an earlier conductor withdrew it, nobody knows: an ingress that still asks tries again.
      const said = outcome === Outcome.cancelled ? Outcome.lost : outcome;
      if (found !== undefined || takeover.gathering) bookings.remember(key, said);
    } else if (outcome === Outcome.lost) {
      bookings.lose(booked, booked.prefillInstance);
      return;
    }
    bookings.finish(request, attempt, outcome, nowNs);
  }

  private onCancel(body: M.Cancel): void {
    const booked = this.bookings.get(attemptKey(body.request, body.attempt));
    if (booked !== undefined) this.bookings.cancel(booked);
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
    const { addresses } = this.world;
    if (addresses.isInstance(peer)) {
      const instance = addresses.instanceId(peer);
      this.views.setAlive(instance, false);
      this.elasticity.forget(instance);
      this.loseInstance(instance);
    } else if (addresses.isStore(peer)) {
      this.reports.lose(addresses.storeNode(peer));
      this.remap();
    }
    this.heard(peer);
  }

  private loseInstance(instance: number): void {
    // Another instance may still have part in it: this attempt is over, and the next is another.
    for (const { key, prefillInstance } of this.takeover.lose(instance)) {
      const { host, addresses } = this.world;
      const [request, attempt] = [requestOf(key), attemptOf(key)];
      this.bookings.remember(key, Outcome.lost);
      if (prefillInstance === instance) continue;
      host.send(addresses.instance(prefillInstance), { kind: 'cancel', request, attempt });
    }
    this.bookings.loseInstance(instance);
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
    const booked = this.bookings.add(key, request, prefillInstance, decodeInstance, null);
    if (phase >= Phase.handoff) this.bookings.toDecode(key, booked);
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
    if (!this.reports.takeDelta(body)) this.world.host.count(Count.lateFact, 1);
  }

  private onBlockInventory(body: M.BlockInventory): void {
    const { node, tier } = body;
    if (!this.reports.meets(body)) return;
    if (tier === Tier.dram) this.heard(this.world.addresses.store(node));
    this.reports.takeInventory(body);
    if (tier !== Tier.dram) return;
    this.remap();
    this.keeper?.tell(node);
  }

  // --- after a reset --------------------------------------------------------------------------

  /** Ends what ended unheard, and sends again what the instance never got. */
  private onRequestInventory(body: M.RequestInventory): void {
    const { bookings, takeover } = this;
    this.meet(body);
    for (const { request, attempt, outcome } of body.ended) {
      const key = attemptKey(request, attempt);
      if (bookings.get(key) === undefined && !takeover.knows(key)) continue;
      this.onFinished({ kind: 'finished', request, attempt, outcome }, this.views.nowNs);
    }
    bookings.resume(body, this.dispatches);
    this.heard(this.world.addresses.instance(body.instance));
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
