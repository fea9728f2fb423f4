/**
 * Roughly how often a block was counted: a counting Bloom filter with four 16-bit counters per block.
 * An estimate is too high where blocks collide, never too low, except that all are halved at times
 * and that counters stop at 65,535. The number of counters is a power of two.
 */

const HASHES = 4;
const COUNT_MAX = 0xffff;
/** Odd multipliers that mix well: xxHash's primes 32-2 and 32-3. */
const MIX_A = 0x85ebca77;
const MIX_B = 0xc2b2ae3d;

export class FrequencySketch {
  private readonly counters: Uint16Array;
  private readonly mask: number;

  /** With at least so many counters. */
  constructor(counters: number) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(counters, HASHES)));
    this.counters = new Uint16Array(size);
    this.mask = size - 1;
  }

  add(block: number): void {
    const { counters, mask } = this;
    const step = mix(block, MIX_B) | 1;
    let at = mix(block, MIX_A);
    for (let i = 0; i < HASHES; i++) {
      const count = counters[at & mask];
      if (count < COUNT_MAX) counters[at & mask] = count + 1;
      at += step;
    }
  }

  /** Raise only the least counters of a block: fewer collisions count (conservative update). */
  addLeast(block: number): void {
    const { counters, mask } = this;
    const count = this.estimate(block);
    if (count === COUNT_MAX) return;
    const step = mix(block, MIX_B) | 1;
    let at = mix(block, MIX_A);
    for (let i = 0; i < HASHES; i++) {
      if (counters[at & mask] === count) counters[at & mask] = count + 1;
      at += step;
    }
  }

  estimate(block: number): number {
    const { counters, mask } = this;
    const step = mix(block, MIX_B) | 1;
    let at = mix(block, MIX_A);
    let least = COUNT_MAX;
    for (let i = 0; i < HASHES; i++) {
      const count = counters[at & mask];
      if (count < least) least = count;
      at += step;
    }
    return least;
  }

  halve(): void {
    const counters = this.counters;
    for (let i = 0; i < counters.length; i++) counters[i] >>>= 1;
  }
}

function mix(block: number, multiplier: number): number {
  let x = Math.imul(block ^ (block >>> 15), multiplier);
  x = Math.imul(x ^ (x >>> 13), MIX_B);
  return x ^ (x >>> 16);
}
