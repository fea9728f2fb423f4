/** Blocks that decode produced get the ids of those who continue them. */
import { describe, expect, it } from 'vitest';
import { Mark } from '../../src/core/host.ts';
import { withDecoded } from '../../src/study/decoded.ts';
import { simulate } from '../support/simulate.ts';
import { BLOCK_TOKENS, tinyPlan, tinyTopology, traceOf } from '../support/tiny.ts';

/**
 * The first prompt is two blocks and a half; its answer fills the third block and a fourth. The
 * second continues it, and the third is of another conversation.
 */
const ROWS = [
  { atNs: 0, blocks: [0, 1, 2], inputTokens: 40, outputTokens: 30 },
  { atNs: 1, blocks: [0, 1, 3, 4, 5], outputTokens: 2, parent: 0, thinkNs: 1_000_000 },
  { atNs: 2, blocks: [0, 6], outputTokens: 20 },
];
const decodedOf = (trace: ReturnType<typeof withDecoded>, request: number) => {
  const { start, blocks } = trace.decoded!;
  return [...blocks.subarray(start[request], start[request + 1])];
};

describe('decode-produced blocks', () => {
  it('take the ids that a child presents, else ids of their own', () => {
    const trace = withDecoded(traceOf(ROWS), 'parent', 'here');
    expect(decodedOf(trace, 0)).toEqual([3, 4]);
    expect(decodedOf(trace, 1)).toEqual([]);
    expect(decodedOf(trace, 2)).toEqual([7]);
    expect(trace.distinctBlocks).toBe(8);
  });

  it('are found from ids alone by the rule chain', () => {
    const rows = ROWS.map(({ parent: _, thinkNs: __, ...row }) => row);
    const trace = withDecoded(traceOf(rows), 'chain', 'here');
    const second = [...trace.blocks.subarray(trace.blockStart[1], trace.blockStart[2])];
    expect(decodedOf(trace, 0)).toEqual(second.slice(2, 4));
  });

  it('need parents or sessions for the rule parent', () => {
    const rows = ROWS.map(({ parent: _, thinkNs: __, ...row }) => row);
    expect(() => withDecoded(traceOf(rows), 'parent', 'mine.yaml:3:5')).toThrow(
      'mine.yaml:3:5: store.decodeCached: found parent and a trace without parents and sessions',
    );
  });

  it('are cached on the node that computed the prompt, and hit there', async () => {
    const trace = withDecoded(traceOf(ROWS.slice(0, 2)), 'parent', 'here');
    const run = simulate({ plan: await tinyPlan({ topology: tinyTopology() }), trace });
    expect(run.recorder.column(Mark.dramTokens)[1]).toBe(4 * BLOCK_TOKENS);
    for (const store of run.cluster.stores) store.checkIdle(0);
    const node = run.cluster.stores.findIndex(({ dram }) => dram.findReady(0) >= 0);
    expect(run.cluster.stores[node].dram.findReady(4)).toBeGreaterThanOrEqual(0);
  });
});
