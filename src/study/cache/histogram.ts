/** Counts in bins that double: [0, 1), [1, 2), [2, 4), [4, 8) … times a unit. */

export interface HistogramBin {
  /** Values from here on, below `to`. */
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

export class DoublingHistogram {
  private readonly unit: number;
  private readonly counts: number[] = [];
  private values = 0;
  private sum = 0;

  constructor(unit = 1) {
    this.unit = unit;
  }

  add(value: number, count = 1): void {
    const steps = value / this.unit;
    let bin = steps < 1 ? 0 : 1 + Math.floor(Math.log2(steps));
    // Rounding of the logarithm may be off by one at a power of two.
    if (bin > 0 && 2 ** (bin - 1) > steps) bin--;
    else if (2 ** bin <= steps) bin++;
    while (this.counts.length <= bin) this.counts.push(0);
    this.counts[bin] += count;
    this.values += count;
    this.sum += value * count;
  }

  get count(): number {
    return this.values;
  }

  /** Null without values. */
  get mean(): number | null {
    return this.values === 0 ? null : this.sum / this.values;
  }

  /** Up to the last bin that has something. */
  bins(): HistogramBin[] {
    return this.counts.map((count, bin) => ({
      from: bin === 0 ? 0 : 2 ** (bin - 1) * this.unit,
      to: 2 ** bin * this.unit,
      count,
    }));
  }
}
