/**
 * Algorithm 1 without its transfer branch: least predicted TTFT, where each instance counts the
 * prefix that its own node holds. Equal predictions: the least id.
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
  predictLocalTtftNs,
  type Request,
} from '../../core/policy-kit.ts';

class LocalCacheAware implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { context } = this;
    const instance = leastBy(view.prefillInstances, (of) => {
      return predictLocalTtftNs(context, request, of, match, view);
    });
    return localChoice(context, request, instance, match, view);
  }
}

export default definePrefill({
  source: 'Mooncake, FAST 2025, Algorithm 1 without lines of the transfer branch',
  params: {},
  create: (context) => new LocalCacheAware(context),
});
