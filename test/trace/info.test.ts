import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { traceInfo } from '../../src/trace/info.ts';
import { openTrace } from '../../src/trace/open.ts';
import { itWithConversation, line, readLines } from './files.ts';

describe('what a trace is', () => {
  it('counts reuse with room for everything, by hand', async () => {
    // Blocks of 4 tokens.  request       blocks         hits  why
    const rows = [
      { input_length: 12, hash_ids: [1, 2, 3] }, //         0  nothing was before
      { input_length: 10, hash_ids: [1, 2, 4] }, //         2  1 and 2
      { input_length: 5, hash_ids: [9, 2] }, //             0  9 is new, 2 does not lead
      { input_length: 9, hash_ids: [1, 2, 4] }, //          3  all; tokens: 9, not 12
      { input_length: 8, hash_ids: [5, 5] }, //             0  within one request nothing hits
    ];
    const lines = rows.map((row, index) =>
      line({ ...row, timestamp: index * 100, output_length: 2 * index + 1 }),
    );
    const info = traceInfo(await readLines(lines, { blockTokens: 4 }));
    expect(info.blocks).toEqual({
      accesses: 13,
      distinct: 6,
      hottestRequests: 4, // Block 2: all but the last.
      hottestShare: 4 / 5,
    });
    expect(info.reuse).toEqual({
      hitBlocks: 5,
      blocksRatio: 5 / 13,
      tokensRatio: (8 + 9) / 44,
      fullHits: 1,
    });
    expect(info.inputTokens).toEqual({ mean: 8.8, p50: 9, p90: 12, p99: 12, max: 12 });
    expect(info.outputTokens).toEqual({ mean: 5, p50: 5, p90: 9, p99: 9, max: 9 });
    expect(info.durationNs).toBe(400e6);
    expect(info.requestsPerSecond).toBeCloseTo(12.5, 12);
    expect(info.sessions).toBeNull();
  });

  it('counts reuse as the definition does', async () => {
    const requests = fc.array(fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 6 }), {
      minLength: 1,
      maxLength: 30,
    });
    await fc.assert(
      fc.asyncProperty(requests, async (lists) => {
        const lines = lists.map((hash_ids) => line({ input_length: hash_ids.length, hash_ids }));
        const { reuse, blocks } = traceInfo(await readLines(lines, { blockTokens: 1 }));
        const seen = new Set<number>();
        let hits = 0;
        for (const list of lists) {
          const miss = list.findIndex((hash) => !seen.has(hash));
          hits += miss === -1 ? list.length : miss;
          for (const hash of list) seen.add(hash);
        }
        expect(reuse.hitBlocks).toBe(hits);
        const holders = [...seen].map((hash) => lists.filter((list) => list.includes(hash)).length);
        expect(blocks.hottestRequests).toBe(Math.max(...holders));
      }),
    );
  });

  it('finds bursts, and does not find them where there are none', async () => {
    const at = (times: readonly number[]) => readLines(times.map((ms) => line({ timestamp: ms })));
    const bursts = traceInfo(await at([0, 0, 0, 3000, 3000, 5999, 8999, 8999]));
    // Gaps 0 0 3000 0 2999 3000 0: mean 8999/7, variation sqrt(7 * 26994001 / 8999^2 - 1).
    expect(bursts.arrivals.burstPeriodNs).toBe(3000e6);
    expect(bursts.arrivals.requestsPerBurst).toBe(2);
    expect(bursts.arrivals.gapVariation).toBeCloseTo(
      Math.sqrt((7 * 26_994_001) / 8999 ** 2 - 1),
      12,
    );
    const irregular = traceInfo(await at([0, 10, 40, 45, 160, 162, 400, 1000]));
    expect(irregular.arrivals.burstPeriodNs).toBeNull();
    const together = traceInfo(await at([7, 7, 7]));
    expect(together.requestsPerSecond).toBeNull();
    const { arrivals } = together;
    expect(arrivals).toEqual({ gapVariation: null, burstPeriodNs: null, requestsPerBurst: null });
    expect(traceInfo(await at([7])).arrivals.gapVariation).toBeNull();
  });

  it('counts the turns of sessions', async () => {
    const names = ['a', 'b', 'a', null, 'a'];
    const info = traceInfo(await readLines(names.map((session_id) => line({ session_id }))));
    expect(info.sessions).toEqual({
      count: 2,
      turns: { mean: 2, p50: 1, p90: 3, p99: 3, max: 3 },
    });
  });

  itWithConversation('agrees with what is published of the conversation trace', async (path) => {
    const info = traceInfo(await openTrace(`mooncake:${path}`));
    expect(info.requests).toBe(12_031);
    expect(info.blocks.accesses).toBe(288_500);
    expect(info.blocks.distinct).toBe(182_790);
    expect(info.blocks.hottestRequests).toBe(12_031);
    // An independent replay of the same rule: prefix_conversation.json, capacity inf.
    expect(info.reuse.hitBlocks).toBe(105_710);
    expect(info.reuse.blocksRatio).toBeCloseTo(0.3664124783362218, 15);
    expect(info.reuse.tokensRatio).toBeCloseTo(0.3736237491291324, 12);
    expect(Math.round(info.inputTokens.mean)).toBe(12_035);
    expect(Math.round(info.outputTokens.mean)).toBe(343);
    expect(info.arrivals.burstPeriodNs).toBe(3e9);
    expect(info.durationNs).toBe(3_536_999e6);
  });
});
