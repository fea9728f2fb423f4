/**
 * One prompt at a time, in chunks of the setting `prefillChunk`, and nothing alongside: a prefill
 * instance as Mooncake has it. Prompts go before the decode batch, which runs when none is there.
 */
import {
  type BatchingPolicy,
  type BatchPlan,
  defineBatching,
  type EngineView,
} from '../../core/policy-kit.ts';

class Disaggregated implements BatchingPolicy {
  begins(_next: unknown, engine: EngineView): boolean {
    return engine.prompts.length === 0;
  }

  plan({ prompts, chunkTokens }: EngineView): BatchPlan {
    const [{ promptTokens, doneTokens }] = prompts;
    return { tokens: [Math.min(chunkTokens, promptTokens - doneTokens)], decode: false };
  }
}

export default defineBatching({
  source: 'Mooncake, FAST 2025, section 5: prefill instances compute prompts in chunks, alone',
  params: {},
  create: () => new Disaggregated(),
});
