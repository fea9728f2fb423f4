/** Doubly linked lists of slots: any number of lists over one pair of link arrays. */

const NIL = -1;

/** Links shared by lists whose members never overlap. */
export class SlotLinks {
  readonly newer: Int32Array;
  readonly older: Int32Array;

  constructor(capacity: number) {
    this.newer = new Int32Array(capacity).fill(NIL);
    this.older = new Int32Array(capacity).fill(NIL);
  }
}

/** One list. Head is the newest end, tail the oldest. Every verb is O(1). */
export class SlotList {
  /** Newest slot, or -1. */
  head = NIL;
  /** Oldest slot, or -1. */
  tail = NIL;
  size = 0;
  private readonly newer: Int32Array;
  private readonly older: Int32Array;

  constructor(links: SlotLinks) {
    this.newer = links.newer;
    this.older = links.older;
  }

  pushHead(slot: number): void {
    const head = this.head;
    this.newer[slot] = NIL;
    this.older[slot] = head;
    if (head === NIL) this.tail = slot;
    else this.newer[head] = slot;
    this.head = slot;
    this.size++;
  }

  pushTail(slot: number): void {
    const tail = this.tail;
    this.older[slot] = NIL;
    this.newer[slot] = tail;
    if (tail === NIL) this.head = slot;
    else this.older[tail] = slot;
    this.tail = slot;
    this.size++;
  }

  remove(slot: number): void {
    const newer = this.newer[slot];
    const older = this.older[slot];
    if (newer === NIL) this.head = older;
    else this.older[newer] = older;
    if (older === NIL) this.tail = newer;
    else this.newer[older] = newer;
    this.size--;
  }

  moveToHead(slot: number): void {
    if (this.head === slot) return;
    this.remove(slot);
    this.pushHead(slot);
  }

  /** Neighbour towards the head, or -1. */
  newerThan(slot: number): number {
    return this.newer[slot];
  }

  /** Neighbour towards the tail, or -1. */
  olderThan(slot: number): number {
    return this.older[slot];
  }

  /** Oldest slot without a flag, or -1. Looks at the flagged ones that are older. */
  oldestClear(flags: Uint8Array): number {
    let slot = this.tail;
    while (slot !== NIL && flags[slot] !== 0) slot = this.newer[slot];
    return slot;
  }
}
