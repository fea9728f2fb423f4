/** Human units: what is read, what is refused, and that writing and reading again loses nothing. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DURATION,
  formatQuantity,
  parseQuantity,
  type Quantity,
  quantityPattern,
  RATE,
  SHARE,
  SIZE,
  TOKENS,
} from '../../src/config/units.ts';

describe('reading', () => {
  test.each([
    [DURATION, '30s', 30e9],
    [DURATION, '200ms', 200e6],
    [DURATION, '0.2us', 200],
    [DURATION, ' 1.5 min ', 90e9],
    [DURATION, '2h', 7200e9],
    [DURATION, '7ns', 7],
    [DURATION, '0', 0],
    [SIZE, '1TiB', 1024 ** 4],
    [SIZE, '983GB', 983e9],
    [SIZE, '983.04GB', 983_040_000_000],
    [SIZE, '512MiB', 512 * 1024 ** 2],
    [SIZE, '1_000B', 1000],
    [RATE, '200Gbps', 25],
    [RATE, '25GB/s', 25],
    [RATE, '1.6Tbps', 200],
    [RATE, '1GiB/s', 1.073741824],
    [TOKENS, '8192', 8192],
    [TOKENS, '3Mtokens', 3e6],
    [TOKENS, '1.5 ktokens', 1500],
    [SHARE, '10%', 0.1],
    [SHARE, '0.1', 0.1],
    [SHARE, '7%', 0.07],
  ] as [Quantity, string, number][])('%#: %o %s', (quantity, text, value) => {
    expect(parseQuantity(quantity, text)).toBe(value);
    expect(text).toMatch(quantityPattern(quantity));
  });

  test.each([
    // No unit: nobody can tell seconds from milliseconds.
    [DURATION, '30'],
    [SIZE, '1024'],
    // Bits and bytes differ in one letter's case.
    [RATE, '200GBps'],
    [RATE, '200gbps'],
    [DURATION, '-1s'],
    [DURATION, '1m'],
    [DURATION, 's'],
    [DURATION, ''],
    [DURATION, '1s 2ms'],
    [DURATION, 'Infinitys'],
    [SIZE, '3Mtokens'],
    // Half a byte, and less than a ns.
    [SIZE, '0.5B'],
    [DURATION, '0.0001us'],
    [TOKENS, '1.5'],
  ] as [Quantity, string][])('%#: %o refuses %s', (quantity, text) => {
    expect(parseQuantity(quantity, text)).toBeNull();
  });
});

describe('writing', () => {
  test.each([
    [DURATION, 30e9, '30s'],
    [DURATION, 200e6, '200ms'],
    [DURATION, 90e9, '90s'],
    [DURATION, 3600e9, '1h'],
    [DURATION, 1, '1ns'],
    [SIZE, 1024 ** 4, '1TiB'],
    [SIZE, 983_040_000_000, '983.04GB'],
    [SIZE, 0, '0B'],
    [RATE, 25, '25GB/s'],
    [RATE, 0.125, '1Gbps'],
    [TOKENS, 3e6, '3Mtokens'],
    [SHARE, 0.07, '7%'],
  ] as [Quantity, number, string][])('%#: %o %d', (quantity, value, text) => {
    expect(formatQuantity(quantity, value)).toBe(text);
  });

  const whole = fc.oneof(
    fc.maxSafeNat(),
    fc.nat(),
    fc.nat(1000).map((n) => n * 1e9),
  );
  const real = fc.double({ min: 0, max: 1e9, noNaN: true });
  test.each([
    ['duration', DURATION, whole],
    ['size', SIZE, whole],
    ['tokens', TOKENS, whole],
    ['rate', RATE, real],
    ['share', SHARE, fc.double({ min: 0, max: 1, noNaN: true })],
  ] as [string, Quantity, fc.Arbitrary<number>][])(
    '%s: read back exactly',
    (_, quantity, value) => {
      fc.assert(
        fc.property(value, (x) => {
          const text = formatQuantity(quantity, x);
          expect(parseQuantity(quantity, text)).toBe(x);
          expect(text).toMatch(quantityPattern(quantity));
        }),
        { numRuns: 500 },
      );
    },
  );
});
