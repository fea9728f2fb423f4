/** What a trace is, in numbers: plain data, units in the names. */
import type { TraceColumns } from '../core/trace-columns.ts';
import { NS_PER_S } from '../core/units.ts';

export interface Distribution {
  readonly mean: number;
  /** Percentiles are nearest-rank. */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

export interface TraceInfo {
  readonly sha256: string;
  readonly requests: number;
  /** First to last arrival. */
  readonly durationNs: number;
  /** Requests over the duration; null where all arrive at once. */
  readonly requestsPerSecond: number | null;
  readonly blockTokens: number;
  readonly inputTokens: Distribution;
  readonly outputTokens: Distribution;
  readonly blocks: {
    readonly accesses: number;
    readonly distinct: number;
    /** Requests with the block that most requests have, and their share. */
    readonly hottestRequests: number;
    readonly hottestShare: number;
  };
  /**
   * With room for everything: a request hits its longest run of leading blocks that earlier
   * requests had. The upper bound of every policy under prefix semantics.
   */
  readonly reuse: {
    readonly hitBlocks: number;
    readonly blocksRatio: number;
    readonly tokensRatio: number;
    /** Requests all of whose blocks hit. */
    readonly fullHits: number;
  };
  /** Null where the trace does not name them. */
  readonly sessions: { readonly count: number; readonly turns: Distribution } | null;
  readonly arrivals: {
    /** Standard deviation over mean of the gaps between arrivals: 1 for Poisson. */
    readonly gapVariation: number | null;
    readonly burstPeriodNs: number | null;
    readonly requestsPerBurst: number | null;
  };
}

export function traceInfo(trace: TraceColumns): TraceInfo {
  const { requests, arrivalNs, blockTokens, sha256 } = trace;
  const durationNs = arrivalNs[requests - 1] - arrivalNs[0];
  return {
    sha256,
    requests,
    durationNs,
    requestsPerSecond: durationNs > 0 ? (requests / durationNs) * NS_PER_S : null,
    blockTokens,
    inputTokens: distribution(trace.inputTokens),
    outputTokens: distribution(trace.outputTokens),
    blocks: blockPopularity(trace),
    reuse: reuseAtInfinity(trace),
    sessions: sessionsOf(trace),
    arrivals: arrivalPattern(arrivalNs),
  };
}

function distribution(column: Int32Array): Distribution {
  const sorted = column.toSorted();
  const rank = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  let sum = 0;
  for (let index = 0; index < sorted.length; index++) sum += sorted[index];
  const mean = sum / sorted.length;
  return { mean, p50: rank(0.5), p90: rank(0.9), p99: rank(0.99), max: rank(1) };
}

function blockPopularity({ requests, blocks, blockStart, distinctBlocks }: TraceColumns) {
  const count = new Int32Array(distinctBlocks);
  /** Last request that had the block, + 1: a block counts once a request. */
  const last = new Int32Array(distinctBlocks);
  let hottestRequests = 0;
  for (let row = 0; row < requests; row++) {
    for (let index = blockStart[row]; index < blockStart[row + 1]; index++) {
      const block = blocks[index];
      if (last[block] === row + 1) continue;
      last[block] = row + 1;
      hottestRequests = Math.max(hottestRequests, ++count[block]);
    }
  }
  const hottestShare = hottestRequests / requests;
  return { accesses: blocks.length, distinct: distinctBlocks, hottestRequests, hottestShare };
}

/** Ids are dense in order of first appearance, so those below the next new one were seen before. */
function reuseAtInfinity({ requests, blocks, blockStart, inputTokens, blockTokens }: TraceColumns) {
  let seen = 0;
  let hitBlocks = 0;
  let hitTokens = 0;
  let tokens = 0;
  let fullHits = 0;
  for (let row = 0; row < requests; row++) {
    const from = blockStart[row];
    const to = blockStart[row + 1];
    let index = from;
    while (index < to && blocks[index] < seen) index++;
    const hits = index - from;
    if (index === to) fullHits++;
    for (; index < to; index++) seen = Math.max(seen, blocks[index] + 1);
    hitBlocks += hits;
    hitTokens += Math.min(hits * blockTokens, inputTokens[row]);
    tokens += inputTokens[row];
  }
  const blocksRatio = blocks.length === 0 ? 0 : hitBlocks / blocks.length;
  return { hitBlocks, blocksRatio, tokensRatio: hitTokens / tokens, fullHits };
}

function sessionsOf({ session }: TraceColumns): TraceInfo['sessions'] {
  if (session === null) return null;
  const turns = new Map<number, number>();
  for (const name of session) if (name >= 0) turns.set(name, (turns.get(name) ?? 0) + 1);
  if (turns.size === 0) return null;
  return { count: turns.size, turns: distribution(Int32Array.from(turns.values())) };
}

/** Gaps that differ from their median by at most this share of it belong to one period. */
const PERIOD_TOLERANCE = 0.1;

/**
 * Arrivals come in bursts where at least half of the gaps between distinct times are within 10 % of
 * their median: of exponential gaps, as a Poisson process has them, about 7 % are.
 */
function arrivalPattern(arrivalNs: Float64Array): TraceInfo['arrivals'] {
  const gaps = new Float64Array(Math.max(0, arrivalNs.length - 1));
  for (let index = 0; index < gaps.length; index++) {
    gaps[index] = arrivalNs[index + 1] - arrivalNs[index];
  }
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const none = { gapVariation: null, burstPeriodNs: null, requestsPerBurst: null };
  if (!(mean > 0)) return none;
  const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
  const gapVariation = Math.sqrt(variance) / mean;
  const apart = gaps.filter((gap) => gap > 0).sort();
  const median = apart[(apart.length - 1) >> 1];
  const near = apart.filter((gap) => Math.abs(gap - median) <= PERIOD_TOLERANCE * median).length;
  if (near < apart.length / 2 || apart.length < 2) return { ...none, gapVariation };
  const requestsPerBurst = arrivalNs.length / (apart.length + 1);
  return { gapVariation, burstPeriodNs: median, requestsPerBurst };
}
