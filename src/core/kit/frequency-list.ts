/**
 * Slots in order of (count, recency): the least frequently used first, among equal counts the least
 * recently used. Every verb is O(1), as in Shah, Mitra and Matani, "An O(1) algorithm for
 * implementing the LFU cache eviction scheme" (2010), but over one ring of slots, in which slots of
 * equal count are a run.
 */

const NIL = -1;

export class FrequencyList {
  /** Slot number `end` closes the ring: newer than the last slot, older than the first. */
  private readonly end: number;
  private readonly newer: Int32Array;
  private readonly older: Int32Array;
  private readonly runOf: Int32Array;
  /** Per run: the count of its slots, and the most recently used one. */
  private readonly runCount: Int32Array;
  private readonly runNewest: Int32Array;
  private readonly freeRuns: Int32Array;
  private freeRunCount: number;

  constructor(slots: number) {
    this.end = slots;
    this.newer = new Int32Array(slots + 1).fill(slots);
    this.older = new Int32Array(slots + 1).fill(slots);
    // Run `slots` is the ring's end alone; its count joins with no other.
    this.runOf = new Int32Array(slots + 1).fill(slots);
    this.runCount = new Int32Array(slots + 1).fill(-1);
    this.runNewest = new Int32Array(slots + 1).fill(slots);
    this.freeRuns = new Int32Array(slots);
    for (let run = 0; run < slots; run++) this.freeRuns[run] = run;
    this.freeRunCount = slots;
  }

  /** A new slot with count 1. */
  add(slot: number): void {
    const lowest = this.runOf[this.newer[this.end]];
    if (this.runCount[lowest] === 1) this.place(slot, lowest, this.runNewest[lowest]);
    else this.place(slot, this.openRun(1), this.end);
  }

  /** One more use. */
  count(slot: number): void {
    const run = this.runOf[slot];
    const count = this.runCount[run] + 1;
    const newest = this.runNewest[run];
    const next = this.runOf[this.newer[newest]];
    const joins = this.runCount[next] === count;
    if (!joins && newest === slot && this.runOf[this.older[slot]] !== run) {
      this.runCount[run] = count;
      return;
    }
    const below = newest === slot ? this.older[slot] : newest;
    this.remove(slot);
    if (joins) this.place(slot, next, this.runNewest[next]);
    else this.place(slot, this.openRun(count), below);
  }

  /** The slot's run closes when it was the only one there. */
  remove(slot: number): void {
    const run = this.runOf[slot];
    const below = this.older[slot];
    const above = this.newer[slot];
    this.newer[below] = above;
    this.older[above] = below;
    if (this.runNewest[run] !== slot) return;
    if (this.runOf[below] === run) this.runNewest[run] = below;
    else this.freeRuns[this.freeRunCount++] = run;
  }

  /** First in the order, or -1. */
  lowest(): number {
    const slot = this.newer[this.end];
    return slot === this.end ? NIL : slot;
  }

  /** First in the order without a flag, or -1. */
  lowestClear(flags: Uint8Array): number {
    let slot = this.newer[this.end];
    while (slot !== this.end && flags[slot] !== 0) slot = this.newer[slot];
    return slot === this.end ? NIL : slot;
  }

  /** Number of slots, counted along the ring. */
  size(): number {
    let slots = 0;
    for (let slot = this.newer[this.end]; slot !== this.end; slot = this.newer[slot]) slots++;
    return slots;
  }

  private openRun(count: number): number {
    const run = this.freeRuns[--this.freeRunCount];
    this.runCount[run] = count;
    return run;
  }

  /** Put a slot at the newest end of a run, just above slot `below`. */
  private place(slot: number, run: number, below: number): void {
    const above = this.newer[below];
    this.older[slot] = below;
    this.newer[slot] = above;
    this.newer[below] = slot;
    this.older[above] = slot;
    this.runOf[slot] = run;
    this.runNewest[run] = slot;
  }
}
