/** What a trace does to a cache, before any policy: reuse, popularity, prefix tree, sharing. */
import type { TraceColumns } from '../../core/trace-columns.ts';
import { NS_PER_MS } from '../../core/units.ts';
import { streamOfTrace } from './access-stream.ts';
import { affinities } from './cluster-pools.ts';
import { DoublingHistogram, type HistogramBin } from './histogram.ts';
import { analysePrefixTree, type PrefixTree } from './prefix-tree.ts';
import { StackDistances } from './stack-distances.ts';

export interface TraceAnalysis {
  readonly sha256: string;
  readonly requests: number;
  readonly accesses: number;
  readonly distinctBlocks: number;
  readonly reuse: ReuseAnalysis;
  readonly popularity: PopularityAnalysis;
  readonly workingSet: readonly WorkingSetWindow[];
  readonly prefixTree: PrefixTree;
  readonly sharing: SharingAnalysis;
  /** From a block's first to its last access, blocks that were used again. */
  readonly lifetimeNs: { readonly mean: number | null; readonly bins: readonly HistogramBin[] };
}

export interface ReuseAnalysis {
  /** First accesses: no cache has them. */
  readonly cold: number;
  /** Distinct blocks touched since the block's last access, itself included. */
  readonly distanceBlocks: readonly HistogramBin[];
  readonly timeNs: readonly HistogramBin[];
}

export interface PopularityAnalysis {
  /** Blocks by their number of accesses. */
  readonly blocksByAccesses: readonly HistogramBin[];
  readonly usedOnceShare: number;
  /** Accesses of the block at a rank; ranks in steps of a factor of about 2. */
  readonly ranks: readonly { readonly rank: number; readonly accesses: number }[];
  /** Share of all accesses that go to the most popular blocks. */
  readonly topShares: readonly { readonly blocks: number; readonly accessesShare: number }[];
  /**
   * Slope of log accesses over log rank, least squares over `ranks`, negated; null below 3 ranks.
   */
  readonly zipfExponent: number | null;
}

export interface WorkingSetWindow {
  readonly fromNs: number;
  readonly toNs: number;
  readonly requests: number;
  readonly accesses: number;
  /** Distinct blocks in the window, those never seen before it, and all seen up to its end. */
  readonly distinctBlocks: number;
  readonly newBlocks: number;
  readonly seenBlocks: number;
}

export interface SharingAnalysis {
  /**
   * `trace`: the trace names sessions. `derived`: a session is what lies under one block that few
   * requests share.
   */
  readonly sessionsFrom: 'trace' | 'derived';
  readonly sessions: number;
  /** Blocks by the number of sessions that use them. */
  readonly blocksBySessions: readonly HistogramBin[];
  /** Reuses by whether the same session or another one used the block last. */
  readonly reusesWithin: number;
  readonly reusesAcross: number;
}

const WINDOWS = 60;

/** Every access counts, whatever came before it in its request (`any`). */
export function analyseTrace(trace: TraceColumns): TraceAnalysis {
  return {
    sha256: trace.sha256,
    requests: trace.requests,
    accesses: trace.blocks.length,
    distinctBlocks: trace.distinctBlocks,
    reuse: reuseOf(trace),
    popularity: popularityOf(trace),
    workingSet: workingSetOf(trace),
    prefixTree: analysePrefixTree(trace),
    sharing: sharingOf(trace),
    lifetimeNs: lifetimesOf(trace),
  };
}

function reuseOf(trace: TraceColumns): ReuseAnalysis {
  const { requests, blockStart, blocks, arrivalNs, distinctBlocks } = trace;
  const stack = new StackDistances(distinctBlocks);
  const lastNs = new Float64Array(distinctBlocks);
  const distances = new DoublingHistogram();
  const times = new DoublingHistogram(NS_PER_MS);
  let cold = 0;
  for (let r = 0; r < requests; r++) {
    for (let i = blockStart[r]; i < blockStart[r + 1]; i++) {
      const block = blocks[i];
      const distance = stack.distance(block);
      if (distance === 0) cold++;
      else {
        distances.add(distance);
        times.add(arrivalNs[r] - lastNs[block]);
      }
      stack.touch(block);
      lastNs[block] = arrivalNs[r];
    }
  }
  return { cold, distanceBlocks: distances.bins(), timeNs: times.bins() };
}

function popularityOf({ blocks, distinctBlocks }: TraceColumns): PopularityAnalysis {
  const accesses = new Int32Array(distinctBlocks);
  for (let i = 0; i < blocks.length; i++) accesses[blocks[i]]++;
  const sorted = accesses.toSorted().reverse();
  const byAccesses = new DoublingHistogram();
  let once = 0;
  for (const count of sorted) {
    byAccesses.add(count);
    if (count === 1) once++;
  }
  const ranks: { rank: number; accesses: number }[] = [];
  const topShares: { blocks: number; accessesShare: number }[] = [];
  for (let i = 0, sum = 0, next = 1; i < sorted.length; i++) {
    sum += sorted[i];
    if (i + 1 < next && i + 1 < sorted.length) continue;
    ranks.push({ rank: i + 1, accesses: sorted[i] });
    topShares.push({ blocks: i + 1, accessesShare: sum / blocks.length });
    next *= 2;
  }
  return {
    blocksByAccesses: byAccesses.bins(),
    usedOnceShare: distinctBlocks === 0 ? 0 : once / distinctBlocks,
    ranks,
    topShares,
    zipfExponent: slope(ranks),
  };
}

function slope(ranks: readonly { rank: number; accesses: number }[]): number | null {
  if (ranks.length < 3) return null;
  const points = ranks.map(({ rank, accesses }) => [Math.log(rank), Math.log(accesses)]);
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  let up = 0;
  let across = 0;
  for (const [x, y] of points) {
    up += (x - meanX) * (y - meanY);
    across += (x - meanX) ** 2;
  }
  return up === 0 ? 0 : -up / across;
}

function workingSetOf(trace: TraceColumns): WorkingSetWindow[] {
  const { requests, arrivalNs, blockStart, blocks, distinctBlocks } = trace;
  const startNs = arrivalNs[0];
  const lengthNs = Math.max(1, Math.ceil((arrivalNs[requests - 1] - startNs + 1) / WINDOWS));
  const seenIn = new Int32Array(distinctBlocks);
  const windows: WorkingSetWindow[] = [];
  let seenBlocks = 0;
  for (let window = 1, r = 0; r < requests; window++) {
    const toNs = startNs + window * lengthNs;
    const first = r;
    let distinct = 0;
    let fresh = 0;
    for (; r < requests && arrivalNs[r] < toNs; r++) {
      for (let i = blockStart[r]; i < blockStart[r + 1]; i++) {
        const seen = seenIn[blocks[i]];
        if (seen === window) continue;
        distinct++;
        if (seen === 0) fresh++;
        seenIn[blocks[i]] = window;
      }
    }
    seenBlocks += fresh;
    windows.push({
      fromNs: toNs - lengthNs,
      toNs,
      requests: r - first,
      accesses: blockStart[r] - blockStart[first],
      distinctBlocks: distinct,
      newBlocks: fresh,
      seenBlocks,
    });
  }
  return windows;
}

function sharingOf(trace: TraceColumns): SharingAnalysis {
  const { requests, blockStart, blocks, distinctBlocks } = trace;
  const sessionOf = affinities(streamOfTrace(trace));
  const lastSession = new Int32Array(distinctBlocks).fill(-1);
  /**
   * Sessions of a block, counted when they change; exact where a session's requests are told
   * apart.
   */
  const users = new Map<number, Set<number>>();
  const firstUser = new Int32Array(distinctBlocks).fill(-1);
  let reusesWithin = 0;
  let reusesAcross = 0;
  for (let r = 0; r < requests; r++) {
    const session = sessionOf[r];
    for (let i = blockStart[r]; i < blockStart[r + 1]; i++) {
      const block = blocks[i];
      if (firstUser[block] < 0) firstUser[block] = session;
      else if (lastSession[block] === session) reusesWithin++;
      else reusesAcross++;
      if (firstUser[block] !== session) {
        const others = users.get(block);
        if (others === undefined) users.set(block, new Set([session]));
        else others.add(session);
      }
      lastSession[block] = session;
    }
  }
  const bySessions = new DoublingHistogram();
  for (let block = 0; block < distinctBlocks; block++) {
    bySessions.add(1 + (users.get(block)?.size ?? 0));
  }
  return {
    sessionsFrom: trace.session === null ? 'derived' : 'trace',
    sessions: new Set(sessionOf).size,
    blocksBySessions: bySessions.bins(),
    reusesWithin,
    reusesAcross,
  };
}

function lifetimesOf({ requests, blockStart, blocks, arrivalNs, distinctBlocks }: TraceColumns) {
  const firstNs = new Float64Array(distinctBlocks).fill(Number.NaN);
  const lastNs = new Float64Array(distinctBlocks);
  const reused = new Uint8Array(distinctBlocks);
  for (let r = 0; r < requests; r++) {
    for (let i = blockStart[r]; i < blockStart[r + 1]; i++) {
      const block = blocks[i];
      if (Number.isNaN(firstNs[block])) firstNs[block] = arrivalNs[r];
      else reused[block] = 1;
      lastNs[block] = arrivalNs[r];
    }
  }
  const lifetimes = new DoublingHistogram(NS_PER_MS);
  for (let block = 0; block < distinctBlocks; block++) {
    if (reused[block] === 1) lifetimes.add(lastNs[block] - firstNs[block]);
  }
  return { mean: lifetimes.mean, bins: lifetimes.bins() };
}
