/**
 * The decode side of an instance: claims the requests that are handed over, lets them join the
 * batch between passes, and steps the batch, in runs or within passes over prompts, until each
 * request is at its end.
 */
import type { Batcher } from './batcher.ts';
import type { DecodeMemory, Sequence } from './decode-memory.ts';
import { type DecodeBatch, type IdSource, Mark } from './host.ts';
import { type InstanceWorld, late, ownStore } from './instance-world.ts';
import { Few } from './kit/few.ts';
import { removeAt } from './kit/remove-at.ts';
import type * as M from './messages.ts';
import { Recent } from './recent.ts';
import { attemptKey, type BlockSpan, Outcome, Phase, type Request } from './request.ts';
import { RECENT_ENDED, type RequestEnds } from './request-ends.ts';
import { type Address, CONDUCTOR } from './topology.ts';

interface Claiming {
  readonly request: Request;
  readonly from: Address;
  /** Who handed it over is dead: a claim that fails is its end. */
  orphaned: boolean;
}

export class DecodeSide {
  readonly world: InstanceWorld;
  private readonly ids: IdSource;
  private readonly ends: RequestEnds;
  private readonly batcher: Batcher;
  private readonly memory: DecodeMemory;
  /** Handed over, not yet claimed. */
  private readonly claiming = new Few<Claiming>();
  /** Who computed the prompts whose answers are cached: answers are kept where prompts are. */
  private readonly origins = new Map<number, Address>();
  private readonly joining: Sequence[] = [];
  private readonly batch: Sequence[] = [];
  /** Run on the GPUs, or 0. */
  private run = 0;
  private cut = false;
  private readonly taken = new Recent(RECENT_ENDED);

  constructor(
    world: InstanceWorld,
    ids: IdSource,
    ends: RequestEnds,
    batcher: Batcher,
    memory: DecodeMemory,
  ) {
    this.world = world;
    this.ids = ids;
    this.ends = ends;
    this.batcher = batcher;
    this.memory = memory;
  }

  get isEmpty(): boolean {
    const { claiming, joining, batch, memory } = this;
    return claiming.size + joining.length + batch.length === 0 && memory.isEmpty;
  }

  get isRunning(): boolean {
    return this.run !== 0;
  }

  /** Requests in the batch, and those that wait to join it. */
  get decoding(): number {
    return this.batch.length;
  }

  get waiting(): number {
    return this.joining.length;
  }

  /** Whether the request of this key was handed over to this instance. */
  hasTaken(key: number): boolean {
    return this.taken.has(key);
  }

  /**
   * Who would hand this request over is dead. Answers whether it is here nevertheless; if it is
   * being claimed, the conductor hears of a claim that fails.
   */
  isTheirs(key: number): boolean {
    const claim = this.claiming.get(key);
    if (claim !== undefined) claim.orphaned = true;
    const is = ({ request }: Sequence) => attemptKey(request.id, request.attempt) === key;
    const here = [...this.joining, ...this.batch, ...this.memory.away];
    return claim !== undefined || here.some(is);
  }

  // --- taking requests over -------------------------------------------------------------------

  onHandoff(fact: M.Fact, body: M.Handoff): void {
    const { request } = body;
    const { id, attempt } = request;
    const key = attemptKey(id, attempt);
    if (this.hasTaken(key)) {
      this.answerHandoff(fact.from, id, attempt, true);
      // A successor of the conductor may have sent off anew what had ended here unheard.
      this.ends.sayAgain(request);
    } else if (this.claiming.get(key) === undefined) {
      this.claiming.add(key, { request, from: fact.from, orphaned: false });
      const { host, spec } = this.world;
      host.send(ownStore(this.world), { kind: 'claim', request: id, attempt, instance: spec.id });
    }
  }

  onClaimed(body: M.Claimed): void {
    const key = attemptKey(body.request, body.attempt);
    const claim = this.claiming.take(key);
    if (claim === undefined) {
      late(this.world);
      return;
    }
    this.answerHandoff(claim.from, body.request, body.attempt, body.ok);
    if (!body.ok) {
      const { request, attempt } = body;
      const lost: M.Finished = { kind: 'finished', request, attempt, outcome: Outcome.lost };
      if (claim.orphaned) this.world.host.send(CONDUCTOR, lost);
      return;
    }
    this.taken.set(key, 1);
    if (claim.request.decoded !== undefined) this.origins.set(key, claim.from);
    this.join(claim.request);
  }

  /** Adds a request whose KV is here and whose first token is made. */
  join(request: Request): void {
    const basis = request.inputTokens;
    this.joining.push({ request, cancelled: false, made: 1, basis, resumed: false });
  }

  /** Adds one that gave way here and was computed again. */
  rejoin(request: Request, made: number, basis: number): void {
    this.joining.push({ request, cancelled: false, made, basis, resumed: true });
  }

  onUnparked(nowNs: number, body: M.Unparked): void {
    const sequence = this.memory.onUnparked(body, nowNs);
    if (sequence !== null) this.joining.unshift(sequence);
  }

  private answerHandoff(to: Address, request: number, attempt: number, ok: boolean): void {
    this.world.host.send(to, { kind: 'handoffTaken', request, attempt, ok });
  }

  // --- the batch ------------------------------------------------------------------------------

  /** Runs the batch; a run that others can join is cut. */
  advance(nowNs: number): void {
    const { joining, batcher } = this;
    if (this.run === 0) this.startRun(nowNs);
    else if (joining.length > 0 && batcher.room() > 0) this.cutRun();
  }

  /** Whether the batch can make a token within a pass over prompts; else why not. */
  prepareStep(nowNs: number): 'ready' | 'wait' | 'without' {
    this.admit(nowNs);
    const { batch, memory } = this;
    if (batch.length > 0 && memory.steps(batch, 1, true, nowNs) > 0) return 'ready';
    return memory.isAsking ? 'wait' : 'without';
  }

  cutRun(): void {
    if (this.cut) return;
    this.cut = true;
    this.world.host.cutRun(this.run);
  }

  private startRun(nowNs: number): void {
    this.admit(nowNs);
    const { batch, memory } = this;
    if (batch.length === 0) return;
    let left = Number.POSITIVE_INFINITY;
    for (const { request, made } of batch) left = Math.min(left, request.outputTokens - made);
    const maxSteps = memory.steps(batch, left, false, nowNs);
    if (maxSteps === 0) return;
    memory.begun();
    this.run = this.ids.next();
    this.cut = false;
    const { contextTokens, requests } = this.members();
    const { host } = this.world;
    host.startRun({ id: this.run, batch: batch.length, contextTokens, maxSteps, requests });
  }

  /** Lets those who wait join the batch, as far as there is room. */
  admit(nowNs: number): void {
    const { batch, joining, batcher, memory } = this;
    if (memory.isCounted) return;
    memory.callBack();
    if (joining.length === 0) return;
    const { host, spec } = this.world;
    for (let room = batcher.room(); room > 0 && joining.length > 0; room--) {
      const sequence = removeAt(joining, 0);
      batch.push(sequence);
      const { request, resumed } = sequence;
      host.mark(request.id, resumed ? Mark.resumedNs : Mark.joinedNs, nowNs);
      if (!resumed) host.mark(request.id, Mark.decodeInstance, spec.id);
    }
  }

  /** The batch as a host is told of it. */
  members(): DecodeBatch {
    const { batch } = this;
    const requests = new Array<number>(batch.length);
    let contextTokens = 0;
    for (let i = 0; i < requests.length; i++) {
      const { request, made } = batch[i];
      contextTokens += request.inputTokens + made;
      requests[i] = request.id;
    }
    return { batch: requests.length, contextTokens, requests };
  }

  onRunEnded(nowNs: number, body: M.RunEnded): void {
    if (body.run !== this.run) {
      late(this.world);
      return;
    }
    this.run = 0;
    this.advanceBy(body.steps, nowNs);
  }

  /** Each request of the batch has made so many tokens more; those at their end leave. */
  advanceBy(steps: number, nowNs: number): void {
    const { batch, ends } = this;
    let kept = 0;
    for (const sequence of batch) {
      sequence.made += steps;
      const { request, made, cancelled } = sequence;
      if (made < request.outputTokens && !cancelled) batch[kept++] = sequence;
      else {
        if (request.decoded !== undefined && !cancelled) this.saveAnswer(request, request.decoded);
        ends.release(request);
        ends.report(request, cancelled ? Outcome.cancelled : Outcome.completed, nowNs);
      }
    }
    if (kept < batch.length) this.memory.eased();
    while (batch.length > kept) batch.pop();
  }

  /** Caches the blocks that decode filled up, on the node that has the prompt's. */
  private saveAnswer(request: Request, decoded: BlockSpan): void {
    const { host, spec, topology, addresses, kv } = this.world;
    const key = attemptKey(request.id, request.attempt);
    const from = this.origins.get(key);
    this.origins.delete(key);
    if (decoded.length === 0) return;
    const node =
      from === undefined ? spec.node : topology.instances[addresses.instanceId(from)].node;
    const fromBlock = Math.floor(request.inputTokens / kv.blockTokens);
    host.send(ownStore(this.world), {
      kind: 'saveBlocks',
      request,
      instance: spec.id,
      step: 0,
      fromBlock,
      toBlock: fromBlock + decoded.length,
      nodes: node === spec.node ? [] : new Array<number>(decoded.length).fill(node),
      answer: true,
    });
  }

  // --- cancels and inventory ------------------------------------------------------------------

  cancel(body: M.Cancel, nowNs: number): void {
    const is = (s: Sequence) => s.request.id === body.request && s.request.attempt === body.attempt;
    const waiting = this.joining.findIndex(is);
    if (waiting >= 0) {
      const [sequence] = this.joining.splice(waiting, 1);
      this.ends.release(sequence.request);
      this.ends.report(sequence.request, Outcome.cancelled, nowNs);
      return;
    }
    const running = this.batch.find(is);
    if (running === undefined) {
      this.memory.cancel(body);
      return;
    }
    running.cancelled = true;
    if (this.run !== 0) this.cutRun();
  }

  listLive(live: M.LiveRequest[]): void {
    const decodeInstance = this.world.spec.id;
    for (const { request } of [...this.joining, ...this.batch, ...this.memory.away]) {
      const { id, attempt } = request;
      live.push({ request: id, attempt, phase: Phase.decode, decodeInstance });
    }
  }
}
