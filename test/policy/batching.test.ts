/** Batching policies asked about hand-made engines. */
import { describe, expect, it } from 'vitest';
import { loadPolicy } from '../../src/config/policies.ts';
import { parsePolicyRef } from '../../src/config/policy-ref.ts';
import { Batcher } from '../../src/core/batcher.ts';
import { PolicyError } from '../../src/core/errors.ts';
import type { BatchingPolicy, EngineContext, EngineView } from '../../src/core/policy.ts';
import type { Prompt } from '../../src/core/prompts.ts';
import { requestOf } from '../support/teller.ts';
import { TINY_SETTINGS } from '../support/tiny.ts';

const context: EngineContext = {
  random: () => 0,
  estimate: { prefillNs: () => 0, transferNs: () => 0, decodeStepNs: () => 0 },
  slo: { ttftNs: 1, tbtNs: 1 },
  blockTokens: 16,
  instance: 0,
};

async function policy(spec: string): Promise<BatchingPolicy> {
  const { module, params } = await loadPolicy(parsePolicyRef('batching', spec, 'test'));
  return module.create(context, params as never);
}

const prompt = (promptTokens: number, doneTokens = 0) => ({
  request: requestOf(0, [0]),
  promptTokens,
  doneTokens,
});

const engine = (view: Partial<EngineView> = {}): EngineView => ({
  nowNs: 0,
  prompts: [],
  decoding: 0,
  joining: 0,
  batchRequests: 256,
  chunkTokens: 64,
  ...view,
});

describe('disaggregated', () => {
  it('takes one prompt at a time, in chunks, and nothing alongside', async () => {
    const one = await policy('disaggregated');
    expect(one.begins(prompt(10), engine({ decoding: 5 }))).toBe(true);
    expect(one.begins(prompt(10), engine({ prompts: [prompt(10)] }))).toBe(false);
    const plan = (done: number) => one.plan(engine({ prompts: [prompt(100, done)], decoding: 5 }));
    expect(plan(0)).toEqual({ tokens: [64], decode: false });
    expect(plan(64)).toEqual({ tokens: [36], decode: false });
  });
});

describe('vllm', () => {
  it('takes whole prompts up to its tokens, and one that is longer alone', async () => {
    const vllm = await policy('vllm:maxTokens=100');
    const begun = engine({ prompts: [prompt(60)] });
    expect(vllm.begins(prompt(40), begun)).toBe(true);
    expect(vllm.begins(prompt(41), begun)).toBe(false);
    expect(vllm.begins(prompt(80, 40), begun)).toBe(true);
    expect(vllm.begins(prompt(500), engine())).toBe(true);
    const prompts = [prompt(60), prompt(80, 40)];
    expect(vllm.plan(engine({ prompts, decoding: 3 }))).toEqual({
      tokens: [60, 40],
      decode: false,
    });
  });

  it('counts those who decode into its sequences', async () => {
    const vllm = await policy('vllm:maxSeqs=4');
    expect(vllm.begins(prompt(1), engine({ decoding: 2, joining: 1 }))).toBe(true);
    expect(vllm.begins(prompt(1), engine({ decoding: 2, joining: 2 }))).toBe(false);
  });
});

describe('sarathi', () => {
  it('gives decode its tokens first and fills up with chunks in order', async () => {
    const sarathi = await policy('sarathi:budget=100');
    const prompts = [prompt(150, 100), prompt(200)];
    const view = engine({ prompts, decoding: 20, joining: 10 });
    expect(sarathi.plan(view)).toEqual({ tokens: [50, 20], decode: true });
    expect(sarathi.begins(prompt(9), view)).toBe(false);
    expect(sarathi.begins(prompt(9), engine({ prompts: [prompt(99)] }))).toBe(true);
  });

  it('computes no prompt while decode fills the pass', async () => {
    const sarathi = await policy('sarathi:budget=8');
    const view = engine({ prompts: [prompt(9)], decoding: 9 });
    expect(sarathi.plan(view)).toEqual({ tokens: [0], decode: true });
  });
});

describe('static', () => {
  it('begins a batch when the last of the one before has ended', async () => {
    const fixed = await policy('static:size=2');
    expect(fixed.begins(prompt(9), engine({ decoding: 1 }))).toBe(false);
    expect(fixed.begins(prompt(9), engine({ joining: 1 }))).toBe(false);
    expect(fixed.begins(prompt(9), engine({ prompts: [prompt(9)] }))).toBe(true);
    expect(fixed.begins(prompt(9), engine({ prompts: [prompt(9), prompt(9)] }))).toBe(false);
    expect(fixed.joins?.(engine({ decoding: 1, joining: 1 }))).toBe(false);
    expect(fixed.joins?.(engine({ joining: 2 }))).toBe(true);
  });
});

describe('the port', () => {
  const planned = (tokens: readonly number[], view: Partial<EngineView>) => {
    const answer = { begins: () => true, plan: () => ({ tokens, decode: false }) };
    const batcher = new Batcher(answer, TINY_SETTINGS.instance);
    Object.assign(batcher.engine, { ...view, prompts: (view.prompts ?? []) as Prompt[] });
    return () => batcher.plan();
  };

  it.each([
    ['more prompts than there are', [1, 1], { prompts: [prompt(9)] }],
    ['more tokens than are left', [5], { prompts: [prompt(9, 5)] }],
    ['less than no token', [-1], { prompts: [prompt(9)] }],
    ['part of a token', [0.5], { prompts: [prompt(9)] }],
    ['nothing at all', [0], { prompts: [prompt(9)] }],
  ])('refuses %s', (_name, tokens, view) => {
    expect(planned(tokens, view)).toThrow(PolicyError);
  });

  it('takes no prompt as decode alone', () => {
    expect(planned([0], { prompts: [prompt(9)], decoding: 1 })().tokens).toEqual([]);
  });
});
