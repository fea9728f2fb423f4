/**
 * Blocks that went, in one list or two from newest to oldest, for policies that learn from what
 * comes back. A block is in at most one list. The table over dense block ids grows with them, the
 * rest is bounded.
 */
import { SlotLinks, SlotList } from './slot-list.ts';

const NONE = -1;

/** Every verb is O(1). */
export class GhostLists {
  /** Blocks that all lists together can remember. */
  readonly capacity: number;
  private readonly lists: SlotList[] = [];
  /** 1 + list + 2 x entry, of a block; 0 when it is not remembered. */
  private table = new Int32Array(64);
  private readonly blockOf: Int32Array;
  private readonly freeEntries: Int32Array;
  private freeCount: number;

  constructor(capacity: number, lists: 1 | 2 = 1) {
    this.capacity = capacity;
    const links = new SlotLinks(capacity);
    for (let i = 0; i < lists; i++) this.lists.push(new SlotList(links));
    this.blockOf = new Int32Array(capacity);
    this.freeEntries = new Int32Array(capacity);
    for (let i = 0; i < capacity; i++) this.freeEntries[i] = capacity - 1 - i;
    this.freeCount = capacity;
  }

  size(list = 0): number {
    return this.lists[list].size;
  }

  /** The list that remembers a block, or -1. */
  find(block: number): number {
    const place = block < this.table.length ? this.table[block] : 0;
    return place === 0 ? NONE : (place - 1) & 1;
  }

  /** Remember a block that is in no list as the newest. Full lists make room: their oldest goes. */
  push(block: number, list = 0): void {
    if (this.capacity === 0) return;
    if (this.find(block) !== NONE) this.delete(block);
    if (this.freeCount === 0) this.dropOldest(this.lists[list].size > 0 ? list : 1 - list);
    if (block >= this.table.length) this.grow(block);
    const entry = this.freeEntries[--this.freeCount];
    this.blockOf[entry] = block;
    this.table[block] = 1 + list + 2 * entry;
    this.lists[list].pushHead(entry);
  }

  /** Forget a block; the list that it was in, or -1. */
  delete(block: number): number {
    const place = block < this.table.length ? this.table[block] : 0;
    if (place === 0) return NONE;
    const list = (place - 1) & 1;
    const entry = (place - 1) >> 1;
    this.table[block] = 0;
    this.lists[list].remove(entry);
    this.freeEntries[this.freeCount++] = entry;
    return list;
  }

  /** Forget the oldest block of a list; does nothing when there is none. */
  dropOldest(list = 0): void {
    const entry = this.lists[list].tail;
    if (entry === NONE) return;
    this.table[this.blockOf[entry]] = 0;
    this.lists[list].remove(entry);
    this.freeEntries[this.freeCount++] = entry;
  }

  private grow(block: number): void {
    const grown = new Int32Array(Math.max(block + 1, 2 * this.table.length));
    grown.set(this.table);
    this.table = grown;
  }
}
