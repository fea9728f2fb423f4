/**
 * The instance with the fewest requests that it has not finished with: prompts to compute and, on
 * instances with both roles, requests in decode. Equal: the least id.
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

class LeastOutstanding implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const instance = leastBy(view.prefillInstances, (of) => {
      return view.queuedRequests(of) + view.decodingNow(of).requests;
    });
    return localChoice(this.context, request, instance, match, view);
  }
}

export default definePrefill({
  source: 'Least outstanding requests, as load balancers have it (AWS ALB, Envoy LEAST_REQUEST)',
  params: {},
  create: (context) => new LeastOutstanding(context),
});
