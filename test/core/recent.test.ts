import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Recent } from '../../src/core/recent.ts';

const entries = fc.array(fc.tuple(fc.nat(5000), fc.nat(20)), { maxLength: 400 });
/** Keys as attempts have them, and keys beyond 32 bits. */
const scale = fc.constantFrom(1, 64, 2 ** 33);

test('remembers at least the last `limit` and at most twice as many', () => {
  fc.assert(
    fc.property(entries, scale, fc.integer({ min: 1, max: 100 }), (pairs, by, limit) => {
      const recent = new Recent(limit);
      const model = new Map<number, number>();
      for (const [key, value] of pairs) {
        recent.set(key * by, value);
        model.delete(key * by);
        model.set(key * by, value);
      }
      const kept: number[] = [];
      recent.visit((key) => {
        kept.push(key);
      });
      expect(kept.length).toBeLessThanOrEqual(2 * limit);
      // A key that comes again stays where it first stood, so only the very last are certain.
      const last = pairs.at(-1);
      if (last !== undefined) expect(recent.get(last[0] * by)).toBe(last[1]);
      for (const key of kept) expect(model.has(key)).toBe(true);
    }),
  );
});

test('below the limit it is a map', () => {
  fc.assert(
    fc.property(entries, scale, (pairs, by) => {
      const recent = new Recent(1000);
      const model = new Map<number, number>();
      for (const [key, value] of pairs) {
        recent.set(key * by, value);
        model.set(key * by, value);
      }
      const all = new Map<number, number>();
      recent.visit((key, value) => {
        all.set(key, value);
      });
      expect([...all]).toEqual([...model]);
      for (const [key, value] of model) expect(recent.get(key)).toBe(value);
      expect(recent.has(-1)).toBe(false);
    }),
  );
});
