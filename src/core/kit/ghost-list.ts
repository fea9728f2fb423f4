/**
 * Blocks that went, newest to oldest, for policies that learn from what comes back. Bounded: the
 * oldest is forgotten when there is no room. Lookup is by a table over the dense block ids.
 */

/** Every verb is O(1). */
export class GhostList {
  /** Remembered blocks. */
  size = 0;
  readonly capacity: number;
  /** Entry of a block plus one; 0 when it is not remembered. Grows with the block ids. */
  private entryOf = new Int32Array(64);
  private readonly blocks: Int32Array;
  /** A ring of entries; entry `capacity` closes it: newer than the newest, older than the oldest. */
  private readonly newer: Int32Array;
  private readonly older: Int32Array;
  /** First free entry; the free ones are chained through `older`. */
  private free = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.blocks = new Int32Array(capacity);
    this.newer = new Int32Array(capacity + 1);
    this.older = new Int32Array(capacity + 1);
    for (let entry = 0; entry < capacity; entry++) this.older[entry] = entry + 1;
    this.newer[capacity] = capacity;
    this.older[capacity] = capacity;
  }

  has(block: number): boolean {
    return block < this.entryOf.length && this.entryOf[block] !== 0;
  }

  /** Remember a block as the newest; one that is remembered already becomes the newest. */
  push(block: number): void {
    if (this.capacity === 0) return;
    this.delete(block);
    if (this.size === this.capacity) this.dropOldest();
    if (block >= this.entryOf.length) this.grow(block);
    const end = this.capacity;
    const entry = this.free;
    const newest = this.older[end];
    this.free = this.older[entry];
    this.blocks[entry] = block;
    this.entryOf[block] = entry + 1;
    this.older[entry] = newest;
    this.newer[entry] = end;
    this.newer[newest] = entry;
    this.older[end] = entry;
    this.size++;
  }

  /** Forget a block; false when it was not remembered. */
  delete(block: number): boolean {
    if (!this.has(block)) return false;
    const entry = this.entryOf[block] - 1;
    const newer = this.newer[entry];
    const older = this.older[entry];
    this.newer[older] = newer;
    this.older[newer] = older;
    this.older[entry] = this.free;
    this.free = entry;
    this.entryOf[block] = 0;
    this.size--;
    return true;
  }

  /** Forget the oldest block and return it; -1 when there is none. */
  dropOldest(): number {
    if (this.size === 0) return -1;
    const block = this.blocks[this.newer[this.capacity]];
    this.delete(block);
    return block;
  }

  private grow(block: number): void {
    const grown = new Int32Array(Math.max(block + 1, 2 * this.entryOf.length));
    grown.set(this.entryOf);
    this.entryOf = grown;
  }
}
