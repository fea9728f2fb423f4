/** Miss and hit counts of other tools: every policy with an external oracle, to the last miss. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type AccessStream, streamOfTrace } from '../../src/study/cache/access-stream.ts';
import type { TouchOrder } from '../../src/study/cache/future.ts';
import { runCacheStudy } from '../../src/study/cache/index.ts';
import { openTrace } from '../../src/trace/open.ts';
import misses from '../golden/cache-misses.json' with { type: 'json' };
import prefixHits from '../golden/cache-prefix-hits.json' with { type: 'json' };
import { CONVERSATION, realTrace } from '../support/traces.ts';
import { play, skewedStream } from './cache-streams.ts';

type Rows = Record<string, number>;

const capacityOf = (text: string) => (text === 'inf' ? null : Number(text));
const conversation = realTrace(CONVERSATION);

/** Of the accesses: what policies with random numbers or hashes may differ by. */
const TOLERANCE = 0.01;

async function missesOf(stream: AccessStream, policy: string, rows: Rows): Promise<Rows> {
  const found: Rows = {};
  for (const capacity of Object.keys(rows)) {
    const counts = await play(stream, policy, capacityOf(capacity));
    found[capacity] = counts.accesses - counts.any.hits;
  }
  return found;
}

function expectNear(found: Rows, rows: Rows, accesses: number): void {
  for (const [capacity, wanted] of Object.entries(rows)) {
    const off = Math.abs(found[capacity] - wanted) / accesses;
    expect(off, `at ${capacity}: ${found[capacity]}, oracle ${wanted}`).toBeLessThan(TOLERANCE);
  }
}

describe('the skewed stream', () => {
  const stream = skewedStream();

  it('is the one that the oracle was run on', () => {
    expect([...stream.blocks.subarray(0, 10)]).toEqual([
      2679, 103, 9474, 1428, 112, 138, 575, 69, 2221, 6001,
    ]);
    const sum = stream.blocks.reduce((total, key) => (total + key) % 1_000_003, 0);
    expect([new Set(stream.blocks).size, sum]).toEqual([41_854, 56_600]);
  });

  it.each(Object.entries(misses.skewed.exact))('%s misses exactly', async (policy, rows) => {
    expect(await missesOf(stream, policy, rows)).toEqual(rows);
  });

  it.each(Object.entries(misses.skewed.range))(
    '%s misses within a hundredth of the accesses',
    async (policy, rows) => {
      expectNear(await missesOf(stream, policy, rows), rows, stream.requests);
    },
  );
});

describe.skipIf(conversation === null)('the conversation trace', () => {
  let stream: AccessStream;
  beforeAll(async () => {
    stream = streamOfTrace(await openTrace(`mooncake:${conversation}`));
  });

  it.each(Object.entries(misses.conversation.exact))('%s misses exactly', async (policy, rows) => {
    expect(await missesOf(stream, policy, rows)).toEqual(rows);
  });

  it.each(Object.entries(misses.conversation.range))(
    '%s misses within a hundredth of the accesses',
    async (policy, rows) => {
      expectNear(await missesOf(stream, policy, rows), rows, stream.blocks.length);
    },
  );

  it.each(Object.entries(prefixHits.policies))('%s hits exactly', async (name, rows) => {
    const [policy, order] = name.split('/') as [string, TouchOrder];
    for (const [capacity, wanted] of Object.entries(rows)) {
      const { prefix, inputTokens } = await play(stream, policy, capacityOf(capacity), order);
      const found = { hits: prefix.hits, tokensRatio: prefix.tokens / inputTokens };
      expect(found, `at ${capacity}`).toEqual(wanted);
    }
  });

  it('prefix-cost saves more prefill than lru and s3-fifo at every capacity', async () => {
    const trace = `mooncake:${conversation}`;
    const policies = ['prefix-cost', 'lru', 's3-fifo'];
    const capacities = [1000, 3000, 10_000, 20_000, 30_000, 50_000, 100_000];
    for (const seed of [1, 2]) {
      const { rows } = await runCacheStudy({ trace, policies, capacities, seed });
      for (const capacity of capacities) {
        const [own, ...others] = rows.filter((row) => row.capacityBlocks === capacity);
        for (const other of others) {
          const name = `${other.policy} at ${capacity}`;
          expect(own.savedPrefillSeconds, name).toBeGreaterThan(other.savedPrefillSeconds!);
        }
      }
    }
  });
});
