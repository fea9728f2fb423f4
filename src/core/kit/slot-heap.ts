/**
 * A binary heap of slots with two keys: least (key, tie) first. Slots can be moved and removed
 * anywhere in it. Verbs are O(log n).
 */

const NIL = -1;

export class SlotHeap {
  size = 0;
  private readonly heap: Int32Array;
  /** Place of a slot in the heap, or -1. */
  private readonly placeOf: Int32Array;
  private readonly keys: Float64Array;
  private readonly ties: Float64Array;

  constructor(capacity: number) {
    this.heap = new Int32Array(capacity);
    this.placeOf = new Int32Array(capacity).fill(NIL);
    this.keys = new Float64Array(capacity);
    this.ties = new Float64Array(capacity);
  }

  /** Slot with the least key, or -1. */
  top(): number {
    return this.size === 0 ? NIL : this.heap[0];
  }

  has(slot: number): boolean {
    return this.placeOf[slot] !== NIL;
  }

  key(slot: number): number {
    return this.keys[slot];
  }

  /** Add a slot, or give it new keys. */
  set(slot: number, key: number, tie: number): void {
    let place = this.placeOf[slot];
    if (place === NIL) place = this.size++;
    this.keys[slot] = key;
    this.ties[slot] = tie;
    this.settle(slot, place);
  }

  /** Does nothing when the slot is not there. */
  remove(slot: number): void {
    const place = this.placeOf[slot];
    if (place === NIL) return;
    this.placeOf[slot] = NIL;
    const last = this.heap[--this.size];
    if (last !== slot) this.settle(last, place);
  }

  /** Least slot without a flag, or -1. Looks at the flagged ones above it and their children. */
  firstClear(flags: Uint8Array): number {
    let best = NIL;
    const stack = [0];
    while (stack.length > 0) {
      const place = stack.pop()!;
      if (place >= this.size) continue;
      const slot = this.heap[place];
      if (best !== NIL && !this.before(slot, best)) continue;
      if (flags[slot] === 0) best = slot;
      else stack.push(2 * place + 1, 2 * place + 2);
    }
    return best;
  }

  private before(a: number, b: number): boolean {
    const keyA = this.keys[a];
    const keyB = this.keys[b];
    return keyA < keyB || (keyA === keyB && this.ties[a] < this.ties[b]);
  }

  /** Write a slot at `place` or where it belongs above or below. */
  private settle(slot: number, place: number): void {
    const heap = this.heap;
    const placeOf = this.placeOf;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const other = heap[parent];
      if (!this.before(slot, other)) break;
      heap[place] = other;
      placeOf[other] = place;
      place = parent;
    }
    const size = this.size;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= size) break;
      if (child + 1 < size && this.before(heap[child + 1], heap[child])) child++;
      const other = heap[child];
      if (!this.before(other, slot)) break;
      heap[place] = other;
      placeOf[other] = place;
      place = child;
    }
    heap[place] = slot;
    placeOf[slot] = place;
  }
}
