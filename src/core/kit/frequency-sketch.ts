/**
 * Roughly how often a block was counted: a counting Bloom filter whose four 16-bit counters per
 * block lie in one cache line, each in a quarter of its own. An estimate is too high where blocks
 * collide, never too low, except that all are halved at times and that counters stop at 65,535.
 */

const COUNT_MAX = 0xffff;
/** Counters in a line of 64 bytes, and in a quarter of it. */
const LINE = 32;
const QUARTER = 8;
/** A bit above the four choices of three bits. */
const FENCE = 1 << 12;
/** Maps 32 bits to [0, 1). */
const UNIT = 2 ** -32;
/** Odd multipliers that mix well: xxHash's primes 32-2 and 32-3. */
const MIX_A = 0x85ebca77;
const MIX_B = 0xc2b2ae3d;

export class FrequencySketch {
  private readonly counters: Uint16Array;
  private readonly lines: number;

  /** With at least so many counters. */
  constructor(counters: number) {
    this.lines = Math.ceil(counters / LINE);
    this.counters = new Uint16Array(this.lines * LINE);
  }

  /** Count a use; returns the estimate without it. */
  add(block: number): number {
    const counters = this.counters;
    const hash = mix(block);
    const line = this.lineOf(hash);
    const choice = Math.imul(hash, MIX_A) >>> 20;
    const a = line + (choice & 7);
    const b = line + QUARTER + ((choice >>> 3) & 7);
    const c = line + 2 * QUARTER + ((choice >>> 6) & 7);
    const d = line + 3 * QUARTER + (choice >>> 9);
    const countA = counters[a];
    const countB = counters[b];
    const countC = counters[c];
    const countD = counters[d];
    if (countA < COUNT_MAX) counters[a] = countA + 1;
    if (countB < COUNT_MAX) counters[b] = countB + 1;
    if (countC < COUNT_MAX) counters[c] = countC + 1;
    if (countD < COUNT_MAX) counters[d] = countD + 1;
    return Math.min(countA, countB, countC, countD);
  }

  /** Raise only the least counters of a block: fewer collisions count (conservative update). */
  addLeast(block: number): void {
    const counters = this.counters;
    const least = this.estimate(block);
    if (least === COUNT_MAX) return;
    const hash = mix(block);
    let at = this.lineOf(hash);
    for (let choice = (Math.imul(hash, MIX_A) >>> 20) | FENCE; choice > 1; choice >>>= 3) {
      if (counters[at + (choice & 7)] === least) counters[at + (choice & 7)] = least + 1;
      at += QUARTER;
    }
  }

  estimate(block: number): number {
    const counters = this.counters;
    const hash = mix(block);
    const line = this.lineOf(hash);
    const choice = Math.imul(hash, MIX_A) >>> 20;
    return Math.min(
      counters[line + (choice & 7)],
      counters[line + QUARTER + ((choice >>> 3) & 7)],
      counters[line + 2 * QUARTER + ((choice >>> 6) & 7)],
      counters[line + 3 * QUARTER + (choice >>> 9)],
    );
  }

  halve(): void {
    const counters = this.counters;
    for (let i = 0; i < counters.length; i++) counters[i] >>>= 1;
  }

  private lineOf(hash: number): number {
    return LINE * Math.floor((hash >>> 0) * UNIT * this.lines);
  }
}

function mix(block: number): number {
  let x = Math.imul(block ^ (block >>> 16), MIX_A);
  x = Math.imul(x ^ (x >>> 13), MIX_B);
  return x ^ (x >>> 16);
}
