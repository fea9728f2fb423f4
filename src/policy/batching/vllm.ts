/**
 * vLLM's first scheduler: prompts go first, whole, as many in one pass as `maxTokens` and `maxSeqs`
 * allow; the decode batch waits meanwhile, which is what its requests see as long gaps. A prompt
 * longer than `maxTokens` goes alone.
 */
import {
  type BatchingPolicy,
  type BatchPlan,
  defineBatching,
  type EngineView,
  type PromptView,
} from '../../core/policy-kit.ts';

class Vllm implements BatchingPolicy {
  private readonly maxTokens: number;
  private readonly maxSeqs: number;

  constructor(maxTokens: number, maxSeqs: number) {
    this.maxTokens = maxTokens;
    this.maxSeqs = maxSeqs;
  }

  begins(next: PromptView, { prompts, decoding, joining }: EngineView): boolean {
    if (prompts.length + decoding + joining >= this.maxSeqs) return false;
    let tokens = next.promptTokens - next.doneTokens;
    for (const { promptTokens, doneTokens } of prompts) tokens += promptTokens - doneTokens;
    return prompts.length === 0 || tokens <= this.maxTokens;
  }

  plan({ prompts }: EngineView): BatchPlan {
    const tokens = prompts.map(({ promptTokens, doneTokens }) => promptTokens - doneTokens);
    return { tokens, decode: false };
  }
}

export default defineBatching({
  source: 'vLLM 0.5, core/scheduler.py _schedule_default (Kwon et al., SOSP 2023, section 4.5)',
  params: {
    maxTokens: {
      type: 'integer',
      default: 131_072,
      min: 1,
      doc: 'max_num_batched_tokens: prompt tokens in one pass; vLLM takes the longest context',
    },
    maxSeqs: {
      type: 'integer',
      default: 256,
      min: 1,
      doc: 'max_num_seqs: requests in prefill and decode together',
    },
  },
  create: (_context, { maxTokens, maxSeqs }) => new Vllm(maxTokens, maxSeqs),
});
