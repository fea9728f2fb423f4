/** Percentiles, the mean of the longest gaps, and the histogram, against plain definitions. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GapHistogram } from '../../src/metrics/histogram.ts';
import { distribution, meanOfLongest, percentile } from '../../src/metrics/select.ts';

describe('percentile', () => {
  it('is the nearest rank', () => {
    const values = Float64Array.of(10, 20, 30, 40, 50);
    // ceil(0.5 * 5) = 3rd, ceil(0.9 * 5) = 5th, ceil(0.2 * 5) = 1st.
    expect(percentile(values, 0.5)).toBe(30);
    expect(percentile(values, 0.9)).toBe(50);
    expect(percentile(values, 0.2)).toBe(10);
    expect(percentile(Float64Array.of(), 0.5)).toBeNull();
  });

  it('leaves out what was not measured', () => {
    const { mean, max, p50 } = distribution(Float64Array.of(Number.NaN, 4, Number.NaN, 2));
    expect([mean, p50, max]).toEqual([3, 2, 4]);
  });
});

describe('meanOfLongest', () => {
  it('agrees with sorting, the first value replaced', () => {
    const gaps = fc.oneof(
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 400 }),
      // Rising, as the steps of a batch do.
      fc.integer({ min: 129, max: 600 }).map((n) => Array.from({ length: n }, (_, i) => i >> 2)),
    );
    fc.assert(
      fc.property(gaps, fc.nat(10), fc.integer({ min: 1, max: 80 }), (list, before, first) => {
        const values = Float64Array.from([...Array(before).fill(999), ...list, 999]);
        const count = Math.ceil(0.1 * list.length);
        const sorted = [first, ...list.slice(1)].sort((a, b) => b - a).slice(0, count);
        const expected = sorted.reduce((a, b) => a + b, 0) / count;
        const to = before + list.length;
        expect(meanOfLongest(values, before, to, first, count)).toBeCloseTo(expected, 9);
      }),
    );
  });
});

describe('GapHistogram', () => {
  it('counts many at once as one by one', () => {
    const runs = fc.array(fc.integer({ min: 0, max: 2 ** 45 }), { maxLength: 60 });
    fc.assert(
      fc.property(runs, fc.integer({ min: 1, max: 9 }), (list, times) => {
        const values = Float64Array.from([7, ...list.flatMap((ns) => [ns, ns + 1, ns]), 7]);
        const [one, all] = [new GapHistogram(), new GapHistogram()];
        for (let i = 1; i < values.length - 1; i++) one.add(values[i], times);
        all.addAll(values, 1, values.length - 1, times);
        for (const share of [0.01, 0.3, 0.5, 0.8, 1]) {
          expect(all.percentile(share)).toBe(one.percentile(share));
        }
        expect(all.total).toBe(one.total);
      }),
    );
  });

  it('gives percentiles within 0.4 % of the sorted values', () => {
    const durations = fc.array(fc.integer({ min: 1, max: 1e13 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(durations, fc.double({ min: 0.01, max: 1, noNaN: true }), (list, share) => {
        const histogram = new GapHistogram();
        for (const ns of list) histogram.add(ns, 3);
        const tripled = list.flatMap((ns) => [ns, ns, ns]).sort((a, b) => a - b);
        const exact = tripled[Math.ceil(share * tripled.length) - 1];
        expect(Math.abs(histogram.percentile(share)! - exact)).toBeLessThanOrEqual(
          Math.max(1, 0.004 * exact),
        );
      }),
    );
  });
});
