/**
 * The prompts of an instance, from dispatch until it holds nothing for them any more: what is known
 * of each, which of them wait for their turn, and how one is given up.
 */
import { PolicyError } from './errors.ts';
import { type InstanceWorld, storeOf } from './instance-world.ts';
import { removeAt } from './kit/remove-at.ts';
import type { Acquired, Dispatch, LiveRequest } from './messages.ts';
import type { QueuePolicy } from './policy.ts';
import { attemptKey, cachedTokens, type Outcome, Phase, type Request } from './request.ts';
import type { RequestEnds } from './request-ends.ts';

export const PromptState = {
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
export type PromptState = (typeof PromptState)[keyof typeof PromptState];

export interface Prompt {
  readonly request: Request;
  /** Tokens to compute: the input, and those that were decoded before a preemption. */
  readonly promptTokens: number;
  /** Tokens decoded before a preemption, or 0. */
  readonly made: number;
  /** Place in the queue: least first. */
  readonly rank: number;
  readonly decodeInstance: number;
  state: PromptState;
  cancelled: boolean;
  expectedBlocks: number;
  /** Node that is to keep each block, as dispatched; empty: the own one. */
  readonly nodes: readonly number[];
  /** What was cached of it, once it has its memory. */
  acquired: Acquired | null;
  hitBlocks: number;
  /** Tokens whose KV is in HBM, the cached ones included; before, those believed cached. */
  doneTokens: number;
  /** Chunks started. */
  chunks: number;
  /** Step that computes a chunk of it now, or 0, and the token at which that chunk ends. */
  step: number;
  stepEnd: number;
  /** A load failed under that step, which makes nothing: tokens whose KV is good, else -1. */
  goodTokens: number;
  computeNs: number;
  /** Decode space: asked for, granted. */
  space: 'none' | 'asked' | 'granted';
  /** KV moved to DRAM because decode has no room. */
  parking: 'no' | 'moving' | 'parked';
  streamedTokens: number;
  streams: number;
  /** Streams under way carry what a failed load has spoiled. */
  voidStreams: boolean;
  /** Streams that broke and reservations that ran out before their KV was complete. */
  handoffRetries: number;
  /** Times that a peer began anew while it was asked for something. */
  resets: number;
  /** Handoff sent, answer awaited. */
  offered: boolean;
}

const NONE: readonly number[] = [];

export class Prompts {
  readonly world: InstanceWorld;
  private readonly ends: RequestEnds;
  /** By attempt, in order of dispatch. */
  private readonly prompts = new Map<number, Prompt>();
  /** Keys of prompts that wait to be computed, in their order. */
  private readonly queue: number[] = [];
  private readonly order: QueuePolicy;

  constructor(world: InstanceWorld, ends: RequestEnds, order: QueuePolicy) {
    this.world = world;
    this.ends = ends;
    this.order = order;
  }

  get isEmpty(): boolean {
    return this.prompts.size + this.queue.length === 0;
  }

  /** Prompts that wait to be computed, and all of them. */
  get waiting(): number {
    return this.queue.length;
  }

  get size(): number {
    return this.prompts.size;
  }

  get isQueueFull(): boolean {
    return this.queue.length >= this.world.settings.queueRequests;
  }

  get(key: number): Prompt | undefined {
    return this.prompts.get(key);
  }

  of(request: number, attempt: number): Prompt | undefined {
    return this.prompts.get(attemptKey(request, attempt));
  }

  values(): IterableIterator<Prompt> {
    return this.prompts.values();
  }

  /** Whether another instance decodes it. */
  leaves(prompt: Prompt): boolean {
    return prompt.decodeInstance !== this.world.spec.id && prompt.request.outputTokens > 1;
  }

  enqueue(key: number, body: Dispatch, fetches: boolean, nowNs: number): void {
    const { request, decodeInstance } = body;
    const { inputTokens: promptTokens } = request;
    const expectedBlocks = Math.max(body.localBlocks, body.sourceBlocks);
    const { blockTokens } = this.world.kv;
    const doneTokens =
      expectedBlocks === 0 ? 0 : cachedTokens(expectedBlocks, blockTokens, promptTokens);
    const rank = this.order.rank({ request, promptTokens, doneTokens }, nowNs);
    if (Number.isNaN(rank)) throw new PolicyError('the queue policy ranked a prompt NaN');
    const state = fetches ? PromptState.fetching : PromptState.ready;
    this.add(key, {
      request,
      promptTokens,
      made: 0,
      rank,
      decodeInstance,
      state,
      cancelled: false,
      expectedBlocks,
      nodes: body.nodes,
      acquired: null,
      hitBlocks: 0,
      doneTokens,
      chunks: 0,
      step: 0,
      stepEnd: 0,
      goodTokens: -1,
      computeNs: 0,
      space: 'none',
      parking: 'no',
      streamedTokens: 0,
      streams: 0,
      voidStreams: false,
      handoffRetries: 0,
      resets: 0,
      offered: false,
    });
  }

  /** A request that decoded here and gave way: its KV is computed again, before all others. */
  enqueueAgain(request: Request, made: number): void {
    const { id } = this.world.spec;
    this.add(attemptKey(request.id, request.attempt), {
      request,
      promptTokens: request.inputTokens + made,
      made,
      rank: Number.NEGATIVE_INFINITY,
      decodeInstance: id,
      state: PromptState.ready,
      cancelled: false,
      expectedBlocks: 0,
      nodes: NONE,
      acquired: null,
      hitBlocks: 0,
      doneTokens: 0,
      chunks: 0,
      step: 0,
      stepEnd: 0,
      goodTokens: -1,
      computeNs: 0,
      space: 'none',
      parking: 'no',
      streamedTokens: 0,
      streams: 0,
      voidStreams: false,
      handoffRetries: 0,
      resets: 0,
      offered: false,
    });
  }

  private add(key: number, prompt: Prompt): void {
    const { queue, prompts } = this;
    prompts.set(key, prompt);
    let at = queue.length;
    queue.push(key);
    for (; at > 0 && prompts.get(queue[at - 1])!.rank > prompt.rank; at--) {
      queue[at] = queue[at - 1];
    }
    queue[at] = key;
  }

  /** The first that is ready; it stays in the queue until `take`. */
  nextReady(): Prompt | undefined {
    const { queue, prompts } = this;
    for (let at = 0; at < queue.length; at++) {
      const prompt = prompts.get(queue[at])!;
      if (prompt.state === PromptState.ready) return prompt;
    }
    return undefined;
  }

  /** Takes a prompt out of the queue, if it is there. */
  take({ request }: Prompt): void {
    const at = this.queue.indexOf(attemptKey(request.id, request.attempt));
    if (at >= 0) removeAt(this.queue, at);
  }

  /** Gives a prompt up; what it holds goes when nothing reads it any more. */
  abandon(prompt: Prompt, outcome: Outcome, nowNs: number): void {
    const { request } = prompt;
    this.take(prompt);
    if (prompt.streams > 0) prompt.state = PromptState.draining;
    else this.letGo(prompt);
    this.ends.report(request, outcome, nowNs);
  }

  /** Frees what a prompt holds here and at the decode node. */
  letGo(prompt: Prompt): void {
    const { request, space, decodeInstance } = prompt;
    if (space !== 'none') {
      this.world.host.send(storeOf(this.world, decodeInstance), {
        kind: 'unreserve',
        request: request.id,
        attempt: request.attempt,
        instance: decodeInstance,
      });
    }
    this.end(prompt);
  }

  /** Forgets a prompt and frees what it holds here. */
  end(prompt: Prompt): void {
    this.forget(prompt);
    this.ends.release(prompt.request);
  }

  forget({ request }: Prompt): void {
    this.prompts.delete(attemptKey(request.id, request.attempt));
  }

  listLive(live: LiveRequest[]): void {
    for (const { request, state, made, decodeInstance } of this.prompts.values()) {
      if (state === PromptState.draining) continue;
      const phase = made > 0 ? Phase.decode : phaseOf(state);
      live.push({ request: request.id, attempt: request.attempt, phase, decodeInstance });
    }
  }
}

function phaseOf(state: PromptState): Phase {
  if (state === PromptState.handoff) return Phase.handoff;
  return state === PromptState.computing ? Phase.prefill : Phase.queued;
}
