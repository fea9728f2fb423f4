/** Selection and percentiles over columns of numbers. */

let scratch = new Float64Array(1024);

/** Values looked at to guess which are among the longest. */
const SAMPLES = 32;
const sample = new Float64Array(SAMPLES);

/**
 * Mean of the `count` longest of values[from + 1 .. to) and `first` in place of values[from].
 * Expected linear time; the input is not changed.
 */
export function meanOfLongest(
  values: Float64Array,
  from: number,
  to: number,
  first: number,
  count: number,
): number {
  const n = to - from;
  if (scratch.length <= n) scratch = new Float64Array(2 * n + 1);
  let kept = 0;
  if (n > 4 * SAMPLES) kept = keepFrom(guess(values, from, to, count / n), values, from, to, first);
  if (kept < count) kept = keepFrom(Number.NEGATIVE_INFINITY, values, from, to, first);
  selectLargest(scratch, kept, count);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += scratch[i];
  return sum / count;
}

/** A value that somewhat more than the `share` longest probably reach. */
function guess(values: Float64Array, from: number, to: number, share: number): number {
  const stride = Math.floor((to - from) / SAMPLES);
  for (let i = 0; i < SAMPLES; i++) sample[i] = values[from + i * stride];
  const rank = Math.min(SAMPLES, Math.ceil(share * SAMPLES) + 3);
  selectLargest(sample, SAMPLES, rank);
  let least = sample[0];
  for (let i = 1; i < rank; i++) least = Math.min(least, sample[i]);
  return least;
}

/** Copies what is at least `least` to the front of `scratch`; answers how many. */
function keepFrom(
  least: number,
  values: Float64Array,
  from: number,
  to: number,
  first: number,
): number {
  const into = scratch;
  let kept = 0;
  if (first >= least) into[kept++] = first;
  // Written whether it stays or not: no branch that the processor could mispredict.
  for (let i = from + 1; i < to; i++) {
    const value = values[i];
    into[kept] = value;
    kept += +(value >= least);
  }
  return kept;
}

/** Moves the `count` largest of values[0 .. n) to the front, in no order (Hoare's quickselect). */
function selectLargest(values: Float64Array, n: number, count: number): void {
  let low = 0;
  let high = n - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let i = low;
    let j = high;
    while (i <= j) {
      while (values[i] > pivot) i++;
      while (values[j] < pivot) j--;
      if (i > j) break;
      const swap = values[i];
      values[i++] = values[j];
      values[j--] = swap;
    }
    if (count - 1 <= j) high = j;
    else if (count - 1 >= i) low = i;
    else return;
  }
}

/** The values that are numbers, ascending. */
export function sortedNumbers(values: Float64Array): Float64Array {
  const ascending = values.slice().sort();
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    // The sort puts NaN last.
    if (Number.isNaN(ascending[middle])) high = middle;
    else low = middle + 1;
  }
  return ascending.subarray(0, low);
}

export function sum(values: Float64Array): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

/** Nearest-rank percentile: the least of the values that `share` of them do not exceed. */
export function percentile(ascending: Float64Array, share: number): number | null {
  if (ascending.length === 0) return null;
  return ascending[Math.max(0, Math.ceil(share * ascending.length) - 1)];
}

export interface Distribution {
  readonly mean: number | null;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

/** Mean, nearest-rank percentiles and maximum; null when there is nothing. */
export function distribution(values: Float64Array): Distribution {
  const ascending = sortedNumbers(values);
  return {
    mean: ascending.length === 0 ? null : sum(ascending) / ascending.length,
    p50: percentile(ascending, 0.5),
    p90: percentile(ascending, 0.9),
    p95: percentile(ascending, 0.95),
    p99: percentile(ascending, 0.99),
    max: percentile(ascending, 1),
  };
}
