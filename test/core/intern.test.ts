import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockInterner } from '../../src/core/kit/intern.ts';

/** Small, beyond the table, beyond 32 bits, negative, and strings that look like numbers. */
const hashes = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 1000, max: 5_000_000 }),
  fc.maxSafeInteger(),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, -1, -0, 2 ** 22 - 1, 2 ** 22, 2 ** 32, 2 ** 31),
  fc.string({ maxLength: 2 }),
  fc.integer({ min: 0, max: 40 }).map(String),
);

/** Ids by the definition. */
function naiveIds(stream: readonly (readonly [number, number | string])[]): number[] {
  const ids = new Map<string, number>();
  return stream.map(([namespace, hash]) => {
    const key = `${namespace}/${typeof hash}/${hash}`;
    if (!ids.has(key)) ids.set(key, ids.size);
    return ids.get(key)!;
  });
}

describe('BlockInterner', () => {
  it('gives dense ids in order of first appearance', () => {
    const interner = new BlockInterner();
    const ids = [7, 3, 7, 'x', 3, 9e15, 'x', 9e15, -4].map((hash) => interner.intern(0, hash));
    expect(ids).toEqual([0, 1, 0, 2, 1, 3, 2, 3, 4]);
    expect(interner.size).toBe(5);
  });

  it('keeps namespaces apart, and strings from integers', () => {
    const interner = new BlockInterner();
    expect(interner.intern(0, 5)).toBe(0);
    expect(interner.intern(2, 5)).toBe(1);
    expect(interner.intern(0, '5')).toBe(2);
    expect(interner.intern(1, 5)).toBe(3);
    expect(interner.intern(2, 5)).toBe(1);
  });

  it('agrees with a map for any stream of hashes and any first table', () => {
    const stream = fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), hashes), { maxLength: 300 });
    fc.assert(
      fc.property(stream, fc.integer({ min: 0, max: 10_000 }), (entries, expected) => {
        const interner = new BlockInterner(expected);
        const ids = entries.map(([namespace, hash]) => interner.intern(namespace, hash));
        expect(ids).toEqual(naiveIds(entries));
        expect(interner.size).toBe(new Set(ids).size);
      }),
    );
  });

  it('interns a run as it would one by one, up to what is no integer', () => {
    const run = fc.array(fc.oneof({ weight: 20, arbitrary: hashes }, fc.constantFrom(null, 0.5)));
    fc.assert(
      fc.property(fc.array(run, { maxLength: 8 }), (runs) => {
        const interner = new BlockInterner();
        const single = new BlockInterner();
        for (const items of runs) {
          const bad = items.findIndex((item) => !Number.isSafeInteger(item));
          const taken = bad === -1 ? items.length : bad;
          const ids = new Int32Array(items.length + 2).fill(-7);
          expect(interner.internRun(0, items, ids, 1)).toBe(taken);
          const expected = items.slice(0, taken).map((item) => single.intern(0, item as number));
          expect([...ids.subarray(1, 1 + taken)]).toEqual(expected);
          expect(ids[0]).toBe(-7);
          expect(ids[taken + 1]).toBe(-7);
        }
        expect(interner.size).toBe(single.size);
      }),
    );
  });

  it('refuses numbers that are no integers, and namespaces that are no ids', () => {
    const interner = new BlockInterner();
    for (const hash of [1.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
      expect(() => interner.intern(0, hash)).toThrow('is not an integer below 2^53');
    }
    expect(() => interner.intern(-1, 5)).toThrow('namespace -1 is not an id');
  });
});
