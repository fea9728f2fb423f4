/**
 * How large a cache the prompts seen would need: LRU stack distances of a sample of the blocks
 * (Waldspurger et al., "SHARDS", FAST 2015, Algorithm 1: fixed rate by hash, distances scaled up).
 */

/** One block in so many is followed. */
const SAMPLE = 32;
/** Followed at once; the least recently used go first, and count as never seen. */
const FOLLOWED_MAX = 16_384;
const TIMES_MAX = 4 * FOLLOWED_MAX;
/** Per doubling of the distance. */
const BINS_PER_OCTAVE = 8;
const BINS = BINS_PER_OCTAVE * 32;

export class WorkingSet {
  /** Uses of sampled blocks, and of these again, by distance. */
  private uses = 0;
  private readonly reuses = new Float64Array(BINS);
  /** By block: when it was used last; in the order of that. */
  private readonly last = new Map<number, number>();
  /** Fenwick tree over times: 1 where some block was used last. */
  private readonly tree = new Int32Array(TIMES_MAX + 1);
  private now = 0;

  use(block: number): void {
    if ((Math.imul(block, 0x9e3779b1) >>> 0) % SAMPLE !== 0) return;
    if (this.now === TIMES_MAX) this.renumber();
    this.uses++;
    const before = this.last.get(block);
    if (before !== undefined) {
      this.last.delete(block);
      const distance = this.last.size - this.sum(before - 1) + 1;
      this.reuses[binOf(distance * SAMPLE)]++;
      this.add(before, -1);
    } else if (this.last.size >= FOLLOWED_MAX) this.forgetFirst();
    this.last.set(block, this.now);
    this.add(this.now++, 1);
  }

  /**
   * Blocks of an LRU cache that serves this share of the block uses; null: none does, however
   * large.
   * Before a few hundred uses it is a guess.
   */
  blocksFor(share: number): number | null {
    let hits = 0;
    for (let bin = 0; bin < BINS; bin++) {
      hits += this.reuses[bin];
      if (this.uses > 0 && hits >= share * this.uses) return upperOf(bin);
    }
    return null;
  }

  /** Share of the block uses that are not the first of their block. */
  get reusedShare(): number {
    const reused = this.reuses.reduce((sum, count) => sum + count, 0);
    return this.uses === 0 ? 0 : reused / this.uses;
  }

  /** Blocks of all prompts seen, about. */
  get distinctBlocks(): number {
    return this.last.size * SAMPLE;
  }

  private forgetFirst(): void {
    for (const [block, time] of this.last) {
      this.last.delete(block);
      this.add(time, -1);
      return;
    }
  }

  private renumber(): void {
    this.tree.fill(0);
    this.now = 0;
    for (const block of [...this.last.keys()]) {
      this.last.set(block, this.now);
      this.add(this.now++, 1);
    }
  }

  private add(time: number, by: number): void {
    for (let i = time + 1; i <= TIMES_MAX; i += i & -i) this.tree[i] += by;
  }

  /** Blocks whose last use is at `time` or before. */
  private sum(time: number): number {
    let sum = 0;
    for (let i = time + 1; i > 0; i -= i & -i) sum += this.tree[i];
    return sum;
  }
}

function binOf(distance: number): number {
  return Math.min(BINS - 1, Math.floor(Math.log2(distance) * BINS_PER_OCTAVE));
}

function upperOf(bin: number): number {
  return Math.ceil(2 ** ((bin + 1) / BINS_PER_OCTAVE));
}
