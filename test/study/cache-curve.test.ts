/** The LRU curve against direct simulation at every capacity, and the sampled one against it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { streamOfKeys } from '../../src/study/cache/access-stream.ts';
import type { TouchOrder } from '../../src/study/cache/future.ts';
import { hitsAt, lruCurve, target } from '../../src/study/cache/lru-curve.ts';
import { sampledLruCurve } from '../../src/study/cache/sampled-curve.ts';
import { StackDistances } from '../../src/study/cache/stack-distances.ts';
import { randomOf } from '../policy/eviction-tier.ts';
import { play, skewedStream, streamOfRequests } from './cache-streams.ts';

const orders: readonly TouchOrder[] = ['forward', 'reverse'];

/** Prompts that share prefixes: a block's id tells the way to it from the root. */
const prompts = fc
  .array(fc.array(fc.nat(2), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 40 })
  .map((ways) => {
    const ids = new Map<string, number>();
    return ways.map((way) =>
      way.map((_, depth) => {
        const path = way.slice(0, depth + 1).join('/');
        if (!ids.has(path)) ids.set(path, ids.size);
        return ids.get(path)!;
      }),
    );
  });

/** Requests of any blocks, repeated ones in one request included. */
const jumbles = fc.array(fc.array(fc.nat(12), { minLength: 1, maxLength: 6 }), {
  minLength: 1,
  maxLength: 30,
});

describe('stack distances', () => {
  it('are the number of distinct keys since the last touch', () => {
    // Times are renumbered many times over: 8 keys give 16 times.
    const law = fc.property(fc.array(fc.nat(7), { maxLength: 200 }), (keys) => {
      const stack = new StackDistances(8);
      keys.forEach((key, i) => {
        const last = keys.lastIndexOf(key, i - 1);
        const wanted = i === 0 || last < 0 ? 0 : new Set(keys.slice(last, i)).size;
        expect(stack.distance(key)).toBe(wanted);
        stack.touch(key);
      });
    });
    fc.assert(law);
  });
});

describe.each(orders)('the exact curve, %s', (order) => {
  it.each(['any', 'prefix'] as const)(
    'equals LRU at every capacity under %s',
    async (semantics) => {
      const law = fc.asyncProperty(fc.oneof(prompts, jumbles), async (requests) => {
        const stream = streamOfRequests(requests);
        const curve = lruCurve(stream, semantics, order);
        for (let capacity = 1; capacity <= stream.distinctBlocks; capacity++) {
          const counts = await play(stream, 'lru', capacity, order);
          expect(hitsAt(curve, capacity), `at ${capacity}`).toBe(counts[semantics].hits);
          expect(curve.tokens[capacity]).toBe(counts[semantics].tokens);
        }
        const all = await play(stream, 'lru', null, order);
        expect(hitsAt(curve, null)).toBe(all[semantics].hits);
        expect(curve.accesses).toBe(all.accesses);
      });
      await fc.assert(law, { numRuns: 60 });
    },
  );
});

describe('target', () => {
  it('is the least capacity that reaches the share', () => {
    // 1 2 3, then 1 2 3 again at distance 3, then 3 2 at distances 1 and 2: hits 1, 2, 5 of 5.
    const curve = lruCurve(streamOfKeys(Int32Array.from([0, 1, 2, 0, 1, 2, 2, 1]), 3), 'any');
    expect([...curve.hits]).toEqual([0, 1, 2, 5]);
    expect([0.2, 0.3, 0.4, 0.41, 1].map((share) => target(curve, share))).toEqual([1, 2, 2, 3, 3]);
  });
});

describe('the sampled curve', () => {
  it('is the exact one when the samples hold every block', () => {
    const stream = streamOfKeys(
      Int32Array.from({ length: 400 }, (_, i) => (i * i) % 23),
      23,
    );
    const exact = lruCurve(stream, 'any');
    // Two halves; each counts its own blocks double, so only their ends agree for sure.
    const halves = sampledLruCurve(stream, 'any', 'forward', { rate: 0.5, samples: 2 });
    expect(halves.accesses).toBe(400);
    expect(halves.hits.at(-1)).toBeCloseTo(exact.hits.at(-1)!, -1.7);
  });

  it('lies within a few of its standard errors of the exact one', () => {
    const stream = skewedStream();
    const exact = lruCurve(stream, 'any');
    const sampled = sampledLruCurve(stream, 'any', 'forward', { rate: 0.02 });
    for (const capacity of [200, 1000, 5000, 10_000, 40_000]) {
      const off = Math.abs(sampled.hits[capacity] - exact.hits[capacity]);
      expect(off, `at ${capacity}`).toBeLessThan(4 * sampled.hitsError[capacity]);
      expect(sampled.hitsError[capacity] / exact.accesses).toBeLessThan(0.03);
    }
  });

  it('counts prefixes as the exact one does', () => {
    const random = randomOf(3);
    // 200 sessions of 20 blocks behind one shared block, each asked 6 times, in random turn.
    const requests = Array.from({ length: 1200 }, () => {
      const session = Math.floor(random() * 200);
      return [0, ...Array.from({ length: 20 }, (_, i) => 1 + session * 20 + i)];
    });
    const stream = streamOfRequests(requests);
    const exact = lruCurve(stream, 'prefix');
    const sampled = sampledLruCurve(stream, 'prefix', 'forward', { rate: 0.1 });
    for (const capacity of [1000, 2000, 3000, 4001]) {
      const off = Math.abs(sampled.hits[capacity] - exact.hits[capacity]) / exact.accesses;
      expect(off, `at ${capacity}`).toBeLessThan(0.03);
    }
  });

  it('refuses rates that do not leave room for its samples', () => {
    const stream = streamOfKeys(Int32Array.from([0]), 1);
    const sample = (rate: number) => () => sampledLruCurve(stream, 'any', 'forward', { rate });
    expect(sample(0)).toThrow('found a rate of 0 for 8 samples');
    expect(sample(0.2)).toThrow('expected a positive rate of at most 1 / samples');
  });
});
