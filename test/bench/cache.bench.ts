/**
 * Speed of the cache laboratory: 20 million accesses, Zipf(1.0) over a million keys, 100,000 slots,
 * one thread. The floor is a loop that only touches the same arrays.
 */
import { pathToFileURL } from 'node:url';
import type { EvictionModule } from '../../src/core/policy.ts';
import { streamOfKeys } from '../../src/study/cache/access-stream.ts';
import { internKeys } from '../../src/study/cache/foreign-text.ts';
import { StreamFuture } from '../../src/study/cache/future.ts';
import { defaultParams } from '../../src/study/cache/policies.ts';
import { CachePool, ReplayContext } from '../../src/study/cache/pool.ts';
import { replay } from '../../src/study/cache/replay.ts';

const ACCESSES = 20_000_000;
const KEYS = 1_000_000;
const SLOTS = 100_000;

/** libCacheSim's best on a 2-core x86-64, million accesses per second (issue 4). */
const REFERENCE_MPS: Record<string, number> = {
  lru: 6.9,
  fifo: 7.0,
  clock: 6.2,
  sieve: 8.7,
  arc: 4.8,
  lfu: 3.6,
  's3-fifo': 3.5,
  'w-tinylfu': 3.4,
};

export interface Bench {
  readonly name: string;
  /** What the floor is. */
  readonly baseline: string;
  run(): number;
  baselineRun(): number;
}
