/** Laws that every cost model obeys: runs equal their steps, more work never takes less time. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type CostModel,
  DECODE_FIXED_POINT,
  type DecodePolynomial,
  decodeEndNs,
  type PassChunk,
} from '../../src/core/cost.ts';
import { FAST25_A800X8, PolynomialCost } from '../../src/model/polynomial.ts';
import { MODELS, roofline } from './models.ts';

const batch = fc.integer({ min: 1, max: 300 });
const context = fc.integer({ min: 0, max: 20_000_000 });

function run(cost: CostModel, batch: number, context: number): DecodePolynomial {
  const out = { linear: 0, quadratic: 0, steps: 0 };
  cost.decodeRun(batch, context, out);
  return out;
}

/** End of `steps` steps when runs are restarted after each of `cuts` (and where a run ends). */
function endOf(cost: CostModel, batch: number, context: number, steps: number, cuts: number[]) {
  let endNs = 0;
  let done = 0;
  for (let cut = 0; done < steps; ) {
    const part = run(cost, batch, context + done * batch);
    const wish = cut < cuts.length ? cuts[cut++] : steps;
    const length = Math.min(wish, part.steps, steps - done);
    endNs += decodeEndNs(part, length);
    done += length;
  }
  return endNs;
}

describe.each(MODELS)('%s', (_, cost) => {
  test('a decode run equals its steps, ns for ns, however it is split', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 8 });
    fc.assert(
      fc.property(batch, context, fc.integer({ min: 1, max: 3000 }), cuts, (b, c, steps, split) => {
        let stepByStepNs = 0;
        for (let i = 0; i < steps; i++) stepByStepNs += cost.decodeStepNs(b, c + i * b);
        expect(endOf(cost, b, c, steps, [])).toBe(stepByStepNs);
        expect(endOf(cost, b, c, steps, split)).toBe(stepByStepNs);
      }),
      { numRuns: 60 },
    );
  });

  test('coefficients are whole ns, and step i of a run lasts (linear + quadratic i) / 1024', () => {
    fc.assert(
      fc.property(batch, context, (b, c) => {
        const p = run(cost, b, c);
        expect(p.linear % DECODE_FIXED_POINT).toBe(0);
        expect(p.quadratic % DECODE_FIXED_POINT).toBe(0);
        expect(p.steps).toBeGreaterThanOrEqual(1);
        const last = p.steps - 1;
        expect((p.linear + p.quadratic * last) / DECODE_FIXED_POINT).toBe(
          cost.decodeStepNs(b, c + last * b),
        );
      }),
    );
  });

  test('a step takes no less with more context or requests, and much more with much more', () => {
    expect(cost.decodeStepNs(256, 256 * 100_000)).toBeGreaterThan(cost.decodeStepNs(256, 256));
    expect(cost.decodeStepNs(256, 256 * 10_000)).toBeGreaterThan(cost.decodeStepNs(1, 10_000));
    fc.assert(
      fc.property(batch, fc.integer({ min: 0, max: 130_000 }), (b, mean) => {
        const stepNs = cost.decodeStepNs(b, b * mean);
        expect(stepNs).toBeGreaterThan(0);
        expect(cost.decodeStepNs(b, b * (mean + 1))).toBeGreaterThanOrEqual(stepNs);
        // What hides under the reading of weights costs nothing.
        expect(cost.decodeStepNs(b + 1, (b + 1) * mean)).toBeGreaterThanOrEqual(stepNs);
      }),
    );
  });

  test('prefill takes longer with more tokens, deeper ones, and with the first chunk', () => {
    const token = fc.integer({ min: 0, max: 130_000 });
    fc.assert(
      fc.property(token, fc.integer({ min: 1, max: 8192 }), (from, length) => {
        const chunkNs = cost.prefillNs(from, from + length, false);
        expect(Number.isSafeInteger(chunkNs)).toBe(true);
        expect(chunkNs).toBeGreaterThan(0);
        // A token over KV that is read anyway may hide under the reading of weights.
        expect(cost.prefillNs(from, from + length + 1, false)).toBeGreaterThanOrEqual(chunkNs);
        expect(cost.prefillNs(from, from + length + 4096, false)).toBeGreaterThan(chunkNs);
        expect(cost.prefillNs(from + 4096, from + 4096 + length, false)).toBeGreaterThan(chunkNs);
        expect(cost.prefillNs(from, from + length, true)).toBeGreaterThan(chunkNs);
      }),
    );
  });

  test('splitting a prompt never makes it cheaper', () => {
    const tokens = fc.integer({ min: 1, max: 16_384 });
    fc.assert(
      fc.property(tokens, tokens, tokens, (a, length, rest) => {
        expect(splitExtraNs(cost, a, a + length, a + length + rest)).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  test('long chunks add up to the whole, but for the fixed time of one more pass', () => {
    // A step of nothing but its fixed time can't be had, so the first split sets the measure.
    const fixedNs = splitExtraNs(cost, 0, 16_384, 32_768);
    const tokens = fc.integer({ min: 16_384, max: 60_000 });
    fc.assert(
      fc.property(tokens, tokens, tokens, (a, length, rest) => {
        const extraNs = splitExtraNs(cost, a, a + length, a + length + rest);
        expect(Math.abs(extraNs - fixedNs)).toBeLessThanOrEqual(2);
      }),
    );
  });

  test('one chunk that ends its prompt takes what prefill takes', () => {
    const token = fc.integer({ min: 0, max: 60_000 });
    fc.assert(
      fc.property(token, fc.integer({ min: 1, max: 60_000 }), fc.boolean(), (from, n, first) => {
        const chunk = { fromToken: from, toToken: from + n, first, last: true };
        expect(cost.passNs([chunk], null)).toBe(cost.prefillNs(from, from + n, first));
      }),
    );
  });

  test('a pass takes no less than each part alone, and no more than all of them in turn', () => {
    const chunk = fc.record({
      fromToken: fc.integer({ min: 0, max: 30_000 }),
      tokens: fc.integer({ min: 1, max: 10_000 }),
      first: fc.boolean(),
      last: fc.boolean(),
    });
    const decode = fc.record({ batch, mean: fc.integer({ min: 1, max: 30_000 }) });
    const chunks = fc.array(chunk, { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(chunks, decode, (given, { batch, mean }) => {
        const pass = given.map(({ tokens, ...c }) => ({ ...c, toToken: c.fromToken + tokens }));
        const context = batch * mean;
        const prompts = cost.passNs(pass, null);
        const stepNs = cost.decodeStepNs(batch, context);
        const mixed = cost.passNs(pass, { batch, contextTokens: context });
        expect(Number.isSafeInteger(mixed)).toBe(true);
        expect(mixed).toBeGreaterThanOrEqual(prompts);
        expect(mixed).toBeGreaterThanOrEqual(stepNs);
        // A decode step is rounded within its cell: see decode-grid.ts.
        expect(mixed).toBeLessThanOrEqual(prompts + stepNs * 1.001 + 5_000);
        const alone = pass.map((one) => cost.passNs([one], null));
        expect(prompts).toBeGreaterThanOrEqual(Math.max(...pass.map(endedNs)) - 5);
        expect(prompts).toBeLessThanOrEqual(alone.reduce((sum, ns) => sum + ns, 5));
      }),
    );
  });

  const endedNs = (c: PassChunk) => cost.prefillNs(c.fromToken, c.toToken, c.first);
});

test('small chunks cost launches, by hand', () => {
  // 23 passes of 512 tokens and one of 224 are 12,000: each of the 23 pays 15.4 ms less 1/16.
  const cost = new PolynomialCost(FAST25_A800X8);
  let sumNs = 0;
  for (let from = 0; from < 12_000; from += 512) {
    const toToken = Math.min(from + 512, 12_000);
    const chunk = { fromToken: from, toToken, first: from === 0, last: toToken === 12_000 };
    sumNs += cost.passNs([chunk], null);
  }
  // Launches: 26.216 ms - 2 B x 70.55 G / (8 x 2,039 GB/s x 0.8).
  const launchNs = 26.216e6 - (2 * 70.55e9) / (8 * 2039 * 0.8);
  const extraNs = sumNs - cost.prefillNs(0, 12_000, true);
  expect(extraNs / (23 * launchNs * (15 / 16))).toBeCloseTo(1, 2);
});

test('a batch alongside a long chunk costs its context and its tokens, not another pass', () => {
  const cost = new PolynomialCost(FAST25_A800X8);
  const chunk = { fromToken: 0, toToken: 8192, first: false, last: false };
  const addedNs =
    cost.passNs([chunk], { batch: 10, contextTokens: 100 * 1024 }) - cost.passNs([chunk], null);
  expect(addedNs / 1e6).toBeCloseTo(100 * 0.0355 + (10 * 113.16) / 1024, 2);
});

function splitExtraNs(cost: CostModel, a: number, b: number, c: number): number {
  const split = cost.prefillNs(a, b, false) + cost.prefillNs(b, c, false);
  return split - cost.prefillNs(a, c, false);
}

describe('mixture of experts', () => {
  test('decode at batch 1 reads few of the experts, a large batch all of them', () => {
    // Qwen3-235B on 8 x H200: 470 GB of weights over 30.7 GB/ms; 22 of 235 billion parameters
    // are visited by one token, practically all by 256.
    const moe = roofline('qwen3-235b-a22b', 'h200');
    const fixedNs = 94 * 194e3;
    expect(moe.decodeStepNs(1, 0) - fixedNs).toBeLessThan(2e6);
    expect(moe.decodeStepNs(256, 0) - fixedNs).toBeGreaterThan(470 / 30.72e-6);
  });
});

test('the polynomial is exactly additive: P(a, c) = P(a, b) + P(b, c)', () => {
  const cost = new PolynomialCost(FAST25_A800X8);
  const tokens = fc.integer({ min: 0, max: 100_000 });
  fc.assert(
    fc.property(tokens, tokens, tokens, (a, length, rest) => {
      expect(splitExtraNs(cost, a, a + length, a + length + rest)).toBe(0);
      const onceNs = cost.prefillNs(a, a + length, true) - cost.prefillNs(a, a + length, false);
      expect(onceNs).toBe(44_900_000);
    }),
  );
});

describe('tensor parallel', () => {
  const tp = (n: number) => roofline('llama3-70b', 'h100', n, 'fp8');
  /** Long enough that compute decides, whatever the GPUs. */
  const TOKENS = 32_768;
  const marginNs = (n: number) =>
    tp(n).prefillNs(0, TOKENS + 1024, false) - tp(n).prefillNs(0, TOKENS, false);
  /** 2 all-reduces x layers x hidden x 2 B x 2 (tp - 1) / tp over 450 GB/s, by hand. */
  const allReduceNs = (n: number) => (2 * 80 * 8192 * 2 * 2 * (n - 1) * TOKENS) / n / 450;

  test('GPUs share the compute; the all-reduce does not shrink with them', () => {
    const oneNs = marginNs(1);
    for (const n of [2, 4, 8]) {
      const reduceNs = (allReduceNs(n) * 1024) / TOKENS;
      expect((marginNs(n) - reduceNs) / (oneNs / n)).toBeCloseTo(1, 3);
    }
    expect(allReduceNs(8) / allReduceNs(2)).toBeCloseTo(1.75, 10);
  });

  test('more GPUs are never slower, and eight of them less than eight times as fast', () => {
    for (const tokens of [512, 8192, TOKENS]) {
      const times = [1, 2, 4, 8].map((n) => tp(n).prefillNs(0, tokens, false));
      for (let i = 1; i < times.length; i++) expect(times[i]).toBeLessThan(times[i - 1]);
      expect(times[0] / times[3]).toBeLessThan(8);
    }
    for (const batch of [1, 64]) {
      const steps = [1, 2, 4, 8].map((n) => tp(n).decodeStepNs(batch, batch * 4096));
      for (let i = 1; i < steps.length; i++) expect(steps[i]).toBeLessThan(steps[i - 1]);
    }
  });
});

describe('a kernel that is slower over KV that is there already', () => {
  const cost = new PolynomialCost(FAST25_A800X8);
  const slow = new PolynomialCost({ ...FAST25_A800X8, contextAttention: 3 });
  const extraNs = (fromToken: number, toToken: number) => {
    const chunk = [{ fromToken, toToken, first: fromToken === 0, last: true }];
    return slow.passNs(chunk, null) - cost.passNs(chunk, null);
  };

  test('costs a prompt in one pass nothing', () => {
    expect(extraNs(0, 32_768)).toBe(0);
  });

  test('costs twice the attention of a chunk over what precedes it', () => {
    // Of (k^2 - 16) of tokens 4,096 on, 2 x 4 x (k - 4) is over the first 4.
    const attention = 2 * 4 * 8 * FAST25_A800X8.prefillQuadraticNs;
    expect(extraNs(4_096, 12_288)).toBeCloseTo(2 * attention, -1);
  });
});

describe("an engine's own time", () => {
  const cost = new PolynomialCost(FAST25_A800X8);
  const engine = new PolynomialCost({ ...FAST25_A800X8, decodeRequestNs: 2e6, prefixHashNs: 1e6 });
  const chunk = { fromToken: 0, toToken: 4096, first: true, last: false };

  test('for a request in a pass with prompts is what it takes beyond a token of compute', () => {
    const riding = { batch: 10, contextTokens: 40_960 };
    const extraNs = engine.passNs([chunk], riding) - cost.passNs([chunk], riding);
    expect(extraNs).toBeCloseTo(10 * (2e6 - FAST25_A800X8.decodeRequestNs), -1);
  });

  test('for the prefix cache is once for a prompt, by the square of its length', () => {
    expect(cost.hostNs([{ ...chunk, last: true }])).toBe(0);
    expect(engine.hostNs([chunk])).toBe(0);
    expect(engine.hostNs([{ ...chunk, fromToken: 2048, last: true }])).toBe(16e6);
    expect(engine.passNs([chunk], null)).toBe(cost.passNs([chunk], null));
  });
});
