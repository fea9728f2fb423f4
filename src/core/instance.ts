/**
 * Instance: one engine over some GPUs. With the role prefill it queues prompts, computes them in
 * chunks and streams their KV to the decode instance; with the role decode it batches requests and
 * steps them to their end; with both it does what a coupled engine does, prefill first.
 */
import { assert } from './errors.ts';
import { Count, type Host, IdSource, type Machine, Mark } from './host.ts';
import type * as M from './messages.ts';
import { Recent } from './recent.ts';
import { attemptKey, cachedTokens, Outcome, Phase, type Request } from './request.ts';
import type { InstanceSettings } from './settings.ts';
import { Restorable } from './snapshot.ts';
import {
  type Address,
  type AddressBook,
  CONDUCTOR,
  type InstanceSpec,
  type KvLayout,
  Tier,
  type Topology,
} from './topology.ts';

/** What an instance is given; not part of its state. */
export interface InstanceWorld {
  readonly host: Host;
  readonly spec: InstanceSpec;
  readonly topology: Topology;
  readonly kv: KvLayout;
  readonly settings: InstanceSettings;
  readonly addresses: AddressBook;
}

/** Prefill side of a request. */
const Prefill = {
  /** Blocks come from a peer first. */
  fetching: 0,
  /** Waits for its turn. */
  ready: 1,
  /** Asks for working memory. */
  acquiring: 2,
  /** Working memory is short: the GPUs may decode meanwhile. */
  starved: 5,
  /** Its chunks are computed. */
  computing: 3,
  /** Prompt done: KV goes to the decode instance, or waits for space there. */
  handoff: 4,
  /** Given up, while streams under way still read its KV. */
  draining: 6,
} as const;

interface Prompt {
  readonly request: Request;
  readonly decodeInstance: number;
  state: (typeof Prefill)[keyof typeof Prefill];
  cancelled: boolean;
  expectedBlocks: number;
  load: number;
  hitBlocks: number;
  /** Tokens whose KV is in HBM, the cached ones included. */
  doneTokens: number;
  /** Chunks started. */
  chunks: number;
  computeNs: number;
  /** Decode space: asked for, granted. */
  space: 'none' | 'asked' | 'granted';
  /** KV moved to DRAM because decode has no room. */
  parking: 'no' | 'moving' | 'parked';
  streamedTokens: number;
  streams: number;
  /** Streams that broke and reservations that ran out before their KV was complete. */
  handoffRetries: number;
  /** Handoff sent, answer awaited. */
  offered: boolean;
}

/** Decode side of a request. */
interface Sequence {
  readonly request: Request;
  cancelled: boolean;
  /** Tokens made, the first one by prefill. */
  made: number;
}

interface StreamOf {
  readonly key: number;
  readonly fromToken: number;
}

/** Ended requests that an inventory can still report. */
const RECENT_ENDED = 4096;
/** Times that a hand-off starts again before the request fails. */
const HANDOFF_RETRIES = 2;

export class Instance extends Restorable implements Machine {
  readonly world: InstanceWorld;
  private readonly incarnation: number;
  private readonly ids: IdSource;
  /** Prompts by attempt, in order of dispatch. */
  private readonly prompts = new Map<number, Prompt>();
  /** Keys of prompts that wait to be computed, in order of dispatch. */
  private readonly queue: number[] = [];
  private dispatchSequence = 0;
  /** Key of the prompt on the GPUs or next on them, or -1. */
  private current = -1;
  private step = 0;
  private readonly streams = new Map<number, StreamOf>();
  /** Handed over, not yet claimed. */
  private readonly claiming = new Map<number, { request: Request; from: Address }>();
  private readonly joining: Sequence[] = [];
  private readonly batch: Sequence[] = [];
  private run = 0;
  private cut = false;
  private readonly ended = new Recent<M.EndedRequest>(RECENT_ENDED);
  private readonly taken = new Recent<boolean>(RECENT_ENDED);

  constructor(world: InstanceWorld, incarnation: number) {
    super();
    this.world = world;
    this.incarnation = incarnation;
    this.ids = new IdSource(incarnation);
  }

  handle(fact: M.Fact): void {
    const { body } = fact;
    switch (body.kind) {
      case 'dispatch':
        return this.onDispatch(fact, body);
      case 'fetched':
        return this.onFetched(fact, body);
      case 'acquired':
        return this.onAcquired(fact, body);
      case 'acquireWaits':
        return this.onAcquireWaits(fact, body);
      case 'stepEnded':
        return this.onStepEnded(fact, body);
      case 'reserved':
        return this.onReserved(fact, body);
      case 'transferEnded':
        return this.onStreamEnded(fact, body);
      case 'parked':
        return this.onParked(fact.atNs, body);
      case 'handoff':
        return this.onHandoff(fact, body);
      case 'claimed':
        return this.onClaimed(fact, body);
      case 'handoffTaken':
        return this.onHandoffTaken(fact.atNs, body);
      case 'runEnded':
        return this.onRunEnded(fact, body);
      case 'cancel':
        return this.onCancel(fact, body);
      case 'peerReset':
        return this.onPeerReset(body.peer);
      default:
        throw new Error(`an instance does not take ${body.kind}`);
    }
  }

  /** Nothing waits, computes, streams or decodes; for tests. */
  checkIdle(): void {
    const waiting = this.prompts.size + this.queue.length + this.claiming.size;
    const decoding = this.joining.length + this.batch.length;
    assert(waiting + decoding + this.streams.size === 0, 'a request is under way');
    assert(this.current === -1 && this.step === 0 && this.run === 0, 'the GPUs are busy');
  }

  // --- the queue ------------------------------------------------------------------------------

  private onDispatch(fact: M.Fact, body: M.Dispatch): void {
    const { request } = body;
    const key = attemptKey(request.id, request.attempt);
    // After a hole, which only a reset makes, the conductor sends again from there.
    if (body.sequence !== this.dispatchSequence + 1) {
      this.late();
      return;
    }
    this.dispatchSequence = body.sequence;
    if (this.prompts.has(key) || this.ended.get(key) !== undefined || this.taken.get(key)) return;
    const { host, settings, spec } = this.world;
    host.mark(request.id, Mark.dispatchedNs, fact.atNs);
    host.mark(request.id, Mark.prefillInstance, spec.id);
    if (this.queue.length >= settings.queueRequests) {
      this.report(request, Outcome.rejectedQueueFull, fact.atNs);
      return;
    }
    const fetches = body.sources.length > 0 && body.sourceBlocks > body.localBlocks;
    this.prompts.set(key, {
      request,
      decodeInstance: body.decodeInstance,
      state: fetches ? Prefill.fetching : Prefill.ready,
      cancelled: false,
      expectedBlocks: Math.max(body.localBlocks, body.sourceBlocks),
      load: 0,
      hitBlocks: 0,
      doneTokens: 0,
      chunks: 0,
      computeNs: 0,
      space: 'none',
      parking: 'no',
      streamedTokens: 0,
      streams: 0,
      handoffRetries: 0,
      offered: false,
    });
    this.queue.push(key);
    if (fetches) {
      const { sources, sourceBlocks } = body;
      const instance = spec.id;
      host.send(this.store(), { kind: 'fetchBlocks', request, instance, sources, sourceBlocks });
    }
    this.next(fact.atNs);
  }

  private onFetched(fact: M.Fact, body: M.Fetched): void {
    const prompt = this.prompts.get(attemptKey(body.request, body.attempt));
    if (prompt === undefined || prompt.state !== Prefill.fetching) {
      this.late();
      return;
    }
    this.world.host.mark(body.request, Mark.fetchedNs, fact.atNs);
    prompt.state = Prefill.ready;
    this.next(fact.atNs);
  }

  /** Gives the GPUs their next work, if they are free: prompts first, then the decode batch. */
  private next(nowNs: number): void {
    if (this.step !== 0) return;
    if (this.current < 0) this.acquireNext();
    const prompt = this.prompts.get(this.current);
    if (prompt?.state === Prefill.acquiring) return;
    if (prompt?.state === Prefill.computing) {
      if (this.run !== 0) this.cutRun();
      else this.startChunk(prompt, nowNs);
    } else if (this.run === 0) this.startRun(nowNs);
    else if (this.joining.length > 0 && this.hasBatchRoom()) this.cutRun();
  }

  /** Asks for the working memory of the first prompt that is ready. */
  private acquireNext(): void {
    const { queue, prompts } = this;
    const at = queue.findIndex((key) => prompts.get(key)?.state === Prefill.ready);
    if (at < 0) return;
    const [key] = queue.splice(at, 1);
    const prompt = prompts.get(key);
    assert(prompt !== undefined, 'a queued prompt is gone');
    this.current = key;
    prompt.state = Prefill.acquiring;
    const { host, spec } = this.world;
    const { request } = prompt;
    const own = prompt.decodeInstance === spec.id;
    const hbmTokens = request.inputTokens + (own ? request.outputTokens : 0);
    host.send(this.store(), { kind: 'acquire', request, instance: spec.id, hbmTokens });
  }

  // --- computing a prompt ---------------------------------------------------------------------

  private onAcquired(fact: M.Fact, body: M.Acquired): void {
    const key = attemptKey(body.request, body.attempt);
    const prompt = this.prompts.get(key);
    if (prompt === undefined || this.current !== key || prompt.load !== 0) {
      this.late();
      return;
    }
    const { host, kv } = this.world;
    const { request } = prompt;
    prompt.state = Prefill.computing;
    prompt.load = body.load;
    prompt.hitBlocks = body.hitBlocks;
    prompt.doneTokens = body.loadTokens;
    const local = Math.max(0, body.hitBlocks - body.peerBlocks);
    const localTokens = cachedTokens(local, kv.blockTokens, request.inputTokens);
    host.mark(request.id, Mark.dramTokens, Math.min(localTokens, body.loadTokens));
    host.mark(request.id, Mark.peerTokens, Math.max(0, body.loadTokens - localTokens));
    if (body.hitBlocks < prompt.expectedBlocks) {
      const stale = (prompt.expectedBlocks - body.hitBlocks) * kv.blockTokens;
      host.mark(request.id, Mark.staleTokens, stale);
    }
    if (prompt.cancelled) this.dropCurrent(prompt, fact.atNs);
    else {
      if (this.leaves(prompt)) this.reserve(prompt);
      this.next(fact.atNs);
    }
  }

  private onAcquireWaits(fact: M.Fact, body: M.AcquireWaits): void {
    const prompt = this.prompts.get(attemptKey(body.request, body.attempt));
    if (prompt?.state !== Prefill.acquiring) {
      this.late();
      return;
    }
    prompt.state = Prefill.starved;
    this.next(fact.atNs);
  }

  /** Whether another instance decodes it. */
  private leaves(prompt: Prompt): boolean {
    return prompt.decodeInstance !== this.world.spec.id && prompt.request.outputTokens > 1;
  }

  private startChunk(prompt: Prompt, nowNs: number): void {
    const { host, settings, spec, kv } = this.world;
    const { request, doneTokens } = prompt;
    const toToken = Math.min(doneTokens + settings.chunkTokens, request.inputTokens);
    const last = toToken === request.inputTokens;
    const first = prompt.chunks++ === 0;
    if (first) host.mark(request.id, Mark.startedNs, nowNs);
    const step = this.ids.next();
    this.step = step;
    host.startStep({
      id: step,
      chunks: [
        {
          request: request.id,
          fromToken: doneTokens,
          toToken,
          first,
          last,
          load: first ? prompt.load : 0,
        },
      ],
    });
    const whole = Math.floor(toToken / kv.blockTokens);
    const toBlock = last ? request.blocks.length : whole;
    const fromBlock = first ? prompt.hitBlocks : Math.floor(doneTokens / kv.blockTokens);
    if (toBlock > fromBlock) {
      const instance = spec.id;
      host.send(this.store(), { kind: 'saveBlocks', request, instance, step, fromBlock, toBlock });
    }
    if (prompt.space === 'granted') this.stream(prompt, toToken, step);
  }

  private onStepEnded(fact: M.Fact, body: M.StepEnded): void {
    const prompt = this.prompts.get(this.current);
    if (prompt === undefined || body.step !== this.step) {
      this.late();
      return;
    }
    const { request } = prompt;
    const { chunkTokens } = this.world.settings;
    this.step = 0;
    prompt.computeNs += body.computeNs;
    prompt.doneTokens = Math.min(prompt.doneTokens + chunkTokens, request.inputTokens);
    if (prompt.cancelled) this.dropCurrent(prompt, fact.atNs);
    else if (prompt.doneTokens < request.inputTokens) this.startChunk(prompt, fact.atNs);
    else this.promptDone(prompt, fact.atNs);
  }

  private promptDone(prompt: Prompt, nowNs: number): void {
    const { host, spec } = this.world;
    const { request } = prompt;
    const { id, attempt } = request;
    host.mark(id, Mark.firstTokenNs, nowNs);
    host.mark(id, Mark.computeNs, prompt.computeNs);
    host.send(CONDUCTOR, { kind: 'prefilled', request: id, attempt });
    this.current = -1;
    if (request.outputTokens === 1) {
      this.endPrompt(prompt);
      this.report(request, Outcome.completed, nowNs);
    } else if (prompt.decodeInstance === spec.id) {
      this.prompts.delete(attemptKey(id, attempt));
      this.joining.push({ request, cancelled: false, made: 1 });
    } else {
      prompt.state = Prefill.handoff;
      if (prompt.space === 'granted') this.advanceHandoff(prompt);
      else this.park(prompt);
    }
    this.next(nowNs);
  }

  private dropCurrent(prompt: Prompt, nowNs: number): void {
    this.current = -1;
    this.abandon(prompt, Outcome.cancelled, nowNs);
    this.next(nowNs);
  }

  // --- handing over to decode -----------------------------------------------------------------

  private reserve(prompt: Prompt): void {
    const { host, settings } = this.world;
    const { id, attempt, inputTokens, outputTokens } = prompt.request;
    prompt.space = 'asked';
    host.send(this.decodeStore(prompt), {
      kind: 'reserve',
      request: id,
      attempt,
      instance: prompt.decodeInstance,
      tokens: inputTokens + outputTokens,
      ttlNs: settings.reserveTtlNs,
    });
  }

  private onReserved(fact: M.Fact, body: M.Reserved): void {
    const key = attemptKey(body.request, body.attempt);
    const prompt = this.prompts.get(key);
    if (prompt?.space !== 'asked' || prompt.state === Prefill.draining) {
      this.late();
      return;
    }
    if (body.status === 'refused') {
      if (this.current === key) prompt.space = 'none';
      else this.abandon(prompt, Outcome.rejectedDecodeFull, fact.atNs);
      return;
    }
    if (body.status === 'queued') return;
    prompt.space = 'granted';
    if (this.step !== 0 && this.current === key) {
      const { chunkTokens } = this.world.settings;
      const end = Math.min(prompt.doneTokens + chunkTokens, prompt.request.inputTokens);
      this.stream(prompt, end, this.step);
    } else if (prompt.state === Prefill.handoff && prompt.parking !== 'moving') {
      this.advanceHandoff(prompt);
    }
  }

  /** Sends KV of tokens [streamed, toToken), of which `step` is still making the last. */
  private stream(prompt: Prompt, toToken: number, step: number): void {
    const tokens = toToken - prompt.streamedTokens;
    if (tokens <= 0) return;
    const { host, spec, kv } = this.world;
    const { request, decodeInstance } = prompt;
    const id = this.ids.next();
    const key = attemptKey(request.id, request.attempt);
    this.streams.set(id, { key, fromToken: prompt.streamedTokens });
    prompt.streamedTokens = toToken;
    prompt.streams++;
    const parked = prompt.parking === 'parked';
    host.startTransfer({
      id,
      kind: 'stream',
      request: request.id,
      source: {
        node: spec.node,
        tier: parked ? Tier.dram : Tier.hbm,
        instance: parked ? -1 : spec.id,
        slots: null,
      },
      target: {
        node: this.nodeOf(decodeInstance),
        tier: Tier.hbm,
        instance: decodeInstance,
        slots: null,
      },
      tokens,
      bytes: tokens * kv.bytesPerToken[Tier.hbm],
      blocks: 0,
      afterStep: step,
      weight: 1,
    });
  }

  private onStreamEnded(fact: M.Fact, body: M.TransferEnded): void {
    const stream = this.streams.get(body.transfer);
    this.streams.delete(body.transfer);
    const prompt = stream === undefined ? undefined : this.prompts.get(stream.key);
    if (stream === undefined || prompt === undefined) {
      this.late();
      return;
    }
    prompt.streams--;
    if (!body.ok) this.world.host.count(Count.transferFailed, 1);
    if (prompt.state === Prefill.draining) {
      if (prompt.streams === 0) this.letGo(prompt);
      return;
    }
    if (!body.ok) {
      prompt.handoffRetries++;
      prompt.streamedTokens = Math.min(prompt.streamedTokens, stream.fromToken);
      if (prompt.handoffRetries > HANDOFF_RETRIES && prompt.state === Prefill.handoff) {
        this.abandon(prompt, Outcome.failed, fact.atNs);
        return;
      }
    }
    if (prompt.state === Prefill.handoff) this.advanceHandoff(prompt);
  }

  /** Streams what is left, then offers the request to the decode instance. */
  private advanceHandoff(prompt: Prompt): void {
    const { request } = prompt;
    if (prompt.streamedTokens < request.inputTokens) this.stream(prompt, request.inputTokens, 0);
    else if (prompt.streams === 0 && !prompt.offered) {
      prompt.offered = true;
      this.offer(prompt);
    }
  }

  private offer(prompt: Prompt): void {
    const to = this.world.addresses.instance(prompt.decodeInstance);
    this.world.host.send(to, { kind: 'handoff', request: prompt.request });
  }

  private onHandoffTaken(nowNs: number, body: M.HandoffTaken): void {
    const prompt = this.prompts.get(attemptKey(body.request, body.attempt));
    if (prompt === undefined || !prompt.offered) {
      this.late();
      return;
    }
    if (body.ok) {
      this.endPrompt(prompt);
      if (prompt.cancelled) this.forwardCancel(prompt);
      return;
    }
    prompt.offered = false;
    prompt.streamedTokens = 0;
    if (prompt.cancelled) this.abandon(prompt, Outcome.cancelled, nowNs);
    else if (++prompt.handoffRetries > HANDOFF_RETRIES) this.abandon(prompt, Outcome.failed, nowNs);
    else this.reserve(prompt);
  }

  private forwardCancel({ request, decodeInstance }: Prompt): void {
    const to = this.world.addresses.instance(decodeInstance);
    const { id, attempt } = request;
    this.world.host.send(to, { kind: 'cancel', request: id, attempt });
  }

  private park(prompt: Prompt): void {
    const { id, attempt, inputTokens } = prompt.request;
    const instance = this.world.spec.id;
    if (prompt.space === 'none') this.reserve(prompt);
    prompt.parking = 'moving';
    this.world.host.send(this.store(), {
      kind: 'park',
      request: id,
      attempt,
      instance,
      tokens: inputTokens,
    });
  }

  private onParked(nowNs: number, body: M.Parked): void {
    const prompt = this.prompts.get(attemptKey(body.request, body.attempt));
    if (prompt?.parking !== 'moving' || prompt.state === Prefill.draining) {
      this.late();
      return;
    }
    prompt.parking = body.ok ? 'parked' : 'no';
    if (prompt.space === 'granted') this.advanceHandoff(prompt);
    else if (!body.ok) this.abandon(prompt, Outcome.rejectedDecodeFull, nowNs);
  }

  // --- decode ---------------------------------------------------------------------------------

  private onHandoff(fact: M.Fact, body: M.Handoff): void {
    const { request } = body;
    const { id, attempt } = request;
    const key = attemptKey(id, attempt);
    if (this.taken.get(key)) this.answerHandoff(fact.from, id, attempt, true);
    else if (!this.claiming.has(key)) {
      this.claiming.set(key, { request, from: fact.from });
      const instance = this.world.spec.id;
      this.world.host.send(this.store(), { kind: 'claim', request: id, attempt, instance });
    }
  }

  private onClaimed(fact: M.Fact, body: M.Claimed): void {
    const key = attemptKey(body.request, body.attempt);
    const claim = this.claiming.get(key);
    if (claim === undefined) {
      this.late();
      return;
    }
    this.claiming.delete(key);
    this.answerHandoff(claim.from, body.request, body.attempt, body.ok);
    if (!body.ok) return;
    this.taken.set(key, true);
    this.joining.push({ request: claim.request, cancelled: false, made: 1 });
    this.next(fact.atNs);
  }

  private answerHandoff(to: Address, request: number, attempt: number, ok: boolean): void {
    this.world.host.send(to, { kind: 'handoffTaken', request, attempt, ok });
  }

  private startRun(nowNs: number): void {
    const { batch, joining } = this;
    const { host, settings, spec } = this.world;
    const room = Math.min(joining.length, settings.batchRequests - batch.length);
    for (const sequence of joining.splice(0, room)) {
      batch.push(sequence);
      host.mark(sequence.request.id, Mark.joinedNs, nowNs);
      host.mark(sequence.request.id, Mark.decodeInstance, spec.id);
    }
    if (batch.length === 0) return;
    let contextTokens = 0;
    let maxSteps = Number.POSITIVE_INFINITY;
    const requests: number[] = [];
    for (const { request, made } of batch) {
      contextTokens += request.inputTokens + made;
      maxSteps = Math.min(maxSteps, request.outputTokens - made);
      requests.push(request.id);
    }
    this.run = this.ids.next();
    this.cut = false;
    host.startRun({ id: this.run, batch: batch.length, contextTokens, maxSteps, requests });
  }

  private hasBatchRoom(): boolean {
    return this.batch.length < this.world.settings.batchRequests;
  }

  private cutRun(): void {
    if (this.cut) return;
    this.cut = true;
    this.world.host.cutRun(this.run);
  }

  private onRunEnded(fact: M.Fact, body: M.RunEnded): void {
    if (body.run !== this.run) {
      this.late();
      return;
    }
    this.run = 0;
    const { batch } = this;
    let kept = 0;
    for (const sequence of batch) {
      sequence.made += body.steps;
      const { request, made, cancelled } = sequence;
      if (made < request.outputTokens && !cancelled) batch[kept++] = sequence;
      else {
        this.release(request);
        this.report(request, cancelled ? Outcome.cancelled : Outcome.completed, fact.atNs);
      }
    }
    batch.length = kept;
    this.next(fact.atNs);
  }

  // --- ends -----------------------------------------------------------------------------------

  private onCancel(fact: M.Fact, body: M.Cancel): void {
    const key = attemptKey(body.request, body.attempt);
    const prompt = this.prompts.get(key);
    if (prompt?.state === Prefill.draining) return;
    if (prompt !== undefined) {
      prompt.cancelled = true;
      const busy = this.current === key || prompt.offered;
      if (!busy) this.abandon(prompt, Outcome.cancelled, fact.atNs);
      return;
    }
    const is = (s: Sequence) => s.request.id === body.request && s.request.attempt === body.attempt;
    const waiting = this.joining.findIndex(is);
    if (waiting >= 0) {
      const [sequence] = this.joining.splice(waiting, 1);
      this.release(sequence.request);
      this.report(sequence.request, Outcome.cancelled, fact.atNs);
      return;
    }
    const running = this.batch.find(is);
    if (running === undefined) return;
    running.cancelled = true;
    if (this.run !== 0) this.cutRun();
  }

  /** Gives a prompt up; what it holds goes when nothing reads it any more. */
  private abandon(prompt: Prompt, outcome: Outcome, nowNs: number): void {
    const { request } = prompt;
    const at = this.queue.indexOf(attemptKey(request.id, request.attempt));
    if (at >= 0) this.queue.splice(at, 1);
    if (prompt.streams > 0) prompt.state = Prefill.draining;
    else this.letGo(prompt);
    this.report(request, outcome, nowNs);
  }

  /** Frees what a prompt holds here and at the decode node. */
  private letGo(prompt: Prompt): void {
    const { request, space, decodeInstance } = prompt;
    if (space !== 'none') {
      this.world.host.send(this.decodeStore(prompt), {
        kind: 'unreserve',
        request: request.id,
        attempt: request.attempt,
        instance: decodeInstance,
      });
    }
    this.endPrompt(prompt);
  }

  private endPrompt(prompt: Prompt): void {
    const { request } = prompt;
    this.prompts.delete(attemptKey(request.id, request.attempt));
    this.release(request);
  }

  private release(request: Request): void {
    const { host, spec } = this.world;
    const { id, attempt } = request;
    host.send(this.store(), { kind: 'release', request: id, attempt, instance: spec.id });
  }

  private report(request: Request, outcome: Outcome, nowNs: number): void {
    const { id, attempt } = request;
    const { host } = this.world;
    host.mark(id, Mark.finishedNs, nowNs);
    host.mark(id, Mark.outcome, outcome);
    this.ended.set(attemptKey(id, attempt), { request: id, attempt, outcome });
    host.send(CONDUCTOR, { kind: 'finished', request: id, attempt, outcome });
  }

  // --- resets ---------------------------------------------------------------------------------

  private onPeerReset(peer: Address): void {
    const { addresses } = this.world;
    if (peer === CONDUCTOR) {
      this.sendInventory();
      return;
    }
    for (const prompt of this.prompts.values()) {
      if (!this.leaves(prompt) || prompt.state === Prefill.draining) continue;
      if (prompt.space === 'asked' && this.decodeStore(prompt) === peer) this.reserve(prompt);
      if (prompt.offered && addresses.instance(prompt.decodeInstance) === peer) this.offer(prompt);
    }
  }

  private sendInventory(): void {
    const live: M.LiveRequest[] = [];
    for (const { request, state } of this.prompts.values()) {
      if (state === Prefill.draining) continue;
      const { id, attempt } = request;
      const started = state === Prefill.computing;
      const waiting = started ? Phase.prefill : Phase.queued;
      const phase = state === Prefill.handoff ? Phase.handoff : waiting;
      live.push({ request: id, attempt, phase });
    }
    for (const { request } of [...this.joining, ...this.batch]) {
      live.push({ request: request.id, attempt: request.attempt, phase: Phase.decode });
    }
    this.world.host.send(CONDUCTOR, {
      kind: 'requestInventory',
      instance: this.world.spec.id,
      incarnation: this.incarnation,
      dispatchSequence: this.dispatchSequence,
      live,
      ended: this.ended.values(),
    });
  }

  // --- neighbours -----------------------------------------------------------------------------

  private store(): Address {
    return this.world.addresses.store(this.world.spec.node);
  }

  private decodeStore(prompt: Prompt): Address {
    return this.world.addresses.store(this.nodeOf(prompt.decodeInstance));
  }

  private nodeOf(instance: number): number {
    return this.world.topology.instances[instance].node;
  }

  private late(): void {
    this.world.host.count(Count.lateFact, 1);
  }
}
