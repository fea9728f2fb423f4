/**
 * The one port from a machine to its world. A host only starts things and returns nothing; results
 * come back as facts. Each machine has a host of its own, bound to its address.
 */
import type { PassBatch, PassChunk } from './cost.ts';
import type { Fact, Message, SlotRange } from './messages.ts';
import type { Address, Tier } from './topology.ts';

/** Where KV lies. `slots` is null for an instance's working pages in HBM. */
export interface Place {
  readonly node: number;
  readonly tier: Tier;
  /** Owner of an hbm place, else -1. */
  readonly instance: number;
  readonly slots: SlotRange | null;
}

export const TRANSFER_KINDS = [
  'fetch',
  'load',
  'save',
  'park',
  'unpark',
  'stream',
  'demote',
  'promote',
  'prefetch',
  'move',
] as const;
export type TransferKind = (typeof TRANSFER_KINDS)[number];

/** One move of KV. */
export interface Transfer {
  readonly id: number;
  readonly kind: TransferKind;
  /** -1 for a move between tiers that no request asked for. */
  readonly request: number;
  readonly source: Place;
  readonly target: Place;
  readonly tokens: number;
  readonly bytes: number;
  /** Blocks moved, for a partial success; 0 when it is all or nothing. */
  readonly blocks: number;
  /** Which these are, where only the target's node knows what is to lie in its slots. */
  readonly ids?: readonly number[];
  /** Step that makes the data, or 0: layer l can go once the step has made layer l. */
  readonly afterStep: number;
  /** Share in max-min fairness; 1 is normal. */
  readonly weight: number;
}

/** One chunk of one prompt within a step. */
export interface Chunk extends PassChunk {
  readonly request: number;
  /** Transfers that load its cached prefix. */
  readonly loads: readonly number[];
}

/** Requests that decode together. */
export interface DecodeBatch extends PassBatch {
  /** Borrowed until the step or run ends. */
  readonly requests: readonly number[];
}

/** Work of one forward pass: chunks of prompts, and at most one token for a decode batch. */
export interface Step {
  readonly id: number;
  readonly chunks: readonly Chunk[];
  /** Each of these gets one token; null when none decodes alongside. */
  readonly decode: DecodeBatch | null;
}

/** A batch that decodes until `maxSteps` or `cutRun`. */
export interface Run extends DecodeBatch {
  readonly id: number;
  readonly maxSteps: number;
}

/**
 * What a machine notes about a request; metrics are made from these. The value is a time in ns, a
 * number of tokens, an instance or an Outcome. A later mark of the same kind replaces the earlier.
 */
export const Mark = {
  arrivedNs: 0,
  dispatchedNs: 1,
  fetchedNs: 2,
  startedNs: 3,
  firstTokenNs: 4,
  joinedNs: 5,
  finishedNs: 6,
  computeNs: 7,
  hbmTokens: 8,
  dramTokens: 9,
  ssdTokens: 10,
  peerTokens: 11,
  staleTokens: 12,
  prefillInstance: 13,
  decodeInstance: 14,
  outcome: 15,
  attempts: 16,
  /** It gave way, it is in the batch again, and a pass that recomputed it made a token. */
  preemptedNs: 17,
  resumedNs: 18,
  recomputedNs: 19,
} as const;
export type Mark = (typeof Mark)[keyof typeof Mark];
export const MARK_COUNT = 20;

/** Things that happened to no request in particular. */
export const Count = {
  lateFact: 0,
  droppedSave: 1,
  droppedFetch: 2,
  staleMiss: 3,
  parked: 4,
  resync: 5,
  transferFailed: 6,
  demoted: 7,
  promoted: 8,
  prefetched: 9,
  droppedDemotion: 10,
  /** Requests that gave way in decode; of these, swapped to DRAM. */
  preempted: 11,
  swapped: 12,
  /** Blocks that went to their new homes, and those whose home did not take them. */
  moved: 13,
  droppedMove: 14,
} as const;
export type Count = (typeof Count)[keyof typeof Count];
export const COUNT_NAMES = Object.keys(Count) as (keyof typeof Count)[];

export interface Host {
  /** FIFO, at most once per epoch; see PeerReset. */
  send(to: Address, message: Message): void;
  /** One `wake` fact at `atNs` or as soon after as the host can. */
  wakeAt(atNs: number, token: number): void;
  startTransfer(transfer: Transfer): void;
  /** Runs on this instance's GPUs; the fact is `stepEnded`. */
  startStep(step: Step): void;
  /** Runs on this instance's GPUs; the fact is `runEnded`. */
  startRun(run: Run): void;
  /** End the run at the next step boundary. */
  cutRun(run: number): void;
  mark(request: number, mark: Mark, value: number): void;
  count(what: Count, by: number): void;
}

/** A state machine. All of its state is in its fields; see snapshot.ts. */
export interface Machine {
  handle(fact: Fact): void;
}

/** Lives of a machine that ids tell apart; one more shares its ids with one that is long dead. */
const LIVES = 64;

/**
 * Ids carry the incarnation of the machine that gives them, so that late facts of an earlier life
 * are known as such: id = count * LIVES + incarnation. They stay small: what becomes a larger
 * number for the first time has V8 compile anew whatever handles it.
 */
export class IdSource {
  private last: number;

  constructor(incarnation: number) {
    this.last = incarnation % LIVES;
  }

  next(): number {
    this.last += LIVES;
    return this.last;
  }
}
