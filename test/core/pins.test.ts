/** Pins of a tier: hard ones never go, soft ones only when nothing else can. */
import { describe, expect, it } from 'vitest';
import { TierPool } from '../../src/core/tier-pool.ts';
import { Pin } from '../../src/core/topology.ts';
import lru from '../../src/policy/eviction/lru.ts';

const context = {
  capacitySlots: 3,
  blockBytes: 1,
  blockTokens: 1,
  nowNs: 0,
  random: () => 0,
  recomputeNs: () => 0,
  future: null,
};

function filledPool(): { pool: TierPool; gone: number[] } {
  const gone: number[] = [];
  const watcher = { blockGone: (block: number) => void gone.push(block) };
  const pool = new TierPool(3, 10, lru.create(context, {}), watcher);
  for (const block of [0, 1, 2]) pool.publish(pool.allocate(block, -1, 0), 0);
  return { pool, gone };
}

describe('pins', () => {
  it('keep the least recently used block when they are hard', () => {
    const { pool, gone } = filledPool();
    pool.pin(pool.find(0), Pin.hard);
    pool.allocate(3, -1, 0);
    expect(gone).toEqual([1]);
    pool.check();
  });

  it('refuse an insertion when all are hard', () => {
    const { pool, gone } = filledPool();
    for (const block of [0, 1, 2]) pool.pin(pool.find(block), Pin.hard);
    expect(pool.allocate(3, -1, 0)).toBe(-1);
    expect(gone).toEqual([]);
  });

  it('give way in a second pass when they are soft', () => {
    const { pool, gone } = filledPool();
    pool.pin(pool.find(0), Pin.soft);
    pool.pin(pool.find(1), Pin.hard);
    // 0 is older than 2 but soft-pinned: 2 goes first, then 0, never 1.
    pool.publish(pool.allocate(3, -1, 0), 0);
    pool.lease(pool.find(3));
    expect(gone).toEqual([2]);
    pool.publish(pool.allocate(4, -1, 0), 0);
    expect(gone).toEqual([2, 0]);
    pool.lease(pool.find(4));
    expect(pool.allocate(5, -1, 0)).toBe(-1);
    pool.check();
  });

  it('end with the block', () => {
    const { pool } = filledPool();
    pool.pin(pool.find(0), Pin.hard);
    pool.invalidate(pool.find(0));
    const slot = pool.allocate(7, -1, 0);
    pool.publish(slot, 0);
    for (const block of [1, 2]) pool.touch(pool.find(block));
    pool.allocate(8, -1, 0);
    expect(pool.find(7)).toBe(-1);
  });
});
