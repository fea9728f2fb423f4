/** Instances in turn. */
import {
  type ClusterView,
  definePrefill,
  type PolicyContext,
  type PrefillChoice,
  type PrefillPolicy,
  type PrefixMatch,
  predictLocalTtftNs,
  type Request,
} from '../../core/policy-kit.ts';

class RoundRobin implements PrefillPolicy {
  private readonly context: PolicyContext;
  private turn = 0;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { prefillInstances } = view;
    const instance = prefillInstances[this.turn++ % prefillInstances.length];
    const ttftNs = predictLocalTtftNs(this.context, request, instance, match, view);
    return { instance, sourceNode: -1, sourceBlocks: 0, ttftNs };
  }
}

export default definePrefill({
  source: 'textbook',
  params: {},
  create: (context) => new RoundRobin(context),
});
