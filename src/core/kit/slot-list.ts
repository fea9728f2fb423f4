/** Doubly linked lists of slots: any number of lists over one array of links. */

const NIL = -1;

/** Links shared by lists whose members never overlap. */
export class SlotLinks {
  /**
   * Of slot s: the newer neighbour at 2s, the older one at 2s + 1, so that both are in one line.
   */
  readonly pairs: Int32Array;

  constructor(capacity: number) {
    this.pairs = new Int32Array(2 * capacity).fill(NIL);
  }
}

/**
 * One list. Head is the newest end, tail the oldest. Every verb is O(1) unless it says otherwise.
 */
export class SlotList {
  /** Newest slot, or -1. */
  head = NIL;
  /** Oldest slot, or -1. */
  tail = NIL;
  size = 0;
  private readonly links: Int32Array;

  constructor(links: SlotLinks) {
    this.links = links.pairs;
  }

  pushHead(slot: number): void {
    const links = this.links;
    const head = this.head;
    links[2 * slot] = NIL;
    links[2 * slot + 1] = head;
    if (head === NIL) this.tail = slot;
    else links[2 * head] = slot;
    this.head = slot;
    this.size++;
  }

  pushTail(slot: number): void {
    const links = this.links;
    const tail = this.tail;
    links[2 * slot] = tail;
    links[2 * slot + 1] = NIL;
    if (tail === NIL) this.head = slot;
    else links[2 * tail + 1] = slot;
    this.tail = slot;
    this.size++;
  }

  remove(slot: number): void {
    const links = this.links;
    const newer = links[2 * slot];
    const older = links[2 * slot + 1];
    if (newer === NIL) this.head = older;
    else links[2 * newer + 1] = older;
    if (older === NIL) this.tail = newer;
    else links[2 * older] = newer;
    this.size--;
  }

  moveToHead(slot: number): void {
    const head = this.head;
    if (head === slot) return;
    const links = this.links;
    const newer = links[2 * slot];
    const older = links[2 * slot + 1];
    links[2 * newer + 1] = older;
    if (older === NIL) this.tail = newer;
    else links[2 * older] = newer;
    links[2 * slot] = NIL;
    links[2 * slot + 1] = head;
    links[2 * head] = slot;
    this.head = slot;
  }

  /** Neighbour towards the head, or -1. */
  newerThan(slot: number): number {
    return this.links[2 * slot];
  }

  /** Neighbour towards the tail, or -1. */
  olderThan(slot: number): number {
    return this.links[2 * slot + 1];
  }

  /** Oldest slot without a flag, or -1. Looks at the flagged ones that are older. */
  oldestClear(flags: Uint8Array): number {
    let slot = this.tail;
    while (slot !== NIL && flags[slot] !== 0) slot = this.links[2 * slot];
    return slot;
  }
}
