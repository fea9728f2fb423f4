/** The inner loop: a copy per policy, and answers that are checked. */
import { expect, it } from 'vitest';
import type { EvictionPolicy } from '../../src/core/policy.ts';
import { CachePool } from '../../src/study/cache/pool.ts';
import { serve } from '../../src/study/cache/serve.ts';
import { specialise } from '../../src/study/cache/specialise.ts';

/** Evicts whatever it is told to. */
function stubborn(victim: number): EvictionPolicy {
  return {
    onInsert() {},
    onHit() {},
    onRemove() {},
    victim: () => victim,
    size: () => 0,
  };
}

const keys = Int32Array.from([0, 1, 0, 2, 3, 2]);

function run(loop: typeof serve, policy: EvictionPolicy): CachePool {
  const pool = new CachePool(2, 4, new Float64Array(1));
  loop(policy, pool, { position: 0 }, keys, 0, keys.length, keys.length, false, false);
  return pool;
}

it('each policy has a copy of its own, which does the same', () => {
  const one = specialise(serve, 'one');
  const other = specialise(serve, 'other');
  expect(one).not.toBe(serve);
  expect(one).not.toBe(other);
  expect(specialise(serve, 'one')).toBe(one);
  // Two slots, always slot 0: 0 1, hit 0, 2 for 0, 3 for 2, 2 for 3.
  for (const loop of [serve, one, other]) {
    const { hits, insertions, evictions, refusals } = run(loop, stubborn(0));
    expect({ hits, insertions, evictions, refusals }).toEqual({
      hits: 1,
      insertions: 5,
      evictions: 3,
      refusals: 0,
    });
  }
});

it('a policy that declines leaves all as it is', () => {
  const { hits, insertions, refusals } = run(serve, stubborn(-1));
  expect({ hits, insertions, refusals }).toEqual({ hits: 1, insertions: 2, refusals: 3 });
});

it.each([2, 0.5, Number.NaN])('a policy that chooses slot %s is stopped', (slot) => {
  expect(() => run(serve, stubborn(slot))).toThrow(
    /eviction policy chose slot .*: nothing is there/,
  );
});
