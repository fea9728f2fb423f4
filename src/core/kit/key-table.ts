/** A map from keys of four 32-bit words to small numbers: open addressing over typed arrays. */

const FIRST_PLACES = 1024;

export class KeyTable {
  private places = FIRST_PLACES;
  private words = new Int32Array(4 * FIRST_PLACES);
  /** Value of each place plus one; 0: empty. */
  private values = new Int32Array(FIRST_PLACES);
  private count = 0;

  get size(): number {
    return this.count;
  }

  /** The value of the key at keys[at, at + 4), or -1. */
  find(keys: Int32Array, at: number): number {
    return this.values[this.placeOf(keys, at)] - 1;
  }

  /** `value` is at least 0. */
  set(keys: Int32Array, at: number, value: number): void {
    const place = this.placeOf(keys, at);
    if (this.values[place] === 0) this.count++;
    this.put(place, keys, at, value + 1);
    if (2 * this.count > this.places) this.grow();
  }

  /** False: it was not there. */
  delete(keys: Int32Array, at: number): boolean {
    const { values, words } = this;
    const mask = this.places - 1;
    let hole = this.placeOf(keys, at);
    if (values[hole] === 0) return false;
    this.count--;
    // What lies behind moves up, unless that is before its own place.
    for (let next = (hole + 1) & mask; values[next] !== 0; next = (next + 1) & mask) {
      const home = words[4 * next] & mask;
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      this.put(hole, words, 4 * next, values[next]);
      hole = next;
    }
    values[hole] = 0;
    return true;
  }

  private placeOf(keys: Int32Array, at: number): number {
    const { words, values } = this;
    const mask = this.places - 1;
    const first = keys[at];
    for (let place = first & mask; ; place = (place + 1) & mask) {
      if (values[place] === 0) return place;
      const own = 4 * place;
      const same =
        words[own] === first &&
        words[own + 1] === keys[at + 1] &&
        words[own + 2] === keys[at + 2] &&
        words[own + 3] === keys[at + 3];
      if (same) return place;
    }
  }

  private put(place: number, keys: Int32Array, at: number, value: number): void {
    for (let i = 0; i < 4; i++) this.words[4 * place + i] = keys[at + i];
    this.values[place] = value;
  }

  private grow(): void {
    const { words, values } = this;
    this.places *= 2;
    this.words = new Int32Array(4 * this.places);
    this.values = new Int32Array(this.places);
    for (let place = 0; place < values.length; place++) {
      if (values[place] !== 0)
        this.put(this.placeOf(words, 4 * place), words, 4 * place, values[place]);
    }
  }
}
