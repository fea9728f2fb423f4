/**
 * Static batching: up to `size` prompts are computed in one pass and decode together until all are
 * at their end; only then does the next batch begin. A request that ends sooner leaves at once.
 */
import {
  type BatchingPolicy,
  type BatchPlan,
  defineBatching,
  type EngineView,
  type PromptView,
} from '../../core/policy-kit.ts';

class Static implements BatchingPolicy {
  private readonly size: number;

  constructor(size: number) {
    this.size = size;
  }

  begins(_next: PromptView, { prompts, decoding, joining }: EngineView): boolean {
    return decoding + joining === 0 && prompts.length < this.size;
  }

  plan({ prompts }: EngineView): BatchPlan {
    const tokens = prompts.map(({ promptTokens, doneTokens }) => promptTokens - doneTokens);
    return { tokens, decode: false };
  }

  joins({ decoding }: EngineView): boolean {
    return decoding === 0;
  }
}

export default defineBatching({
  source: 'FasterTransformer; the baseline of Orca, OSDI 2022, section 3',
  params: {
    size: { type: 'integer', default: 32, min: 1, doc: 'requests in one batch' },
  },
  create: (_context, { size }) => new Static(size),
});
