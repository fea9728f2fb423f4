/**
 * The instance whose queue is predicted to be done first; the cache plays no part in the choice.
 * The paper's "load-balancing". Equal queues: the least id.
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

class LeastLoaded implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const instance = leastBy(view.prefillInstances, (of) => view.queueNs(of));
    return localChoice(this.context, request, instance, match, view);
  }
}

export default definePrefill({
  source: 'Mooncake, FAST 2025, section 6.2 (load-balancing)',
  params: {},
  create: (context) => new LeastLoaded(context),
});
