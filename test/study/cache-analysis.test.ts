/** The analysis of a trace, on one small enough to count by hand. */
import { describe, expect, it } from 'vitest';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { analyseTrace } from '../../src/study/cache/analysis.ts';
import { DoublingHistogram } from '../../src/study/cache/histogram.ts';

/** Requests of blocks of one token at given seconds. */
function traceOf(
  turns: readonly { at: number; blocks: readonly number[]; session?: number }[],
): TraceColumns {
  const blockStart = new Int32Array(turns.length + 1);
  turns.forEach(({ blocks }, i) => {
    blockStart[i + 1] = blockStart[i] + blocks.length;
  });
  const blocks = Int32Array.from(turns.flatMap((turn) => turn.blocks));
  const named = turns[0].session !== undefined;
  return {
    requests: turns.length,
    blockTokens: 1,
    distinctBlocks: Math.max(...blocks) + 1,
    arrivalNs: Float64Array.from(turns, ({ at }) => at * 1e9),
    inputTokens: Int32Array.from(turns, (turn) => turn.blocks.length),
    outputTokens: new Int32Array(turns.length).fill(1),
    blockStart,
    blocks,
    session: named ? Int32Array.from(turns, ({ session }) => session!) : null,
    parent: null,
    thinkNs: null,
    priority: null,
    tenant: null,
    sloClass: null,
    namespace: null,
    sha256: 'none',
  };
}

/** Two sessions behind block 0: 0 1 2 grows to 0 1 2 3, and 0 4 comes between. */
const trace = traceOf([
  { at: 0, blocks: [0, 1, 2], session: 0 },
  { at: 2, blocks: [0, 4], session: 1 },
  { at: 60, blocks: [0, 1, 2, 3], session: 0 },
]);

const filled = (bins: readonly { from: number; count: number }[]) =>
  bins.filter(({ count }) => count > 0).map(({ from, count }) => [from, count]);

describe('the analysis of a trace', () => {
  const analysis = analyseTrace(trace);

  it('measures reuse in blocks and time', () => {
    // Second request: 0 after 0 1 2, distance 3. Third: 0 after 0 4: 2. 1 after 1 2 0 4: 4; 2 after
    // 2 0 4 1: 4.
    expect(analysis.reuse.cold).toBe(5);
    expect(filled(analysis.reuse.distanceBlocks)).toEqual([
      [2, 2],
      [4, 2],
    ]);
    // Gaps of 2, 58, 60 and 60 s, in bins of 1 ms x 2^n: 1.024 s, 32.768 s.
    expect(filled(analysis.reuse.timeNs)).toEqual([
      [1.024e9, 1],
      [32.768e9, 3],
    ]);
  });

  it('ranks blocks by their accesses', () => {
    // 0: 3; 1 and 2: 2; 3 and 4: 1.
    const { blocksByAccesses, usedOnceShare, ranks, topShares } = analysis.popularity;
    expect(filled(blocksByAccesses)).toEqual([
      [1, 2],
      [2, 3],
    ]);
    expect(usedOnceShare).toBe(2 / 5);
    expect(ranks).toEqual([
      { rank: 1, accesses: 3 },
      { rank: 2, accesses: 2 },
      { rank: 4, accesses: 1 },
      { rank: 5, accesses: 1 },
    ]);
    expect(topShares.map(({ accessesShare }) => accessesShare)).toEqual([3 / 9, 5 / 9, 8 / 9, 1]);
  });

  it('finds the exponent of a Zipf law', () => {
    const blocks = Array.from({ length: 64 }, (_, i) => i).flatMap((block) =>
      new Array<number>(Math.round(6400 / (block + 1))).fill(block),
    );
    const zipf = analyseTrace(traceOf([{ at: 0, blocks }]));
    expect(zipf.popularity.zipfExponent).toBeCloseTo(1, 2);
  });

  it('follows the working set', () => {
    const windows = analysis.workingSet;
    expect(windows.reduce((sum, { requests }) => sum + requests, 0)).toBe(3);
    expect(windows.reduce((sum, { accesses }) => sum + accesses, 0)).toBe(9);
    expect(windows[0]).toMatchObject({ requests: 1, distinctBlocks: 3, newBlocks: 3 });
    expect(windows.at(-1)).toMatchObject({ distinctBlocks: 4, newBlocks: 1, seenBlocks: 5 });
    windows.slice(1).forEach((window, i) => {
      expect(window.fromNs).toBe(windows[i].toNs);
    });
  });

  it('draws the prefix tree', () => {
    // 0 - 1 - 2 - 3 and 0 - 4.
    const tree = analysis.prefixTree;
    expect(tree).toMatchObject({ roots: 1, leaves: 2, forks: 1, childrenMax: 2, depthMax: 3 });
    expect(tree.ambiguousBlocks).toBe(0);
    // Depths 0; 1 1; 2 3.
    expect(filled(tree.blocksByDepth)).toEqual([
      [0, 1],
      [1, 2],
      [2, 2],
    ]);
    // No known block, then 0, then 0 1 2.
    expect(filled(tree.requestsBySharedDepth)).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
    ]);
  });

  it('notices ids that are no hashes of prefixes', () => {
    const odd = traceOf([
      { at: 0, blocks: [0, 1] },
      { at: 1, blocks: [1, 2] },
      { at: 2, blocks: [0, 2] },
    ]);
    // 1 is a root and a child of 0; 2 is a child of 1 and of 0.
    expect(analyseTrace(odd).prefixTree.ambiguousBlocks).toBe(2);
  });

  it('tells sharing between sessions from reuse within one', () => {
    // 0 is used by session 0, 1, 0: two changes of hands. 1 and 2 stay within session 0.
    expect(analysis.sharing).toMatchObject({
      sessionsFrom: 'trace',
      sessions: 2,
      reusesWithin: 2,
      reusesAcross: 2,
    });
    expect(filled(analysis.sharing.blocksBySessions)).toEqual([
      [1, 4],
      [2, 1],
    ]);
  });

  it('derives sessions where the trace has none', () => {
    // 200 sessions of two requests behind block 0.
    const turns = Array.from({ length: 400 }, (_, i) => ({ at: i, blocks: [0, 1 + (i % 200)] }));
    expect(analyseTrace(traceOf(turns)).sharing).toMatchObject({
      sessionsFrom: 'derived',
      sessions: 200,
      reusesWithin: 200,
      reusesAcross: 399,
    });
  });

  it('measures lifetimes of blocks that come back', () => {
    // 0, 1 and 2 live 60 s; 3 and 4 do not come back.
    expect(analysis.lifetimeNs.mean).toBe(60e9);
    expect(filled(analysis.lifetimeNs.bins)).toEqual([[32.768e9, 3]]);
  });
});

it('the histogram puts values where they belong, powers of two first of all', () => {
  const histogram = new DoublingHistogram();
  for (const value of [0, 0.5, 1, 2, 3, 4, 7, 8, 2 ** 29 - 1, 2 ** 29]) histogram.add(value);
  expect(filled(histogram.bins())).toEqual([
    [0, 2],
    [1, 1],
    [2, 2],
    [4, 2],
    [8, 1],
    [2 ** 28, 1],
    [2 ** 29, 1],
  ]);
  expect(histogram.count).toBe(10);
});
