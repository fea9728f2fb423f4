/**
 * What rail policies share: which rails may be used, slices dealt evenly or to a common level, and
 * the two ends of a transfer joined into pairs.
 */
import { assert } from './errors.ts';
import type { RailEnd, RailPolicy, RailTransfer } from './policy.ts';

/**
 * Marks in `use` the rails of one end that a policy may choose from, and answers how many they are:
 * those that don't rest, of these only the near ones if asked for and there are any; all when all
 * rest.
 */
export function usableRails(end: RailEnd, nearOnly: boolean, use: Uint8Array): number {
  const { rails, near } = end;
  const { count, resting } = rails;
  let awake = 0;
  let close = 0;
  for (let r = 0; r < count; r++) {
    if (resting[r] !== 0) continue;
    awake++;
    if (near[r] !== 0) close++;
  }
  const closeOnly = nearOnly && close > 0;
  for (let r = 0; r < count; r++) {
    const usable = awake === 0 || (resting[r] === 0 && (!closeOnly || near[r] !== 0));
    use[r] = usable ? 1 : 0;
  }
  if (awake === 0) return count;
  return closeOnly ? close : awake;
}

/**
 * Deals `slices` evenly over the rails marked in `use`; the first of what is left over goes to the
 * first of them from rail `from` on. Answers the rail after the last that got one of the rest.
 */
export function dealEvenly(
  slices: number,
  use: Uint8Array,
  count: number,
  from: number,
  out: Int32Array,
): number {
  let usable = 0;
  for (let r = 0; r < count; r++) usable += use[r];
  assert(usable > 0, 'no rail to deal slices to');
  const each = Math.floor(slices / usable);
  let rest = slices - each * usable;
  for (let r = 0; r < count; r++) out[r] = use[r] === 0 ? 0 : each;
  let rail = from % count;
  while (rest > 0) {
    if (use[rail] !== 0) {
      out[rail]++;
      rest--;
    }
    rail = (rail + 1) % count;
  }
  return rail;
}

/**
 * Deals slices as if each in turn went to the marked rail that would be through with it first:
 * rail r works off `rate[r]` and is busy for `busy[r]` already (rates and times in any one unit).
 * Closed form for the many slices of a large transfer, slice by slice for the last few.
 */
export function dealToLevel(
  slices: number,
  sliceBytes: number,
  use: Uint8Array,
  count: number,
  rate: Float64Array,
  busy: Float64Array,
  out: Int32Array,
): void {
  const level = commonLevel(Math.max(0, slices - count) * sliceBytes, use, count, rate, busy);
  let left = slices;
  for (let r = 0; r < count; r++) {
    const bytes = use[r] === 0 ? 0 : Math.max(0, level - busy[r]) * rate[r];
    out[r] = Math.min(left, Math.floor(bytes / sliceBytes));
    left -= out[r];
  }
  while (left-- > 0) {
    let first = -1;
    let firstAt = Number.POSITIVE_INFINITY;
    for (let r = 0; r < count; r++) {
      if (use[r] === 0) continue;
      const at = busy[r] + ((out[r] + 1) * sliceBytes) / rate[r];
      if (first < 0 || at < firstAt) {
        first = r;
        firstAt = at;
      }
    }
    assert(first >= 0, 'no rail to deal slices to');
    out[first]++;
  }
}

/** The time at which all used rails are through if `bytes` fill them up to one level. */
function commonLevel(
  bytes: number,
  use: Uint8Array,
  count: number,
  rate: Float64Array,
  busy: Float64Array,
): number {
  let level = Number.POSITIVE_INFINITY;
  // Rails that are busy beyond the level of the others get nothing; at most `count` rounds.
  for (let round = 0; round < count; round++) {
    let rates = 0;
    let ahead = 0;
    for (let r = 0; r < count; r++) {
      if (use[r] === 0 || busy[r] >= level) continue;
      rates += rate[r];
      ahead += busy[r] * rate[r];
    }
    if (rates === 0) break;
    const next = (bytes + ahead) / rates;
    if (next >= level) break;
    level = next;
  }
  return level === Number.POSITIVE_INFINITY ? 0 : level;
}

/**
 * Joins the two ends: what rails of one number have in common goes between them, as a fabric with a
 * plane per rail wants it, the rest in order. The sums of `source` and `target` are equal.
 */
export function pairRails(
  source: Int32Array,
  sources: number,
  target: Int32Array,
  targets: number,
  pairs: Int32Array,
): void {
  for (let r = 0; r < Math.min(sources, targets); r++) {
    const both = Math.min(source[r], target[r]);
    pairs[r * targets + r] += both;
    source[r] -= both;
    target[r] -= both;
  }
  let t = 0;
  for (let s = 0; s < sources; s++) {
    while (source[s] > 0) {
      while (target[t] === 0) t++;
      const both = Math.min(source[s], target[t]);
      pairs[s * targets + t] += both;
      source[s] -= both;
      target[t] -= both;
    }
  }
}

/** A rail policy that decides at each end by itself, by one rule. */
export abstract class EndwiseRails implements RailPolicy {
  protected use = new Uint8Array(0);
  private source = new Int32Array(0);
  private target = new Int32Array(0);

  spread(transfer: RailTransfer, pairs: Int32Array): void {
    const { source, target } = transfer;
    const sources = source.rails.count;
    const targets = target.rails.count;
    this.fit(Math.max(sources, targets));
    this.deal(source, transfer, this.source);
    this.deal(target, transfer, this.target);
    pairRails(this.source, sources, this.target, targets, pairs);
  }

  /** Fills the first `end.rails.count` of `out`, whose sum is `transfer.slices`. */
  protected abstract deal(end: RailEnd, transfer: RailTransfer, out: Int32Array): void;

  protected fit(rails: number): void {
    if (rails <= this.use.length) return;
    this.use = new Uint8Array(rails);
    this.source = new Int32Array(rails);
    this.target = new Int32Array(rails);
  }
}
