/** Selection and percentiles over columns of numbers. */

let scratch = new Float64Array(1024);

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
  if (scratch.length < n) scratch = new Float64Array(2 * n);
  for (let i = 0; i < n; i++) scratch[i] = values[from + i];
  scratch[0] = first;
  selectLargest(scratch, n, count);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += scratch[i];
  return sum / count;
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
