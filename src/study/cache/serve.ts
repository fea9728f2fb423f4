/**
 * The inner loop of every replay. It is copied per policy class (specialise.ts), so it refers to
 * nothing but its parameters.
 */
import type { EvictionPolicy } from '../../core/policy.ts';
import type { CachePool } from './pool.ts';

/** Where the loop is; a policy may look through its context. */
export interface Cursor {
  /** Index of the access in the order of touching. */
  position: number;
}

export type Serve = typeof serve;

/**
 * Touch or insert blocks[from .. to), the first block first or the last, and add to the pool's
 * counters; accesses below `counted` are counted. `chained`: the blocks are a chain from its root;
 * else each is a root without children.
 */
export function serve(
  policy: EvictionPolicy,
  pool: CachePool,
  cursor: Cursor,
  blocks: Int32Array,
  from: number,
  counted: number,
  to: number,
  chained: boolean,
  reverse: boolean,
): void {
  const { slotOf, blockOf, freeSlots, pinned, recomputeNs } = pool;
  const step = reverse ? -1 : 1;
  const tail = counted - 1;
  let position = cursor.position;
  let hits = 0;
  let savedNs = 0;
  let i = reverse ? to - 1 : from;
  for (let left = to - from; left > 0; left--, i += step) {
    cursor.position = position++;
    const block = blocks[i];
    const depth = chained ? i - from : 0;
    const resident = slotOf[block];
    if (resident >= 0) {
      policy.onHit(resident);
      if (i < counted) {
        hits++;
        savedNs += recomputeNs[depth];
        if (i === tail) pool.tailHits++;
      }
      continue;
    }
    if (policy.onMiss !== undefined) policy.onMiss(block);
    if (policy.reclaim !== undefined) {
      const slots = policy.reclaim(pool.freeCount === 0 ? 1 : 0, pinned);
      for (let k = 0; k < slots.length; k++) {
        policy.onRemove(slots[k], 'evict');
        pool.free(slots[k]);
      }
    }
    if (pool.freeCount === 0) {
      const slot = policy.victim(block, pinned);
      if (slot < 0) {
        pool.refusals++;
        continue;
      }
      policy.onRemove(slot, 'evict');
      pool.free(slot);
    }
    const slot = freeSlots[--pool.freeCount];
    slotOf[block] = slot;
    blockOf[slot] = block;
    // The parent is looked up after the eviction, which may have taken it.
    policy.onInsert(slot, block, depth > 0 ? slotOf[blocks[i - 1]] : -1, depth);
    pool.insertions++;
  }
  cursor.position = position;
  pool.hits += hits;
  pool.savedNs += savedNs;
}
