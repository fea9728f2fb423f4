/**
 * Memory of a decode batch. With `decodeSpace: reserve` every request holds room for its whole
 * output from the start. With `grow` it holds its prompt, and pages are taken as tokens are made:
 * before a run or a step the store is asked for the steps to come, what an earlier run left unused
 * goes back, and where there is no room the youngest request gives way. Its KV is dropped and its
 * prompt, with what it had made, computed again in front of the queue; or its KV is swapped to DRAM
 * and comes back. Until a request has ended, no prompt begins and none comes back.
 *
 * With the same memory the same steps are granted, whether they are asked for one by one or many
 * at a time: a run is cut where memory ends.
 */
import { Count, Mark } from './host.ts';
import { type InstanceWorld, late, ownStore } from './instance-world.ts';
import type * as M from './messages.ts';
import type { Prompts } from './prompts.ts';
import { attemptKey, Outcome, type Request } from './request.ts';
import type { RequestEnds } from './request-ends.ts';

/** A request that decodes. */
export interface Sequence {
  readonly request: Request;
  cancelled: boolean;
  /** Tokens made, the first one by prefill. */
  made: number;
  /** Tokens whose KV it had room for when it came; what it makes after that grows. */
  basis: number;
  /** It was here before and gave way. */
  resumed: boolean;
}

/** Steps that are taken at once: what others are kept waiting for at most. */
const STEPS_AHEAD = 64;
/** Times that a request alone may find no room before it is rejected: it never will. */
const ALONE_MAX = 3;

export class DecodeMemory {
  readonly world: InstanceWorld;
  private readonly ends: RequestEnds;
  private readonly prompts: Prompts;
  /** Steps of the batch, as it is, that there is room for. */
  private credit = 0;
  isAsking = false;
  /** The last answer was that there is no room for a step. */
  private failed = false;
  /** Memory was short, and no request has ended since. */
  isPressed = false;
  /** Given way, by recompute; the store hears of it with the next question. */
  private drop: M.AttemptOf[] = [];
  /** In DRAM, or on the way there or back, oldest first. */
  private readonly swapped: Sequence[] = [];
  /** Moves to DRAM under way, and the one that comes back. */
  private leaving = 0;
  private returning: Sequence | null = null;
  /** Times that a request alone found no room, by attempt. */
  private readonly alone = new Map<number, number>();

  constructor(world: InstanceWorld, ends: RequestEnds, prompts: Prompts) {
    this.world = world;
    this.ends = ends;
    this.prompts = prompts;
  }

  get grows(): boolean {
    return this.world.settings.decodeSpace === 'grow';
  }

  /** The batch must stay as it is: it was counted. */
  get isCounted(): boolean {
    return this.isAsking || this.credit > 0;
  }

  /** An answer of the store or the end of a move is awaited. */
  get isWaiting(): boolean {
    return this.isAsking || this.leaving > 0;
  }

  get isEmpty(): boolean {
    return this.swapped.length === 0;
  }

  get away(): readonly Sequence[] {
    return this.swapped;
  }

  /**
   * Steps, up to `maxSteps`, that the batch may make now. 0: not now, an answer is awaited, or one
   * of the batch gave way. Where the only one left has no room and prompts can be computed
   * instead (`alongside`), it stays.
   */
  steps(batch: Sequence[], maxSteps: number, alongside: boolean, nowNs: number): number {
    if (!this.grows) return maxSteps;
    if (this.credit > 0) return Math.min(this.credit, maxSteps);
    if (this.isWaiting) return 0;
    if (this.failed) {
      if (batch.length === 1 && alongside) return 0;
      this.failed = false;
      this.giveWay(batch, nowNs);
      if (batch.length === 0 || this.leaving > 0) return 0;
    }
    this.ask(batch, Math.min(maxSteps, STEPS_AHEAD));
    return 0;
  }

  /** The steps that were granted are being made, or a pass without the batch. */
  begun(): void {
    this.credit = 0;
    this.failed = false;
  }

  /** A request of the batch has ended. */
  eased(): void {
    this.isPressed = false;
    this.alone.clear();
  }

  private ask(batch: readonly Sequence[], steps: number): void {
    const { host, spec } = this.world;
    const sequences = batch.map(({ request, made, basis }) => ({
      request: request.id,
      attempt: request.attempt,
      tokens: request.inputTokens + made - 1,
      basis,
    }));
    const { drop } = this;
    this.drop = [];
    this.isAsking = true;
    host.send(ownStore(this.world), { kind: 'grow', instance: spec.id, drop, sequences, steps });
  }

  onGrown(body: M.Grown): void {
    if (!this.isAsking) {
      late(this.world);
      return;
    }
    this.isAsking = false;
    this.credit = body.steps;
    if (body.steps > 0) return;
    this.failed = true;
    this.isPressed = true;
  }

  // --- giving way -----------------------------------------------------------------------------

  /** The youngest leaves the batch. */
  private giveWay(batch: Sequence[], nowNs: number): void {
    const sequence = batch.reduce((a, b) => (b.request.arrivalNs >= a.request.arrivalNs ? b : a));
    batch.splice(batch.indexOf(sequence), 1);
    const { host, settings } = this.world;
    const { request, made } = sequence;
    if (batch.length === 0) this.isPressed = false;
    if (sequence.cancelled) {
      this.end(sequence, Outcome.cancelled, nowNs);
      return;
    }
    if (batch.length === 0 && this.isHopeless(request)) {
      this.end(sequence, Outcome.rejectedDecodeFull, nowNs);
      return;
    }
    host.mark(request.id, Mark.preemptedNs, nowNs);
    host.count(Count.preempted, 1);
    sequence.resumed = true;
    if (settings.preemption === 'swap') this.swapOut(sequence);
    else this.recompute(request, made, batch.length > 0);
  }

  private isHopeless(request: Request): boolean {
    const key = attemptKey(request.id, request.attempt);
    const times = (this.alone.get(key) ?? 0) + 1;
    this.alone.set(key, times);
    return times > ALONE_MAX;
  }

  /** Its memory goes with the next question of the batch, so that nobody takes it before. */
  private recompute(request: Request, made: number, asks: boolean): void {
    const { id, attempt } = request;
    if (asks) this.drop.push({ request: id, attempt });
    else this.ends.release(request);
    this.prompts.enqueueAgain(request, made);
  }

  private end({ request }: Sequence, outcome: Outcome, nowNs: number): void {
    this.ends.release(request);
    this.ends.report(request, outcome, nowNs);
  }

  // --- swapping -------------------------------------------------------------------------------

  private swapOut(sequence: Sequence): void {
    const { host, spec } = this.world;
    const { request, made } = sequence;
    const { id, attempt, inputTokens } = request;
    const tokens = inputTokens + made - 1;
    this.swapped.push(sequence);
    this.leaving++;
    host.send(ownStore(this.world), {
      kind: 'park',
      request: id,
      attempt,
      instance: spec.id,
      tokens,
    });
  }

  /** Whether the request is away, or on its way. */
  has(request: number, attempt: number): boolean {
    return this.indexOf(request, attempt) >= 0;
  }

  private indexOf(request: number, attempt: number): number {
    return this.swapped.findIndex(
      (sequence) => sequence.request.id === request && sequence.request.attempt === attempt,
    );
  }

  /** Its KV is in DRAM; without room there it is computed again. */
  onParked(body: M.Parked, nowNs: number): void {
    const at = this.indexOf(body.request, body.attempt);
    const sequence = this.swapped[at];
    this.leaving--;
    if (sequence.cancelled) {
      this.swapped.splice(at, 1);
      this.end(sequence, Outcome.cancelled, nowNs);
    } else if (!body.ok) {
      this.swapped.splice(at, 1);
      this.recompute(sequence.request, sequence.made, false);
    } else this.world.host.count(Count.swapped, 1);
  }

  /** Asks for room for the oldest that is away, unless memory is short. */
  callBack(): void {
    const { swapped, world } = this;
    if (swapped.length === 0 || this.isPressed) return;
    if (this.returning !== null || this.leaving > 0) return;
    const sequence = swapped[0];
    this.returning = sequence;
    const { id, attempt, inputTokens } = sequence.request;
    sequence.basis = inputTokens + sequence.made - 1;
    world.host.send(ownStore(world), {
      kind: 'unpark',
      request: id,
      attempt,
      instance: world.spec.id,
      tokens: sequence.basis,
    });
  }

  /** It is back in HBM: answers it, or null when it is not wanted any more. */
  onUnparked(body: M.Unparked, nowNs: number): Sequence | null {
    const at = this.indexOf(body.request, body.attempt);
    const sequence = this.swapped[at];
    if (sequence === undefined || sequence !== this.returning) {
      late(this.world);
      return null;
    }
    this.returning = null;
    this.swapped.splice(at, 1);
    if (!sequence.cancelled) return sequence;
    this.end(sequence, Outcome.cancelled, nowNs);
    return null;
  }

  /** Gives up one that is away: at once, or when its move has ended. Answers whether it is here. */
  cancel({ request, attempt }: M.Cancel): boolean {
    const sequence = this.swapped[this.indexOf(request, attempt)];
    if (sequence === undefined) return false;
    // It comes back first, as others do: what moves is not taken away.
    sequence.cancelled = true;
    return true;
  }
}
