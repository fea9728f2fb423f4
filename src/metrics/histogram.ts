/**
 * Histogram of durations with buckets of constant relative width, for counts too many to keep. A
 * percentile is the middle of its bucket: within 0.4 % of the true value.
 */

/** Buckets per doubling. */
const RESOLUTION = 128;
/** Durations from 1 ns to 2^44 ns (about five hours). */
const DOUBLINGS = 44;

export class GapHistogram {
  private readonly counts = new Float64Array(RESOLUTION * DOUBLINGS);
  total = 0;

  add(durationNs: number, times: number): void {
    this.counts[bucket(durationNs)] += times;
    this.total += times;
  }

  /** Adds values[from .. to), each so many times. */
  addAll(values: Float64Array, from: number, to: number, times: number): void {
    const { counts } = this;
    let index = 0;
    // Successive steps of a batch last about as long: mostly they share a bucket.
    let leastNs = Number.POSITIVE_INFINITY;
    let endNs = 0;
    for (let i = from; i < to; i++) {
      const ns = values[i];
      if (ns < leastNs || ns >= endNs) {
        index = bucket(ns);
        leastNs = least(index);
        endNs = least(index + 1);
      }
      counts[index] += times;
    }
    this.total += times * (to - from);
  }

  /** Nearest-rank percentile, ns; null when empty. */
  percentile(share: number): number | null {
    if (this.total === 0) return null;
    let left = Math.max(1, Math.ceil(share * this.total));
    for (let i = 0; i < this.counts.length; i++) {
      left -= this.counts[i];
      if (left <= 0) return middle(i);
    }
    return middle(this.counts.length - 1);
  }
}

/** Buckets are linear within each doubling, so that no logarithm is needed. */
const PER_NS = Float64Array.from({ length: 64 }, (_, doubling) => RESOLUTION / 2 ** doubling);
const UNIT_NS = Float64Array.from({ length: DOUBLINGS + 1 }, (_, doubling) => 2 ** doubling);
const TOP_NS = 2 ** DOUBLINGS - 1;

function bucket(durationNs: number): number {
  const ns = Math.min(Math.max(durationNs, 1), TOP_NS);
  const doubling = ns < 0x80000000 ? 31 - Math.clz32(ns) : 62 - Math.clz32(ns / 0x80000000);
  return (doubling - 1) * RESOLUTION + Math.trunc(ns * PER_NS[doubling]);
}

/** Where a bucket begins. */
function least(index: number): number {
  return (1 + (index & (RESOLUTION - 1)) / RESOLUTION) * UNIT_NS[Math.floor(index / RESOLUTION)];
}

function middle(index: number): number {
  const doubling = Math.floor(index / RESOLUTION);
  return Math.round(2 ** doubling * (1 + ((index % RESOLUTION) + 0.5) / RESOLUTION));
}
