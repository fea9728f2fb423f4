/**
 * Conductor: takes every request, asks the policies which instance computes its prompt, which
 * decodes it and where cached blocks come from, and follows it to its end. It decides on hints:
 * the directory and the views lag behind the cluster by the control delay.
 */
import { InstanceViews, ViewWorld } from './cluster-view.ts';
import type { Estimator } from './cost.ts';
import { Directory } from './directory.ts';
import { assert, PolicyError } from './errors.ts';
import { Count, type Host, type Machine, Mark } from './host.ts';
import type * as M from './messages.ts';
import type {
  AdmissionPolicy,
  DecodePolicy,
  DisaggregationPolicy,
  PrefillChoice,
  PrefillPolicy,
  PrefixMatch,
  Verdict,
} from './policy.ts';
import { predictWork } from './predict.ts';
import { Recent } from './recent.ts';
import { attemptKey, BlockSpan, Outcome, Phase, type Request } from './request.ts';
import type { ConductorSettings } from './settings.ts';
import { Restorable } from './snapshot.ts';
import { type AddressBook, type Role, Tier, type Topology, WORKLOAD } from './topology.ts';

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
}

/** A request that runs. */
interface Booked {
  readonly request: Request;
  readonly prefillInstance: number;
  readonly decodeInstance: number;
  readonly dispatch: M.Dispatch;
  prefilled: boolean;
  cancelled: boolean;
  /** Why the conductor itself cancelled it, or inFlight. */
  withdrawn: Outcome;
}

const NO_BLOCKS = new BlockSpan(new Int32Array(0), 0, 0);
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
  private readonly policies: ConductorPolicies;
  private readonly match: DirectoryMatch;
  private readonly live = new Map<number, Booked>();
  /** Outcomes by attempt. */
  private readonly ended = new Recent(RECENT_ENDED);
  /** Dispatches sent to each instance, and deltas seen of each store. */
  private readonly dispatched: Float64Array;
  private readonly deltaSequence: Float64Array;

  constructor(world: ConductorWorld, policies: ConductorPolicies, blocks: number) {
    super();
    this.world = world;
    this.policies = policies;
    const { topology, addresses } = world;
    this.directory = new Directory(topology.nodes.length, blocks);
    this.views = new InstanceViews(new ViewWorld(topology, addresses));
    this.match = new DirectoryMatch(this.directory, topology);
    this.dispatched = new Float64Array(topology.instances.length);
    this.deltaSequence = new Float64Array(2 * topology.nodes.length + topology.instances.length);
  }

  handle(fact: M.Fact): void {
    const { body } = fact;
    this.views.nowNs = fact.atNs;
    switch (body.kind) {
      case 'arrive':
        return this.onArrive(fact, body.request);
      case 'delta':
        return this.onDelta(body);
      case 'prefilled':
        return this.onPrefilled(body);
      case 'finished':
        return this.onFinished(body, fact.atNs);
      case 'setRoles':
        return this.setRoles(body.instance, body.roles);
      case 'rolesSet':
        return this.views.setRoles(body.instance, body.roles);
      case 'cancel':
        return this.onCancel(body);
      case 'blockInventory':
        return this.onBlockInventory(body);
      case 'requestInventory':
        return this.onRequestInventory(body);
      case 'peerReset':
        // The other side reports: stores and instances their inventories, the ingress its requests.
        return;
      default:
        throw new Error(`a conductor does not take ${body.kind}`);
    }
  }

  /** Nothing is believed to run; for tests. */
  checkIdle(): void {
    assert(this.live.size === 0, 'a request is booked');
    this.views.checkIdle();
  }

  // --- decisions ------------------------------------------------------------------------------

  private onArrive(fact: M.Fact, request: Request): void {
    const key = attemptKey(request.id, request.attempt);
    if (this.live.has(key)) return;
    const ended = this.ended.get(key);
    if (ended !== undefined) this.tellIngress(request.id, request.attempt, ended as Outcome);
    else this.decide(fact, request, key);
  }

  private decide(fact: M.Fact, request: Request, key: number): void {
    const { policies, views, match } = this;
    if (views.prefillInstances.length === 0 || views.decodeInstances.length === 0) {
      this.reject(request, Outcome.rejectedNoInstance, fact.atNs);
      return;
    }
    match.of(request.blocks);
    const apart = policies.disaggregation.separates(request, match, views);
    views.offerPrefill(apart);
    const choice = policies.prefill.choose(request, match, views);
    const together = !apart && views.coupledInstances.includes(choice.instance);
    const decodeInstance = together
      ? choice.instance
      : policies.decode.choose(request, choice.instance, views);
    this.checkChoice(choice, decodeInstance);
    if (this.tooLarge(request, choice.instance, decodeInstance)) {
      this.reject(request, Outcome.rejectedTooLarge, fact.atNs);
      return;
    }
    const verdict = policies.admission.verdict(request, choice, decodeInstance, views);
    if (verdict === '') this.book(request, key, choice, decodeInstance);
    else this.reject(request, VERDICTS[verdict], fact.atNs);
  }

  /** Whether it could never have the working memory that it needs. */
  private tooLarge({ inputTokens, outputTokens }: Request, prefill: number, decode: number) {
    const { views } = this;
    const short = views.decodeCapacityTokens(decode) < inputTokens + outputTokens;
    return short || views.decodeCapacityTokens(prefill) < inputTokens;
  }

  private checkChoice(choice: PrefillChoice, decodeInstance: number): void {
    const { prefillInstances, decodeInstances } = this.views;
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
    const dispatch: M.Dispatch = {
      kind: 'dispatch',
      term: world.settings.term,
      sequence: ++this.dispatched[instance],
      request,
      decodeInstance: decode,
      sources: this.sourcesFor(choice),
      sourceBlocks: choice.sourceBlocks,
      localBlocks: match.localBlocks(instance),
    };
    const { predictedNs, tokens } = predictWork(world.estimate, world.topology, instance, dispatch);
    const decodeTokens = request.inputTokens + request.outputTokens;
    views.enqueue(instance, { key, predictedNs, tokens, decodeTokens });
    views.bindDecode(decode, decodeTokens);
    this.live.set(key, {
      request,
      prefillInstance: instance,
      decodeInstance: decode,
      dispatch,
      prefilled: false,
      cancelled: false,
      withdrawn: Outcome.inFlight,
    });
    world.host.send(world.addresses.instance(instance), dispatch);
  }

  /** The chosen source, then other nodes that hold as much. */
  private sourcesFor(choice: PrefillChoice): number[] {
    const { sourceNode, sourceBlocks, instance } = choice;
    if (sourceNode < 0 || sourceBlocks === 0) return [];
    const target = this.views.nodeOf(instance);
    const sources = [sourceNode];
    const { matched } = this.directory;
    for (let node = 0; node < matched.length && sources.length <= ALTERNATES; node++) {
      const other = node !== sourceNode && node !== target;
      if (other && matched[node] >= sourceBlocks) sources.push(node);
    }
    return sources;
  }

  private reject(request: Request, outcome: Outcome, nowNs: number): void {
    const { id, attempt } = request;
    this.world.host.mark(id, Mark.finishedNs, nowNs);
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
        : this.policies.admission.verdictAtDecode?.(request, decodeInstance, this.views);
    this.toDecode(key, booked);
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
    const withdrawn = this.live.get(attemptKey(request, attempt))?.withdrawn ?? Outcome.inFlight;
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

  // --- roles ----------------------------------------------------------------------------------

  /** From now on the instance gets work for these roles alone; without any it drains. */
  setRoles(instance: number, roles: readonly Role[]): void {
    const { host, addresses, settings } = this.world;
    this.views.setRoles(instance, roles);
    const { term } = settings;
    host.send(addresses.instance(instance), { kind: 'setRoles', term, instance, roles });
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
    for (let i = 0; i < removed.length; i++) directory.remove(node, tier, removed[i]);
    for (let i = 0; i < stored.length; i++) directory.add(node, tier, stored[i]);
  }

  private onBlockInventory(body: M.BlockInventory): void {
    const { node, tier, instance, blocks } = body;
    const { directory } = this;
    if (!this.isNews(body)) return;
    if (tier === Tier.hbm) {
      const hbm = directory.hbmOf(instance);
      hbm.clear();
      for (const block of blocks) hbm.add(block);
      return;
    }
    directory.clear(node, tier);
    for (let i = 0; i < blocks.length; i++) directory.add(node, tier, blocks[i]);
  }

  /** Whether a report on a tier is later than all that were heard of it. */
  private isNews({ node, tier, instance, sequence }: M.Delta | M.BlockInventory): boolean {
    const { nodes } = this.world.topology;
    const row = tier === Tier.hbm ? 2 * nodes.length + instance : 2 * node + tier - 1;
    if (sequence <= this.deltaSequence[row]) return false;
    this.deltaSequence[row] = sequence;
    return true;
  }

  // --- after a reset --------------------------------------------------------------------------

  /** Ends what ended unheard, and sends again what the instance never got. */
  private onRequestInventory(body: M.RequestInventory): void {
    const { instance } = body;
    for (const { request, attempt, outcome } of body.ended) {
      if (!this.live.has(attemptKey(request, attempt))) continue;
      this.onFinished({ kind: 'finished', request, attempt, outcome }, this.views.nowNs);
    }
    const known = new Map(body.live.map((l) => [attemptKey(l.request, l.attempt), l]));
    const { host, addresses } = this.world;
    for (const [key, booked] of this.live) {
      const { dispatch, prefillInstance, prefilled } = booked;
      if (prefillInstance === instance && !prefilled) {
        const live = known.get(key);
        // Bookings are in order of their dispatches, and the instance takes them without a hole.
        if (dispatch.sequence > body.dispatchSequence) {
          host.send(addresses.instance(instance), dispatch);
        } else if (live === undefined || live.phase >= Phase.handoff) {
          this.toDecode(key, booked);
        }
      }
      if (booked.cancelled) this.passCancel(booked);
    }
  }
}

/** The directory's answer on the blocks of one request, as policies see it. */
class DirectoryMatch implements PrefixMatch {
  private readonly directory: Directory;
  private readonly nodeOf: Int32Array;
  private blocks: BlockSpan = NO_BLOCKS;

  constructor(directory: Directory, topology: Topology) {
    this.directory = directory;
    this.nodeOf = Int32Array.from(topology.instances, (spec) => spec.node);
  }

  of(blocks: BlockSpan): void {
    this.blocks = blocks;
    this.directory.match(blocks);
  }

  get bestBlocks(): number {
    return this.directory.bestBlocks;
  }

  get bestNode(): number {
    return this.directory.bestNode;
  }

  localBlocks(instance: number): number {
    return this.directory.localBlocks(instance, this.nodeOf[instance], this.blocks);
  }

  tierBlocks({ blocks }: Request, instance: number, tier: Tier): number {
    const matched = this.localBlocks(instance);
    let count = 0;
    for (let depth = 0; depth < matched; depth++) {
      if (this.fastestTier(instance, blocks.at(depth)) === tier) count++;
    }
    return count;
  }

  private fastestTier(instance: number, block: number): Tier {
    const { directory } = this;
    if (directory.isInHbm(instance, block)) return Tier.hbm;
    return directory.hasIn(this.nodeOf[instance], Tier.dram, block) ? Tier.dram : Tier.ssd;
  }
}
