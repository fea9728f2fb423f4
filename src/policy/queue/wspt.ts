/**
 * Weighted shortest processing time (Smith's rule): the predicted time of the prompt over the
 * weight of its request. The weight is `base` to the power of the priority: with 2, each level of
 * priority is worth half the time.
 */
import {
  defineQueue,
  type EngineContext,
  type PromptView,
  type QueuePolicy,
} from '../../core/policy-kit.ts';

class Wspt implements QueuePolicy {
  private readonly context: EngineContext;
  private readonly base: number;

  constructor(context: EngineContext, base: number) {
    this.context = context;
    this.base = base;
  }

  rank({ request, promptTokens, doneTokens }: PromptView): number {
    const { estimate, instance } = this.context;
    let weighted = estimate.prefillNs(instance, promptTokens, doneTokens);
    for (let level = 0; level < Math.min(Math.abs(request.priority), MAX_LEVEL); level++) {
      weighted = request.priority > 0 ? weighted / this.base : weighted * this.base;
    }
    return weighted;
  }
}

/** Beyond this level priorities are alike. */
const MAX_LEVEL = 64;

export default defineQueue({
  source: 'Smith, Naval Research Logistics Quarterly 1956: optimal for weighted completion time',
  params: {
    base: { type: 'number', default: 2, min: 1, doc: 'weight of a priority level over the next' },
  },
  create: (context, { base }) => new Wspt(context, base),
});
