/** Shapes against what the models' own cards and the field's tables print. */
import { describe, expect, test } from 'vitest';
import {
  activeParameterCount,
  kvBytesPerToken,
  kvReplicas,
  LLM_SHAPES,
  parameterCount,
  weightBytes,
  weightBytesTouched,
} from '../../src/model/llm.ts';

const shape = (name: string) => LLM_SHAPES.get(name)!;

describe('model shapes', () => {
  test.each([
    // Billions of parameters as the model cards print them: in all, and per token.
    ['llama3-8b', 8.03, 8.03],
    ['llama3-70b', 70.6, 70.6],
    ['llama2-70b', 69.0, 69.0],
    ['qwen3-32b', 32.8, 32.8],
    ['qwen3-30b-a3b', 30.5, 3.3],
    ['qwen3-235b-a22b', 235, 22],
    ['mixtral-8x7b', 46.7, 12.9],
    ['deepseek-v3', 671, 37],
  ])('%s has the parameters of its card', (name, allBillions, activeBillions) => {
    expect(Math.abs(parameterCount(shape(name)) / 1e9 / allBillions - 1)).toBeLessThan(0.002);
    expect(Math.abs(activeParameterCount(shape(name)) / 1e9 / activeBillions - 1)).toBeLessThan(
      0.02,
    );
  });

  test.each([
    ['llama3-8b', 131_072],
    ['llama3-70b', 327_680],
    ['qwen3-32b', 262_144],
    ['qwen3-30b-a3b', 98_304],
    ['qwen3-235b-a22b', 192_512],
    ['mixtral-8x7b', 131_072],
    ['deepseek-v3', 70_272],
  ])('%s keeps %d bytes of bf16 KV per token, half in fp8', (name, bytes) => {
    expect(kvBytesPerToken(shape(name), 'bf16')).toBe(bytes);
    expect(kvBytesPerToken(shape(name), 'fp8')).toBe(bytes / 2);
  });

  test('KV is repeated where it cannot be split over the GPUs', () => {
    expect(kvReplicas(shape('llama3-70b'), 8)).toBe(1);
    expect(kvReplicas(shape('llama3-70b'), 1)).toBe(1);
    expect(kvReplicas(shape('qwen3-235b-a22b'), 8)).toBe(2);
    expect(kvReplicas(shape('deepseek-v3'), 8)).toBe(8);
  });

  test('a pass reads more experts the more tokens it has, and never more than there are', () => {
    const mixtral = shape('mixtral-8x7b');
    const all = weightBytes(mixtral, 'bf16');
    // One token visits 2 of 8 experts in 32 layers: 6 of them, 3 * 4096 * 14336 parameters each,
    // and the input embedding, 32000 * 4096, are left.
    const unread = 2 * (32 * 6 * 3 * 4096 * 14_336 + 32_000 * 4096);
    expect(weightBytesTouched(mixtral, 'bf16', 1)).toBeCloseTo(all - unread, -3);
    let before = 0;
    for (const tokens of [1, 2, 3, 8, 64, 8192]) {
      const touched = weightBytesTouched(mixtral, 'bf16', tokens);
      expect(touched).toBeGreaterThan(before);
      expect(touched).toBeLessThanOrEqual(all);
      before = touched;
    }
    const dense = shape('llama3-8b');
    expect(weightBytesTouched(dense, 'fp8', 1)).toBe(weightBytesTouched(dense, 'fp8', 512));
  });
});
