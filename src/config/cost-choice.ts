/** Which cost model an instance gets. */
import type { CostModel } from '../core/cost.ts';
import { InputError } from '../core/errors.ts';
import type { LlmShape } from '../model/llm.ts';
import type { NodeType } from '../model/nodes.ts';
import { FAST25_A800X8, PolynomialCost } from '../model/polynomial.ts';
import { fittedToFast25, RooflineCost } from '../model/roofline.ts';
import type { Config, GroupConfig } from './schema.ts';

/** The measurement that `FAST25_A800X8` was fitted to. */
function isMeasured(model: Config['model'], group: GroupConfig, tensorParallel: number): boolean {
  const { name, weights, kv } = model;
  const measuredModel = name === 'llama3-70b' && weights === 'bf16' && kv === 'bf16';
  return measuredModel && group.node === 'a800x8' && tensorParallel === 8;
}

/** @throws InputError when a polynomial is asked for where none was fitted. */
export function chooseCost(
  model: Config['model'],
  shape: LlmShape,
  group: GroupConfig,
  type: NodeType,
  tensorParallel: number,
  place: () => string,
): CostModel {
  const measured = isMeasured(model, group, tensorParallel);
  if (model.cost === 'polynomial' && !measured) {
    throw new InputError(
      `model.cost: found polynomial for group ${group.name}, expected auto or roofline: only ` +
        'llama3-70b in bf16 over all GPUs of an a800x8 was measured',
      place(),
    );
  }
  const { decodeRequest, decodeBase, contextAttention, prefixHash } = model;
  if (measured && model.cost !== 'roofline') {
    return new PolynomialCost({
      ...FAST25_A800X8,
      ...(decodeRequest === undefined ? {} : { decodeRequestNs: decodeRequest }),
      ...(decodeBase === undefined ? {} : { decodeBaseNs: decodeBase }),
      ...(contextAttention === undefined ? {} : { contextAttention }),
      ...(prefixHash === undefined ? {} : { prefixHashNs: prefixHash }),
    });
  }
  for (const [key, value] of Object.entries({ decodeBase, contextAttention, prefixHash })) {
    if (value === undefined) continue;
    throw new InputError(
      `model.${key}: found it with a roofline for group ${group.name}, expected it with the fit ` +
        'alone (model.cost: polynomial)',
      place(),
    );
  }
  const { accelerator } = type;
  const { weights, kv } = model;
  const target = { shape, accelerator, tensorParallel, weights, kv };
  if (decodeRequest === undefined) return new RooflineCost(target);
  return new RooflineCost(target, {
    ...fittedToFast25(accelerator),
    decodeRequestNs: decodeRequest,
  });
}
