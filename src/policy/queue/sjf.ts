/**
 * Shortest job first, by the tokens that are believed not to be cached. With `aging` a second of
 * waiting counts as so many tokens less, so that long prompts come to their turn.
 */
import { defineQueue, type PromptView, type QueuePolicy } from '../../core/policy-kit.ts';

class Sjf implements QueuePolicy {
  private readonly aging: number;

  constructor(aging: number) {
    this.aging = aging;
  }

  /** All age alike, so that the time of dispatch stands for the wait. */
  rank({ promptTokens, doneTokens }: PromptView, nowNs: number): number {
    return promptTokens - doneTokens + (this.aging * nowNs) / 1e9;
  }
}

export default defineQueue({
  source: 'textbook; on uncached tokens as SGLang and llm-d order their queues',
  params: {
    aging: { type: 'number', default: 0, min: 0, doc: 'tokens that a second of waiting is worth' },
  },
  create: (_context, { aging }) => new Sjf(aging),
});
