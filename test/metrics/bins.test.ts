/** Bins: round widths, sums that nothing is lost from, and widening that changes no sum. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BinnedSums, binWidthNs } from '../../src/metrics/bins.ts';

const S = 1e9;

describe('the width of bins', () => {
  it.each([
    [0, 1e6],
    [360e6, 1e6],
    [361e6, 2e6],
    [3537 * S, 10 * S],
    [3601 * S, 20 * S],
    [24 * 3600 * S, 300 * S],
    [7 * 24 * 3600 * S, 1800 * S],
  ])('for a span of %d ns is %d ns', (spanNs, widthNs) => {
    expect(binWidthNs(spanNs)).toBe(widthNs);
  });

  it('never cuts a span into more than 360', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 50 }), (spanNs) => {
        expect(spanNs / binWidthNs(spanNs)).toBeLessThanOrEqual(360);
      }),
    );
  });
});

describe('sums in bins', () => {
  it('spread an amount by time', () => {
    const sums = new BinnedSums(1, 10);
    sums.addSpan(0, 5, 25, 20); // 5 in the first bin, 10 in the second, 5 in the third.
    sums.addSpan(0, 10, 20, 3); // All of it in the second.
    sums.addSpan(0, 12, 12, 7); // A moment.
    sums.add(0, 30, 1); // The start of a bin belongs to it.
    expect([...sums.row(0, sums.binsTo(30))]).toEqual([5, 20, 5, 1]);
  });

  it('equal those of a slow way, however late the run ends', () => {
    const span = fc.record({
      row: fc.integer({ min: 0, max: 2 }),
      fromNs: fc.integer({ min: 0, max: 40_000_000_000 }),
      lengthNs: fc.integer({ min: 0, max: 3_000_000_000 }),
      amount: fc.integer({ min: 0, max: 1000 }),
    });
    fc.assert(
      fc.property(fc.array(span, { maxLength: 40 }), (spans) => {
        const sums = new BinnedSums(3, 1e6);
        let endNs = 0;
        for (const { row, fromNs, lengthNs, amount } of spans) {
          sums.addSpan(row, fromNs, fromNs + lengthNs, amount);
          endNs = Math.max(endNs, fromNs + lengthNs);
        }
        const bins = sums.binsTo(endNs);
        const { binNs } = sums;
        expect(bins).toBeLessThanOrEqual(480);
        for (let row = 0; row < 3; row++) {
          const expected = new Float64Array(bins);
          for (const { fromNs, lengthNs, amount } of spans.filter((s) => s.row === row)) {
            if (lengthNs === 0) expected[Math.floor(fromNs / binNs)] += amount;
            for (let bin = 0; bin < bins && lengthNs > 0; bin++) {
              const from = Math.max(fromNs, bin * binNs);
              const to = Math.min(fromNs + lengthNs, (bin + 1) * binNs);
              if (to > from) expected[bin] += (amount * (to - from)) / lengthNs;
            }
          }
          sums.row(row, bins).forEach((value, bin) => {
            expect(value).toBeCloseTo(expected[bin], 6);
          });
        }
      }),
    );
  });
});
