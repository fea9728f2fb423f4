/**
 * Instance: one engine over some GPUs. With the role prefill it queues prompts, computes them in
 * chunks and streams their KV to the decode instance; with the role decode it batches requests and
 * steps them to their end; with both it is a coupled engine. Which prompts and whether the decode
 * batch go into the next pass is the batching policy's choice.
 *
 * Here each fact goes to the part that it concerns, and the GPUs to the side whose turn it is.
 */
import { Batcher } from './batcher.ts';
import { DecodeMemory } from './decode-memory.ts';
import { DecodeSide } from './decode-side.ts';
import { assert, PolicyError } from './errors.ts';
import { Handoff } from './handoff.ts';
import { IdSource, type Machine } from './host.ts';
import type { InstanceWorld } from './instance-world.ts';
import type * as M from './messages.ts';
import type { BatchingPolicy, QueuePolicy } from './policy.ts';
import { PrefillSide } from './prefill-side.ts';
import { type Prompt, Prompts } from './prompts.ts';
import { attemptKey, Outcome } from './request.ts';
import { RequestEnds } from './request-ends.ts';
import { Restorable } from './snapshot.ts';
import { CONDUCTOR, type Role } from './topology.ts';

export type { InstanceWorld } from './instance-world.ts';

export interface InstancePolicies {
  readonly batching: BatchingPolicy;
  readonly queue: QueuePolicy;
}

export class Instance extends Restorable implements Machine {
  readonly world: InstanceWorld;
  private readonly incarnation: number;
  private readonly ends: RequestEnds;
  private readonly prompts: Prompts;
  private readonly handoff: Handoff;
  private readonly prefill: PrefillSide;
  private readonly decode: DecodeSide;
  private roles: readonly Role[];
  /** The conductor waits to hear that nothing is left of earlier work. */
  private tellsIdle = false;
  private readonly batcher: Batcher;
  private readonly memory: DecodeMemory;

  constructor(world: InstanceWorld, policies: InstancePolicies, incarnation: number) {
    super();
    this.world = world;
    this.incarnation = incarnation;
    const ids = new IdSource(incarnation);
    const ends = new RequestEnds(world);
    const prompts = new Prompts(world, ends, policies.queue);
    const handoff = new Handoff(world, ids, prompts);
    const batcher = new Batcher(policies.batching, world.settings);
    const memory = new DecodeMemory(world, ends, prompts);
    const decode = new DecodeSide(world, ids, ends, batcher, memory);
    this.ends = ends;
    this.prompts = prompts;
    this.handoff = handoff;
    this.batcher = batcher;
    this.memory = memory;
    this.decode = decode;
    this.prefill = new PrefillSide(world, ids, ends, prompts, handoff, decode);
    this.roles = world.spec.roles;
  }

  handle(fact: M.Fact): void {
    this.take(fact);
    this.next(fact.atNs);
    if (this.tellsIdle && this.isIdle) this.tellRoles();
  }

  /** Nothing waits, computes, streams or decodes. */
  get isIdle(): boolean {
    const { prompts, handoff, decode } = this;
    return prompts.isEmpty && handoff.isEmpty && decode.isEmpty;
  }

  /** Requests that wait for prefill, and those in prefill, hand-over or decode. */
  get waitingRequests(): number {
    return this.prompts.waiting;
  }

  get runningRequests(): number {
    const { prompts, decode } = this;
    return prompts.size - prompts.waiting + decode.decoding + decode.waiting;
  }

  /** Nothing waits, computes, streams or decodes; for tests. */
  checkIdle(): void {
    const { prefill, decode } = this;
    assert(this.isIdle, 'a request is under way');
    assert(prefill.isIdle && !decode.isRunning, 'the GPUs are busy');
  }

  private take(fact: M.Fact): void {
    const { body, atNs } = fact;
    switch (body.kind) {
      case 'dispatch':
        return this.prefill.onDispatch(atNs, body);
      case 'fetched':
        return this.prefill.onFetched(atNs, body);
      case 'acquired':
        return this.prefill.onAcquired(atNs, body);
      case 'loadFailed':
        return this.prefill.onLoadFailed(body);
      case 'acquireWaits':
        return this.prefill.onAcquireWaits(body);
      case 'stepEnded':
        return this.prefill.onStepEnded(atNs, body);
      case 'reserved':
        return this.handoff.onReserved(atNs, body);
      case 'transferEnded':
        return this.handoff.onStreamEnded(atNs, body);
      case 'parked':
        if (!this.memory.has(body.request, body.attempt)) return this.handoff.onParked(atNs, body);
        return this.memory.onParked(body, atNs);
      case 'unparked':
        return this.decode.onUnparked(atNs, body);
      case 'grown':
        return this.memory.onGrown(body);
      case 'handoffTaken':
        return this.handoff.onHandoffTaken(atNs, body);
      case 'handoff':
        return this.decode.onHandoff(fact, body);
      case 'claimed':
        return this.decode.onClaimed(body);
      case 'runEnded':
        return this.decode.onRunEnded(atNs, body);
      case 'setRoles':
        this.roles = body.roles;
        return this.tellRoles();
      case 'probe':
        return this.onProbe(body);
      case 'cancel':
        return this.onCancel(atNs, body);
      case 'peerReset':
        if (body.peer === CONDUCTOR) return this.sendInventory();
        return this.handoff.onPeerReset(body.peer, atNs);
      default:
        throw new Error(`an instance does not take ${body.kind}`);
    }
  }

  /**
   * Gives the GPUs their next work, if they are free. Without news it does nothing a second time,
   * so it may follow every fact.
   */
  private next(nowNs: number): void {
    const { prefill, decode, memory } = this;
    if (prefill.isStepping || memory.isAsking) return;
    this.look(nowNs);
    if (!prefill.isAsking && !memory.isPressed && this.begin()) return;
    if (prefill.isAcquiring) return;
    const prompts = prefill.computable;
    if (prompts.length === 0) this.advance(nowNs);
    else if (decode.isRunning) decode.cutRun();
    else this.startPass(prompts, nowNs);
  }

  /** Shows the batching policy how things are. */
  private look(nowNs: number): void {
    const { engine } = this.batcher;
    engine.nowNs = nowNs;
    engine.prompts = this.prefill.prompts;
    engine.decoding = this.decode.decoding;
    engine.joining = this.decode.waiting;
  }

  /** Begins the next prompt, if there is one and the policy wants it; answers whether it did. */
  private begin(): boolean {
    const { prompts, batcher, prefill, decode, memory } = this;
    const next = prompts.nextReady();
    if (next === undefined || !batcher.begins(next)) return false;
    // What a run was granted for its steps to come goes back before a prompt asks.
    if (memory.grows && decode.isRunning) decode.cutRun();
    else prefill.begin(next);
    return true;
  }

  /** Lets the batch decode by itself. */
  private advance(nowNs: number): void {
    const { decode } = this;
    const before = decode.decoding;
    decode.advance(nowNs);
    // The last of the batch gave way: its turn may be now.
    if (before > 0 && decode.decoding === 0) this.next(nowNs);
  }

  private startPass(prompts: readonly Prompt[], nowNs: number): void {
    const { prefill, decode, batcher, memory } = this;
    batcher.engine.prompts = prompts;
    const pass = batcher.plan();
    if (pass.tokens.length > 0) {
      const alongside = pass.decode ? decode.prepareStep(nowNs) : 'without';
      if (alongside === 'wait') return;
      memory.begun();
      prefill.startStep(pass.tokens, alongside === 'ready' ? decode.members() : null, nowNs);
      return;
    }
    // One step of decode, after which the prompts are looked at again.
    this.advance(nowNs);
    if (decode.isRunning) decode.cutRun();
    else if (!memory.isWaiting && !prefill.isStepping && !prefill.isAcquiring) {
      throw new PolicyError('the batching policy leaves the GPUs idle');
    }
  }

  private tellRoles(): void {
    const { roles, isIdle } = this;
    this.tellsIdle = !isIdle;
    const instance = this.world.spec.id;
    this.world.host.send(CONDUCTOR, { kind: 'rolesSet', instance, roles, idle: isIdle });
  }

  private onCancel(nowNs: number, body: M.Cancel): void {
    const prompt = this.prompts.of(body.request, body.attempt);
    if (prompt !== undefined) this.prefill.cancel(prompt, nowNs);
    else this.decode.cancel(body, nowNs);
  }

  /** Says how a request ended, or that it will never come; silence when it is here. */
  private onProbe({ request, attempt }: M.Probe): void {
    const key = attemptKey(request, attempt);
    const outcome = this.ends.outcomeOf(key);
    const here = this.decode.isTheirs(key) || this.prompts.get(key) !== undefined;
    if (outcome === undefined && here) return;
    const { host } = this.world;
    host.send(CONDUCTOR, { kind: 'finished', request, attempt, outcome: outcome ?? Outcome.lost });
  }

  /** Tells a conductor that began anew what is here. */
  private sendInventory(): void {
    const live: M.LiveRequest[] = [];
    this.prompts.listLive(live);
    this.decode.listLive(live);
    this.world.host.send(CONDUCTOR, {
      kind: 'requestInventory',
      instance: this.world.spec.id,
      incarnation: this.incarnation,
      roles: this.roles,
      term: this.prefill.term,
      dispatchSequence: this.prefill.dispatchSequence,
      live,
      ended: this.ends.values(),
    });
  }
}
