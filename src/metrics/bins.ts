/**
 * Sums over time in a bounded number of bins of a round width. A run that outlasts its bins widens
 * them: to the next round width that whole bins fit into.
 */

/** Most bins of the expected span; a run may last a third longer before they widen. */
const TARGET_BINS = 360;
const MAX_BINS = 480;

const MS = 1e6;
const S = 1e9;
const MIN = 60 * S;
const H = 60 * MIN;

/** Widths that people read easily, ns. */
const WIDTHS_NS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => n * MS),
  ...[1, 2, 5, 10, 20, 30].map((n) => n * S),
  ...[1, 2, 5, 10, 20, 30].map((n) => n * MIN),
  ...[1, 2, 6, 12, 24].map((n) => n * H),
];

/** The least round width that cuts `spanNs` into at most 360 bins. */
export function binWidthNs(spanNs: number): number {
  const fits = WIDTHS_NS.find((width) => spanNs <= width * TARGET_BINS);
  return fits ?? Math.ceil(spanNs / TARGET_BINS / (24 * H)) * 24 * H;
}

/** The next round width that is a multiple of this one. */
function widerNs(binNs: number): number {
  return WIDTHS_NS.find((width) => width > binNs && width % binNs === 0) ?? 2 * binNs;
}

export class BinnedSums {
  binNs: number;
  private readonly rows: Float64Array[];

  constructor(rows: number, binNs: number) {
    this.binNs = binNs;
    this.rows = Array.from({ length: rows }, () => new Float64Array(MAX_BINS));
  }

  add(row: number, atNs: number, amount: number): void {
    this.reach(atNs);
    this.rows[row][Math.floor(atNs / this.binNs)] += amount;
  }

  /** Spreads `amount` evenly over [fromNs, toNs). */
  addSpan(row: number, fromNs: number, toNs: number, amount: number): void {
    if (toNs <= fromNs) {
      if (amount !== 0) this.add(row, fromNs, amount);
      return;
    }
    this.reach(toNs);
    const { binNs } = this;
    const sums = this.rows[row];
    const perNs = amount / (toNs - fromNs);
    const last = Math.ceil(toNs / binNs) - 1;
    let bin = Math.floor(fromNs / binNs);
    for (let atNs = fromNs; bin < last; bin++) {
      const nextNs = (bin + 1) * binNs;
      sums[bin] += perNs * (nextNs - atNs);
      atNs = nextNs;
    }
    sums[last] += perNs * (toNs - Math.max(fromNs, last * binNs));
  }

  /** Bins up to the one that holds `endNs`. */
  binsTo(endNs: number): number {
    this.reach(endNs);
    return Math.floor(endNs / this.binNs) + 1;
  }

  /** Sums of the first `bins` bins. */
  row(row: number, bins: number): Float64Array {
    return this.rows[row].slice(0, bins);
  }

  private reach(ns: number): void {
    while (ns >= this.binNs * MAX_BINS) this.widen();
  }

  private widen(): void {
    const wideNs = widerNs(this.binNs);
    const times = wideNs / this.binNs;
    for (const sums of this.rows) {
      for (let bin = 0; bin < MAX_BINS; bin++) {
        const value = sums[bin];
        sums[bin] = 0;
        sums[Math.floor(bin / times)] += value;
      }
    }
    this.binNs = wideNs;
  }
}
