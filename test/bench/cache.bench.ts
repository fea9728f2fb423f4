/**
 * Speed of the cache laboratory: 20 million accesses, Zipf(1.0) over a million keys, 100,000
 * slots, one thread, in CPU time. The floor is a loop that only touches the same arrays. Interning
 * is a row of its own, and so is the exact LRU curve.
 */
import type { EvictionModule, Param, Params, ParamValues } from '../../src/core/policy.ts';
import arc from '../../src/policy/eviction/arc.ts';
import clock from '../../src/policy/eviction/clock.ts';
import fifo from '../../src/policy/eviction/fifo.ts';
import lfu from '../../src/policy/eviction/lfu.ts';
import lru from '../../src/policy/eviction/lru.ts';
import s3Fifo from '../../src/policy/eviction/s3-fifo.ts';
import sieve from '../../src/policy/eviction/sieve.ts';
import wTinyLfu from '../../src/policy/eviction/w-tinylfu.ts';
import { type AccessStream, streamOfKeys } from '../../src/study/cache/access-stream.ts';
import { KeyTable } from '../../src/study/cache/key-table.ts';
import { lruCurve } from '../../src/study/cache/lru-curve.ts';
import { CachePool, ReplayContext } from '../../src/study/cache/pool.ts';
import { replay } from '../../src/study/cache/replay.ts';
import type { Bench } from './limits.ts';

const ACCESSES = 20_000_000;
const KEYS = 1_000_000;
const SLOTS = 100_000;

/** With libCacheSim's best on a 2-core x86-64, million accesses per second (issue 4). */
const POLICIES: readonly (readonly [string, EvictionModule, number])[] = [
  ['lru', lru, 6.9],
  ['fifo', fifo, 7.0],
  ['clock', clock, 6.2],
  ['sieve', sieve, 8.7],
  ['arc', arc, 4.8],
  ['lfu', lfu, 3.6],
  ['s3-fifo', s3Fifo, 3.5],
  ['w-tinylfu', wTinyLfu, 3.4],
];

interface Zipf {
  /** As a foreign trace would have them: ranks, scrambled. */
  readonly raw: Int32Array;
  readonly stream: AccessStream;
}

let made: Zipf | null = null;

function zipf(): Zipf {
  made ??= makeZipf();
  return made;
}

function makeZipf(): Zipf {
  const { share, alias } = aliasTable();
  const raw = new Int32Array(ACCESSES);
  const blocks = new Int32Array(ACCESSES);
  const table = new KeyTable();
  let state = 1;
  // Mulberry32.
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) * 2 ** -32;
  };
  for (let i = 0; i < ACCESSES; i++) {
    const column = Math.floor(random() * KEYS);
    const rank = random() < share[column] ? column : alias[column];
    raw[i] = Math.imul(rank, 0x9e3779b1);
    blocks[i] = table.internNumber(raw[i] >>> 0, 0);
  }
  return { raw, stream: streamOfKeys(blocks, table.size) };
}

/** Vose's alias method for weights 1 / rank. */
function aliasTable(): { share: Float64Array; alias: Int32Array } {
  const share = new Float64Array(KEYS);
  const alias = new Int32Array(KEYS);
  let sum = 0;
  for (let rank = 1; rank <= KEYS; rank++) sum += 1 / rank;
  const scaled = Float64Array.from({ length: KEYS }, (_, i) => KEYS / (sum * (i + 1)));
  const small: number[] = [];
  const large: number[] = [];
  for (let i = 0; i < KEYS; i++) (scaled[i] < 1 ? small : large).push(i);
  while (small.length > 0 && large.length > 0) {
    const under = small.pop()!;
    const over = large.pop()!;
    share[under] = scaled[under];
    alias[under] = over;
    scaled[over] += scaled[under] - 1;
    (scaled[over] < 1 ? small : large).push(over);
  }
  for (const rest of [...small, ...large]) share[rest] = 1;
  return { share, alias };
}

/** CPU time of `work`, ns per operation. */
function timed(operations: number, work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1e3) / operations;
}

/** Reads each key's slot and writes to it. */
function touch({ stream }: Zipf): void {
  const slotOf = Int32Array.from({ length: stream.distinctBlocks }, (_, i) => i % SLOTS);
  const slots = new Int32Array(SLOTS);
  const { blocks } = stream;
  for (let i = 0; i < blocks.length; i++) slots[slotOf[blocks[i]]] = i;
}

function policyBench([name, module, reference]: (typeof POLICIES)[number]): Bench {
  let bestNs = Number.POSITIVE_INFINITY;
  let hitRatio = 0;
  return {
    name: `cache ${name} zipf`,
    baseline: 'a loop that touches the same arrays',
    run() {
      const { stream } = zipf();
      const recomputeNs = new Float64Array(1);
      const block = { bytes: 1, tokens: 1 };
      const context = new ReplayContext(SLOTS, block, recomputeNs, () => 0.5, null);
      const entries = Object.entries(module.params).map(([key, param]: [string, Param]) => [
        key,
        param.default,
      ]);
      const policy = module.create(context, Object.fromEntries(entries) as ParamValues<Params>);
      const pool = new CachePool(SLOTS, stream.distinctBlocks, recomputeNs);
      const site = { name, pool, policy, context };
      const ns = timed(ACCESSES, () => {
        const { any } = replay(stream, [site], null, { position: 0 }, 'forward');
        hitRatio = any.hits / ACCESSES;
      });
      bestNs = Math.min(bestNs, ns);
      return ns;
    },
    baselineRun: () => timed(ACCESSES, () => touch(zipf())),
    note() {
      const millions = 1e3 / bestNs;
      const times = (millions / reference).toFixed(1);
      const rate = `${millions.toFixed(1)} M accesses/s`;
      return `${rate}, ${times} x libCacheSim's ${reference}; hit ratio ${hitRatio.toFixed(4)}`;
    },
  };
}

const internBench: Bench = {
  name: 'cache intern zipf',
  baseline: 'a loop that touches the same arrays',
  run() {
    const { raw } = zipf();
    return timed(ACCESSES, () => {
      const table = new KeyTable();
      for (let i = 0; i < raw.length; i++) table.internNumber(raw[i] >>> 0, 0);
    });
  },
  baselineRun: () => timed(ACCESSES, () => touch(zipf())),
};

const CURVE_ACCESSES = 2_000_000;

const curveBench: Bench = {
  name: 'cache exact LRU curve zipf',
  baseline: 'the same accesses through the policy lru',
  run() {
    const { stream } = zipf();
    const blocks = stream.blocks.subarray(0, CURVE_ACCESSES);
    return timed(CURVE_ACCESSES, () => {
      lruCurve(streamOfKeys(blocks, stream.distinctBlocks), 'any');
    });
  },
  baselineRun: () => policyBench(POLICIES[0]).run(),
};

export const cacheBenches: readonly Bench[] = [
  ...POLICIES.map(policyBench),
  internBench,
  curveBench,
];
