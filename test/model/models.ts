/** Cost models that several tests share. */
import type { CostModel } from '../../src/core/cost.ts';
import { ACCELERATORS } from '../../src/model/accelerators.ts';
import { type Dtype, LLM_SHAPES } from '../../src/model/llm.ts';
import { FAST25_A800X8, PolynomialCost } from '../../src/model/polynomial.ts';
import { RooflineCost } from '../../src/model/roofline.ts';

export function roofline(
  model: string,
  accelerator: string,
  tensorParallel = 8,
  weights: Dtype = 'bf16',
): RooflineCost {
  return new RooflineCost({
    shape: LLM_SHAPES.get(model)!,
    accelerator: ACCELERATORS.get(accelerator)!,
    tensorParallel,
    weights,
    kv: 'bf16',
  });
}

/** Dense, mixture of experts, and latent attention; memory- and launch-bound ones. */
export const MODELS: readonly [name: string, cost: CostModel][] = [
  ['polynomial a800x8', new PolynomialCost(FAST25_A800X8)],
  [
    'polynomial a800x8, a slower engine',
    new PolynomialCost({
      ...FAST25_A800X8,
      decodeBaseNs: 44e6,
      decodeRequestNs: 0.9e6,
      prefixHashNs: 0.43e6,
    }),
  ],
  ['roofline llama3-70b a800x8', roofline('llama3-70b', 'a800')],
  ['roofline llama3-8b h200 tp1', roofline('llama3-8b', 'h200', 1)],
  ['roofline qwen3-235b-a22b h200x8', roofline('qwen3-235b-a22b', 'h200')],
  ['roofline deepseek-v3 b200x8 fp8', roofline('deepseek-v3', 'b200', 8, 'fp8')],
];
