/** What is asked of the cluster: blocks, requests, and how a request can end. */

/** A run of interned block ids inside a larger array; borrowed, never written. */
export class BlockSpan {
  readonly ids: Int32Array;
  readonly from: number;
  readonly to: number;

  constructor(ids: Int32Array, from: number, to: number) {
    this.ids = ids;
    this.from = from;
    this.to = to;
  }

  get length(): number {
    return this.to - this.from;
  }

  at(index: number): number {
    return this.ids[this.from + index];
  }

  slice(from: number, to: number): BlockSpan {
    return new BlockSpan(this.ids, this.from + from, this.from + to);
  }
}

/**
 * One request as the ingress hands it to the conductor. Immutable; `attempt` grows on resubmission.
 */
export interface Request {
  readonly id: number;
  readonly attempt: number;
  readonly tenant: number;
  readonly priority: number;
  readonly sloClass: number;
  /** Conversation, or -1. */
  readonly session: number;
  /** Request that this one follows, or -1. */
  readonly parent: number;
  /** KV namespace: model + LoRA + dtype + layout, interned. */
  readonly namespace: number;
  /** ceil(inputTokens / blockTokens) block ids, the last one possibly partial. */
  readonly blocks: BlockSpan;
  /** Blocks that its decode completes, after the full ones of the prompt; if these are cached. */
  readonly decoded?: BlockSpan;
  readonly inputTokens: number;
  /** At least 1. Stands for `max_tokens` where a scheduler must know a bound. */
  readonly outputTokens: number;
  readonly arrivalNs: number;
}

/** Where a live request is; inventories carry it. */
export const Phase = { queued: 0, prefill: 1, handoff: 2, decode: 3 } as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

/** How a request ended. Causes below 10 are not failures. */
export const Outcome = {
  inFlight: 0,
  completed: 1,
  cancelled: 2,
  rejectedTtft: 10,
  rejectedTbt: 11,
  rejectedQueueFull: 12,
  rejectedDecodeFull: 13,
  rejectedTooLarge: 14,
  rejectedPolicy: 15,
  /** No instance that lives has the role that it needs. */
  rejectedNoInstance: 16,
  failed: 20,
  /** An instance died that it needed. */
  lost: 21,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/**
 * Tokens served by `blocks` leading cached blocks. At least one token is always recomputed: its
 * logits make the first output token.
 */
export function cachedTokens(blocks: number, blockTokens: number, inputTokens: number): number {
  return Math.min(blocks * blockTokens, inputTokens - 1);
}

const ATTEMPTS = 64;

/**
 * Block `index` of a request, or -1 before the first; of prompt and answer, where the answer's
 * blocks come after the prompt's full ones.
 */
export function blockAt(request: Request, index: number, answer: boolean, full: number): number {
  if (index < 0) return -1;
  return answer && index >= full ? request.decoded!.at(index - full) : request.blocks.at(index);
}

/** One number for (request, attempt); attempts beyond 63 share keys with long dead ones. */
export function attemptKey(request: number, attempt: number): number {
  return request * ATTEMPTS + (attempt & (ATTEMPTS - 1));
}

export function requestOf(key: number): number {
  return Math.floor(key / ATTEMPTS);
}

export function attemptOf(key: number): number {
  return key & (ATTEMPTS - 1);
}
