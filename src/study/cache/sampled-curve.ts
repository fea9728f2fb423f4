/**
 * The LRU curve of a stream that is too large for the exact one, from a few spatial samples: a
 * block is in a sample, with all of its accesses, by a hash of its id; distances within the sample
 * stand for 1 / rate times as many blocks. SHARDS (Waldspurger et al., FAST 2015), with its
 * correction for the number of accesses that a sample happened to get. Several disjoint samples
 * give the error: the mean of them, and the standard error of that mean.
 *
 * Under prefix semantics a request's run ends where a sampled block is not there; blocks between
 * are taken to be like their neighbours, which costs at most a prompt's length of capacity.
 */
import { InputError } from '../../core/errors.ts';
import type { AccessStream } from './access-stream.ts';
import type { TouchOrder } from './future.ts';
import type { HitCurve, Semantics } from './lru-curve.ts';
import { StackDistances } from './stack-distances.ts';

export interface SampledCurve extends HitCurve {
  /** Standard error of `hits`, by capacity. */
  readonly hitsError: Float64Array;
  readonly samples: number;
  /** Share of the blocks in each sample. */
  readonly rate: number;
}

export interface SampleOptions {
  readonly rate: number;
  readonly samples?: number;
}

const SAMPLES = 8;
const NOWHERE = 0xff;
const UNIT = 2 ** -32;

export function sampledLruCurve(
  stream: AccessStream,
  semantics: Semantics,
  order: TouchOrder,
  { rate, samples = SAMPLES }: SampleOptions,
): SampledCurve {
  if (!(rate > 0 && rate * samples <= 1) || samples < 2 || samples >= NOWHERE) {
    const found = `a rate of ${rate} for ${samples} samples`;
    throw new InputError(`found ${found}, expected a positive rate of at most 1 / samples`, 'rate');
  }
  const plan = assignBlocks(stream.distinctBlocks, rate, samples);
  const runs = plan.sizes.map((size) => new SampleRun(size));
  const totals = play(stream, semantics, order, plan, runs);
  return average(stream.distinctBlocks, rate, runs, totals);
}

interface Plan {
  /** Sample of a block, or NOWHERE; and its dense id there. */
  readonly sampleOf: Uint8Array;
  readonly keyOf: Int32Array;
  readonly sizes: readonly number[];
}

function assignBlocks(distinctBlocks: number, rate: number, samples: number): Plan {
  const sampleOf = new Uint8Array(distinctBlocks);
  const keyOf = new Int32Array(distinctBlocks);
  const sizes = new Array<number>(samples).fill(0);
  for (let block = 0; block < distinctBlocks; block++) {
    const sample = Math.floor((hash(block) * UNIT) / rate);
    sampleOf[block] = sample < samples ? sample : NOWHERE;
    if (sample < samples) keyOf[block] = sizes[sample]++;
  }
  return { sampleOf, keyOf, sizes };
}

/** Murmur3's finaliser: ids are consecutive, hashes are not. */
function hash(block: number): number {
  let x = Math.imul(block ^ (block >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** One sample: its stack, and hits by distance within the sample. */
class SampleRun {
  readonly stack: StackDistances;
  readonly hits: Float64Array;
  readonly tokens: Float64Array;
  accesses = 0;
  tokensSeen = 0;
  /** Within the current request. */
  greatest = 0;
  reached = true;

  constructor(keys: number) {
    this.stack = new StackDistances(keys);
    this.hits = new Float64Array(keys + 1);
    this.tokens = new Float64Array(keys + 1);
  }

  count(distance: number, tokens: number): void {
    this.accesses++;
    this.tokensSeen += tokens;
    if (distance === 0) return;
    this.hits[distance]++;
    this.tokens[distance] += tokens;
  }
}

function play(
  stream: AccessStream,
  semantics: Semantics,
  order: TouchOrder,
  { sampleOf, keyOf }: Plan,
  runs: readonly SampleRun[],
): { accesses: number; inputTokens: number } {
  const { blocks, start, promptEnd, blockTokens, inputTokens } = stream;
  const totals = { accesses: 0, inputTokens: 0 };
  for (let r = 0; r < stream.requests; r++) {
    const from = start === null ? r : start[r];
    const end = promptEnd === null ? r + 1 : promptEnd[r];
    const to = start === null ? r + 1 : start[r + 1];
    const asked = inputTokens === null ? (end - from) * blockTokens : inputTokens[r];
    const tail = asked - (end - from - 1) * blockTokens;
    totals.accesses += end - from;
    totals.inputTokens += asked;
    if (semantics === 'prefix') {
      for (const run of runs) {
        run.greatest = 0;
        run.reached = true;
      }
      for (let i = from; i < end; i++) {
        const sample = sampleOf[blocks[i]];
        if (sample === NOWHERE) continue;
        const run = runs[sample];
        const distance = run.reached ? run.stack.distance(keyOf[blocks[i]]) : 0;
        run.reached = distance > 0;
        run.greatest = Math.max(run.greatest, distance);
        run.count(run.reached ? run.greatest : 0, i === end - 1 ? tail : blockTokens);
      }
    }
    for (let k = 0; k < to - from; k++) {
      const i = order === 'forward' ? from + k : to - 1 - k;
      const sample = sampleOf[blocks[i]];
      if (sample === NOWHERE) continue;
      const { stack } = runs[sample];
      const key = keyOf[blocks[i]];
      if (semantics === 'any' && i < end) {
        runs[sample].count(stack.distance(key), i === end - 1 ? tail : blockTokens);
      }
      stack.touch(key);
    }
  }
  return totals;
}

/** Scale each sample to the whole stream, then mean and standard error at every capacity. */
function average(
  distinctBlocks: number,
  rate: number,
  runs: readonly SampleRun[],
  totals: { accesses: number; inputTokens: number },
): SampledCurve {
  const size = distinctBlocks + 1;
  const hits = new Float64Array(size);
  const tokens = new Float64Array(size);
  const squares = new Float64Array(size);
  for (const run of runs) {
    // SHARDS-adj: blocks that the sample has too few accesses of are those with many, near the top.
    const sampleHits = spread(run.hits, rate, totals.accesses - run.accesses / rate, size);
    const missing = totals.inputTokens - run.tokensSeen / rate;
    const sampleTokens = spread(run.tokens, rate, missing, size);
    for (let capacity = 0; capacity < size; capacity++) {
      hits[capacity] += sampleHits[capacity] / runs.length;
      squares[capacity] += sampleHits[capacity] ** 2 / runs.length;
      tokens[capacity] += sampleTokens[capacity] / runs.length;
    }
  }
  const hitsError = squares.map((square, capacity) =>
    Math.sqrt(Math.max(0, square - hits[capacity] ** 2) / (runs.length - 1)),
  );
  return { ...totals, hits, tokens, hitsError, samples: runs.length, rate };
}

/** Cumulative counts by capacity, of counts by distance within a sample. */
function spread(counts: Float64Array, rate: number, missing: number, size: number): Float64Array {
  const curve = new Float64Array(size);
  let sum = missing;
  let distance = 1;
  for (let capacity = 1; capacity < size; capacity++) {
    for (; distance < counts.length && distance / rate <= capacity; distance++) {
      sum += counts[distance] / rate;
    }
    curve[capacity] = Math.max(0, sum);
  }
  return curve;
}
