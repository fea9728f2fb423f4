/** A set of slots that can be drawn from at random. It keeps its own generator: a draw is cheap. */

const NIL = -1;
/** Maps 32 bits to [0, 1). */
const UNIT = 2 ** -32;

export class SlotSampler {
  size = 0;
  private readonly slots: Int32Array;
  /** Place of a slot in `slots`, or -1. */
  private readonly placeOf: Int32Array;
  /** xorshift32 (Marsaglia, 2003); never zero. */
  private state: number;

  /** `random`: uniform in [0, 1), drawn from once. */
  constructor(capacity: number, random: () => number) {
    this.slots = new Int32Array(capacity);
    this.placeOf = new Int32Array(capacity).fill(NIL);
    this.state = 1 + Math.floor(random() * 0x7ffffffe);
  }

  add(slot: number): void {
    this.placeOf[slot] = this.size;
    this.slots[this.size++] = slot;
  }

  remove(slot: number): void {
    const place = this.placeOf[slot];
    const last = this.slots[--this.size];
    this.slots[place] = last;
    this.placeOf[last] = place;
    this.placeOf[slot] = NIL;
  }

  /** Any slot, with repetition from draw to draw; -1 when the set is empty. */
  draw(): number {
    return this.size === 0 ? NIL : this.slots[this.place()];
  }

  /** A slot without a flag, or -1: the first one from a random place on. */
  drawClear(flags: Uint8Array): number {
    let place = this.size === 0 ? 0 : this.place();
    for (let left = this.size; left > 0; left--) {
      if (flags[this.slots[place]] === 0) return this.slots[place];
      place = place + 1 === this.size ? 0 : place + 1;
    }
    return NIL;
  }

  /** The n-th slot of an arbitrary but reproducible order. */
  at(place: number): number {
    return this.slots[place];
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return (x >>> 0) * UNIT;
  }

  /** The bias is below size / 2^32. */
  private place(): number {
    return Math.floor(this.uniform() * this.size);
  }
}
