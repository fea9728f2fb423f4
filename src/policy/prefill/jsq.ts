/**
 * Join the shortest queue: the instance with the fewest requests whose prompt is not done, however
 * long they are. Equal queues: the least id.
 */
import {
  type ClusterView,
  definePrefill,
  leastBy,
  localChoice,
  type PolicyContext,
  type PrefillChoice,
  type PrefillPolicy,
  type PrefixMatch,
  type Request,
} from '../../core/policy-kit.ts';

class JoinShortestQueue implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const instance = leastBy(view.prefillInstances, (of) => view.queuedRequests(of));
    return localChoice(this.context, request, instance, match, view);
  }
}

export default definePrefill({
  source: 'Winston, "Optimality of the shortest line discipline", 1977',
  params: {},
  create: (context) => new JoinShortestQueue(context),
});
