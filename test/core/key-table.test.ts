/** Names as keys, keys in a table, nodes in an order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hash128, hashText } from '../../src/core/kit/hash128.ts';
import { KeyTable } from '../../src/core/kit/key-table.ts';
import { best, rank } from '../../src/core/kit/rendezvous.ts';

const hex = (words: Int32Array) => Buffer.from(words.buffer).toString('hex');

describe('hash128', () => {
  it('is MurmurHash3_x86_128: SMHasher, VerificationTest', () => {
    const hashes = new Int32Array(4 * 256);
    const key = Uint8Array.from({ length: 256 }, (_, i) => i);
    for (let size = 0; size < 256; size++) hash128(key, size, 256 - size, hashes, 4 * size);
    const all = new Int32Array(4);
    hash128(new Uint8Array(hashes.buffer), hashes.byteLength, 0, all, 0);
    expect(all[0] >>> 0).toBe(0xb3ece62a);
  });

  it('hashes the UTF-8 bytes of a name', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (name) => {
        const [text, bytes] = [new Int32Array(4), new Int32Array(4)];
        hashText(name, text, 0);
        const utf8 = Buffer.from(name, 'utf8');
        hash128(utf8, utf8.length, 0, bytes, 0);
        expect(hex(text)).toBe(hex(bytes));
      }),
    );
  });
});

describe('KeyTable', () => {
  it('is a map', () => {
    // Few first words, so that keys meet in the same places.
    const key = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(1), fc.nat(1));
    const step = fc.record({ key, put: fc.boolean(), value: fc.nat(1000) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new KeyTable();
        const map = new Map<string, number>();
        for (const { key: words, put, value } of steps) {
          const keys = Int32Array.from(words);
          if (put) {
            table.set(keys, 0, value);
            map.set(hex(keys), value);
          } else expect(table.delete(keys, 0)).toBe(map.delete(hex(keys)));
          expect(table.size).toBe(map.size);
          for (const { key: other } of steps) {
            const others = Int32Array.from(other);
            expect(table.find(others, 0)).toBe(map.get(hex(others)) ?? -1);
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  it('grows', () => {
    const table = new KeyTable();
    const keys = new Int32Array(4 * 10_000);
    for (let i = 0; i < 10_000; i++) hashText(`name ${i}`, keys, 4 * i);
    for (let i = 0; i < 10_000; i++) table.set(keys, 4 * i, i);
    for (let i = 0; i < 10_000; i++) expect(table.find(keys, 4 * i)).toBe(i);
    expect(table.size).toBe(10_000);
  });
});

describe('rendezvous', () => {
  const nodes = [1, 1, 2, 4].map((weight, i) => ({ hash: 77 * i, weight }));
  const keys = Array.from({ length: 8000 }, (_, i) => i * 31);

  it('gives each node its share', () => {
    const first = new Float64Array(nodes.length);
    for (const key of keys) first[best(key, nodes)]++;
    // 8000 keys: a share of 1/8 is 1000, with a standard deviation of 30.
    for (const [i, { weight }] of nodes.entries()) {
      expect(Math.abs(first[i] / 1000 / weight - 1)).toBeLessThan(0.15);
    }
  });

  it('moves only the keys of the node that goes', () => {
    const left = nodes.slice(1);
    for (const key of keys) {
      const order = rank(key, nodes);
      expect(order[0]).toBe(best(key, nodes));
      expect(rank(key, left).map((place) => place + 1)).toEqual(order.filter((i) => i !== 0));
    }
  });
});
