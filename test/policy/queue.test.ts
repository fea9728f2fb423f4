/** Queue policies: the order in which an instance takes prompts that wait. */
import { describe, expect, it } from 'vitest';
import { PolicyError } from '../../src/core/errors.ts';
import { Mark } from '../../src/core/host.ts';
import { simulate } from '../support/simulate.ts';
import { tinyPlan, tinyTopology, traceOf } from '../support/tiny.ts';

/**
 * One prefill instance is busy with request 0 while the others come, in order. Blocks: 1 has 4, 2
 * has 1, 3 has 6 of which 5 are cached by then (it shares those of 0), 4 has 2.
 */
const BUSY = [0, 1, 2, 3, 4];
const trace = {
  ...traceOf([
    { atNs: 0, blocks: BUSY, outputTokens: 1 },
    { atNs: 10_000, blocks: [11, 12, 13, 14], outputTokens: 1 },
    { atNs: 20_000, blocks: [21], outputTokens: 1 },
    { atNs: 30_000, blocks: [...BUSY, 31], outputTokens: 1 },
    { atNs: 40_000, blocks: [41, 42], outputTokens: 1 },
  ]),
  priority: Int32Array.from([0, 0, -3, 1, 2]),
};

async function order(queue: string): Promise<number[]> {
  const topology = tinyTopology({ prefill: 1, decode: 1 });
  const plan = await tinyPlan({ topology, policies: { queue } });
  const { recorder } = simulate({ plan, trace });
  const started = recorder.column(Mark.startedNs);
  return [1, 2, 3, 4].sort((a, b) => started[a] - started[b]);
}

describe('prompts take their turn', () => {
  // At dispatch nothing is known to be cached: request 0 computes in two chunks of 64 tokens, and
  // its blocks are known 5 us after they are saved. Request 3 counts as 96 tokens.
  it.each([
    ['fcfs', [1, 2, 3, 4]],
    ['lcfs', [4, 3, 2, 1]],
    ['sjf', [2, 4, 1, 3]],
    // A token a microsecond: the order of arrival again.
    ['sjf:aging=1e9', [1, 2, 3, 4]],
    // 74 us, 26 x 8, 106 / 2, 42 / 4.
    ['wspt', [4, 3, 1, 2]],
    ['priority', [4, 3, 1, 2]],
    // Arrival less work, all with the same target: 10 - 74, 20 - 26, 30 - 106, 40 - 42.
    ['deadline', [3, 1, 2, 4]],
  ])('%s', async (queue, expected) => {
    expect(await order(queue)).toEqual(expected);
  });

  it('refuses a rank that is no number', async () => {
    const topology = tinyTopology({ prefill: 1, decode: 1 });
    const planned = await tinyPlan({ topology });
    const queue = { name: 'nan', create: () => ({ rank: () => Number.NaN }) };
    const plan = { ...planned, policies: { ...planned.policies, queue } };
    expect(() => simulate({ plan, trace })).toThrow(PolicyError);
  });
});
