/** Chunked pipeline parallelism against schedules that were worked out by hand. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import { decodeEndNs } from '../../src/core/cost.ts';
import { PipelineCost, type PipelineShape } from '../../src/model/pipeline.ts';
import { FAST25_A800X8, PolynomialCost } from '../../src/model/polynomial.ts';
import { TinyCost } from '../support/tiny.ts';

/** A token takes 1 us, a request 10 us; a token is handed over in 0.5 ns and 1 us. */
const pipeline = (stages: number, chunkTokens: number, more: Partial<PipelineShape> = {}) =>
  new PipelineCost(new TinyCost(), {
    stages,
    chunkTokens,
    hidden: 1,
    bytesPerNs: 4,
    latencyNs: 1_000,
    ...more,
  });

const chunk = (fromToken: number, toToken: number, last = true) => ({
  fromToken,
  toToken,
  first: false,
  last,
});

describe('two stages', () => {
  it('overlap chunks: the first fills the pipeline, the others follow', () => {
    // 3 chunks of 20 us: stage 0 ends at 10, 20, 30; stage 1 begins at 11.01, and each next chunk
    // is there before it is free: 21.01, 31.01, 41.01.
    const cost = pipeline(2, 20);
    expect(cost.passNs([chunk(0, 60)], null)).toBe(41_010);
    // On one node 60.
    expect(new TinyCost().passNs([chunk(0, 60)], null)).toBe(60_000);
  });

  it('wait for the longer chunk', () => {
    // 40 then 10 us: stage 0 ends at 20, 25; stage 1 at 21.02 + 20 = 41.02, then + 5.
    const cost = pipeline(2, 40);
    expect(cost.passNs([chunk(0, 50)], null)).toBe(46_020);
    // 10 then 40 us: stage 0 ends at 5, 25; stage 1 begins the second when it is there: 26.02 + 20.
    const turned = [chunk(0, 10, false), chunk(10, 50)];
    expect(cost.passNs(turned, null)).toBe(46_020);
  });

  it('charge the constant of a request with its first chunk', () => {
    // 10 + 20 and 20 us: stage 0 ends at 15, 25; stage 1 at 16.01 + 15 = 31.01, 41.01.
    expect(pipeline(2, 20).prefillNs(0, 40, true)).toBe(41_010);
  });

  it('let prompts of one pass follow each other, and the decode batch come last', () => {
    const cost = pipeline(2, 20);
    expect(cost.passNs([chunk(0, 20), chunk(0, 20), chunk(0, 20)], null)).toBe(41_010);
    // 20 + 2 + 0.2 us of decode: stage 0 ends at 41.1, two tokens are over at 42.101, then 11.1.
    const decode = { batch: 2, contextTokens: 200 };
    expect(cost.passNs([chunk(0, 60)], decode)).toBe(53_201);
  });
});

it('three stages by hand', () => {
  // 4 chunks of 30 us, 10 on a stage, 5 us to hand over: (4 + 2) x 10 + 2 x 5.
  const cost = pipeline(3, 30, { hidden: 0, latencyNs: 5_000 });
  expect(cost.passNs([chunk(0, 120)], null)).toBe(70_000);
});

describe('laws', () => {
  const whole = new PolynomialCost(FAST25_A800X8);
  const of = (stages: number, chunkTokens: number) =>
    new PipelineCost(whole, {
      stages,
      chunkTokens,
      hidden: 8192,
      bytesPerNs: 87.6,
      latencyNs: 1e4,
    });

  it('one chunk takes what it takes on one node, and the hand-overs', () => {
    const handOverNs = Math.round(1e4 + (8192 * 8192 * 2) / 87.6);
    for (const stages of [2, 4]) {
      const ns = of(stages, 8192).prefillNs(0, 8192, true);
      expect(ns).toBe(whole.prefillNs(0, 8192, true) + (stages - 1) * handOverNs);
    }
  });

  it('no prompt takes less than its share of the work, or more than all in turn', () => {
    const stages = fc.integer({ min: 2, max: 8 });
    const tokens = fc.integer({ min: 1, max: 200_000 });
    fc.assert(
      fc.property(stages, tokens, fc.integer({ min: 512, max: 16_384 }), (x, n, chunkTokens) => {
        const chunks = [];
        for (let from = 0; from < n; from += chunkTokens) {
          const toToken = Math.min(from + chunkTokens, n);
          chunks.push({ fromToken: from, toToken, first: from === 0, last: toToken === n });
        }
        const alone = chunks.reduce((sum, one) => sum + whole.passNs([one], null), 0);
        const ns = of(x, chunkTokens).prefillNs(0, n, true);
        expect(ns).toBeGreaterThanOrEqual(Math.floor(alone / x));
        const handOvers = chunks.length * (x - 1) * (1e4 + (chunkTokens * 16_384) / 87.6 + 1);
        expect(ns).toBeLessThanOrEqual(alone + handOvers + 1);
      }),
    );
  });

  it('a decode run equals its steps, each through all stages', () => {
    const cost = of(4, 8192);
    const out = { linear: 0, quadratic: 0, steps: 0 };
    cost.decodeRun(5, 50_000, out);
    let sumNs = 0;
    for (let i = 0; i < 100; i++) sumNs += cost.decodeStepNs(5, 50_000 + 5 * i);
    expect(decodeEndNs(out, 100)).toBe(sumNs);
    expect(cost.decodeStepNs(5, 50_000)).toBeGreaterThan(whole.decodeStepNs(5, 50_000));
  });

  it('long prompts gain: 128k tokens on four nodes in less than a third of the time', () => {
    const ns = of(4, 8192).prefillNs(0, 131_072, true);
    expect(whole.prefillNs(0, 131_072, true) / ns).toBeGreaterThan(3);
  });
});

describe('a cluster', () => {
  it('takes the nodes of a pipeline as one, each with its layers', async () => {
    const one = resolveConfig(await loadConfig('mooncake-16', []));
    const two = resolveConfig(await loadConfig('mooncake-16', ['cluster.groups.0.pipeline=2']));
    expect(two.topology.instances.map(({ stages }) => stages)).toEqual([
      ...new Array(4).fill(2),
      ...new Array(8).fill(1),
    ]);
    const [node, wide] = [one.topology.nodes[0], two.topology.nodes[0]];
    expect(wide.gpus).toBe(16);
    expect(wide.rails).toHaveLength(8);
    expect(wide.rails[0].bytesPerNs).toBe(node.rails[0].bytesPerNs);
    for (const key of ['dramCapacityBytes', 'hostToDeviceBytesPerNs'] as const) {
      expect(wide[key]).toBe(2 * node[key]);
    }
    // Both hold one copy of the weights: 141 GB.
    const { kvCapacityBytes, gpuShare, gpus } = two.topology.instances[0];
    const alone = one.topology.instances[0].kvCapacityBytes;
    const gpuBytes = 16 * 80 * 2 ** 30 * 0.9;
    expect(kvCapacityBytes - 2 * alone).toBe(Math.round(gpuBytes / 2 - alone));
    expect(gpuShare).toBe(2);
    expect(gpus).toHaveLength(16);
  });

  it('refuses what does not divide', async () => {
    const loaded = await loadConfig('mooncake-16', ['cluster.groups.0.pipeline=3']);
    expect(() => resolveConfig(loaded)).toThrow(
      'cluster.groups[0].pipeline: found 3 for 8 nodes of 1 engines, expected a divisor of count',
    );
  });
});
