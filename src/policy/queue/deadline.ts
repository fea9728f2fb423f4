/**
 * Least slack first: the time of the TTFT target less the predicted time of the prompt. All slacks
 * shrink alike, so that their order does not change while they wait.
 */
import {
  defineQueue,
  type EngineContext,
  type PromptView,
  type QueuePolicy,
} from '../../core/policy-kit.ts';

class Deadline implements QueuePolicy {
  private readonly context: EngineContext;

  constructor(context: EngineContext) {
    this.context = context;
  }

  rank({ request, promptTokens, doneTokens }: PromptView): number {
    const { estimate, instance, slo } = this.context;
    const workNs = estimate.prefillNs(instance, promptTokens, doneTokens);
    return request.arrivalNs + slo.ttftNs - workNs;
  }
}

export default defineQueue({
  source: 'textbook: least laxity first, on the TTFT SLO',
  params: {},
  create: (context) => new Deadline(context),
});
