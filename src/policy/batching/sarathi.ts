/**
 * Chunked prefill: every pass has the decode batch first, one token each, and fills what is left of
 * `budget` with chunks of prompts in their order. Decode never waits for a whole prompt; each pass
 * of a long prompt reads the KV of the chunks before it and pays the fixed cost of a pass again.
 */
import {
  type BatchingPolicy,
  type BatchPlan,
  defineBatching,
  type EngineView,
  type PromptView,
} from '../../core/policy-kit.ts';

class Sarathi implements BatchingPolicy {
  private readonly budget: number;
  private readonly maxSeqs: number;

  constructor(budget: number, maxSeqs: number) {
    this.budget = budget;
    this.maxSeqs = maxSeqs;
  }

  /** While those that have begun leave room in the next pass. */
  begins(_next: PromptView, { prompts, decoding, joining }: EngineView): boolean {
    if (prompts.length + decoding + joining >= this.maxSeqs) return false;
    let left = this.budget - decoding - joining;
    for (const { promptTokens, doneTokens } of prompts) left -= promptTokens - doneTokens;
    return left > 0;
  }

  plan({ prompts, decoding, joining }: EngineView): BatchPlan {
    let left = Math.max(0, this.budget - decoding - joining);
    const tokens = prompts.map(({ promptTokens, doneTokens }) => {
      const chunk = Math.min(left, promptTokens - doneTokens);
      left -= chunk;
      return chunk;
    });
    return { tokens, decode: true };
  }
}

export default defineBatching({
  source: 'Sarathi-Serve, OSDI 2024, Algorithm 3; vLLM 0.5 with enable_chunked_prefill',
  params: {
    budget: {
      type: 'integer',
      default: 512,
      min: 1,
      doc: 'tokens of one pass, decode and prompts together (vLLM 0.5: 512)',
    },
    maxSeqs: {
      type: 'integer',
      default: 256,
      min: 1,
      doc: 'max_num_seqs: requests in prefill and decode together',
    },
  },
  create: (_context, { budget, maxSeqs }) => new Sarathi(budget, maxSeqs),
});
