/**
 * One pool of block slots under an eviction policy: which block lies where, and what was counted.
 */
import type { EvictionContext, Future, Pinned } from '../../core/policy.ts';

const NONE = -1;

/** State that the replay loops work on. They own the invariants, so all fields are open to them. */
export class CachePool {
  readonly capacitySlots: number;
  /** Slot of each block, or -1. */
  slotOf: Int32Array;
  readonly blockOf: Int32Array;
  /** A stack; its top is `freeSlots[freeCount - 1]`. */
  readonly freeSlots: Int32Array;
  freeCount: number;
  /** Nothing is pinned in a study: no transfer takes time. */
  readonly pinned: Pinned;
  /** Time to recompute the block at each depth. */
  readonly recomputeNs: Float64Array;

  /** Accesses that found their block. */
  hits = 0;
  /** Hits of the last counted access of a call. */
  tailHits = 0;
  insertions = 0;
  evictions = 0;
  /** Insertions that the policy declined. */
  refusals = 0;
  /** Recompute time of the blocks in `hits`. */
  savedNs = 0;

  constructor(capacitySlots: number, distinctBlocks: number, recomputeNs: Float64Array) {
    this.capacitySlots = capacitySlots;
    this.recomputeNs = recomputeNs;
    this.slotOf = new Int32Array(distinctBlocks).fill(NONE);
    this.blockOf = new Int32Array(capacitySlots).fill(NONE);
    this.freeSlots = new Int32Array(capacitySlots);
    for (let i = 0; i < capacitySlots; i++) this.freeSlots[i] = capacitySlots - 1 - i;
    this.freeCount = capacitySlots;
    this.pinned = { count: 0, flags: new Uint8Array(capacitySlots) };
  }

  /** Make room for ids below `distinctBlocks`. */
  reserve(distinctBlocks: number): void {
    if (distinctBlocks <= this.slotOf.length) return;
    const grown = new Int32Array(2 * distinctBlocks).fill(NONE);
    grown.set(this.slotOf);
    this.slotOf = grown;
  }

  /** The block in a slot is gone. A policy's choice is checked here. */
  free(slot: number): void {
    const block = this.blockOf[slot];
    if (!(block >= 0)) throw new Error(`eviction policy chose slot ${slot}: nothing is there`);
    this.slotOf[block] = NONE;
    this.blockOf[slot] = NONE;
    this.freeSlots[this.freeCount++] = slot;
    this.evictions++;
  }
}

/** What the policy of a replay may know; the loop moves `nowNs` and `position`. */
export class ReplayContext implements EvictionContext {
  readonly capacitySlots: number;
  readonly blockBytes: number;
  readonly blockTokens: number;
  nowNs = 0;
  readonly future: Future | null;
  private readonly recompute: Float64Array;
  private readonly nextRandom: () => number;

  constructor(
    capacitySlots: number,
    block: { bytes: number; tokens: number },
    /** Time to recompute the block at each depth; the last entry stands for deeper ones. */
    recomputeNs: Float64Array,
    random: () => number,
    future: Future | null,
  ) {
    this.capacitySlots = capacitySlots;
    this.blockBytes = block.bytes;
    this.blockTokens = block.tokens;
    this.recompute = recomputeNs;
    this.nextRandom = random;
    this.future = future;
  }

  random(): number {
    return this.nextRandom();
  }

  recomputeNs(depth: number): number {
    return this.recompute[Math.min(depth, this.recompute.length - 1)];
  }
}
