/**
 * Algorithm 1 without its transfer branch: least predicted TTFT, where each instance counts the
 * prefix that its own node holds. Equal predictions: the least id.
 */
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

class LocalCacheAware implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    let instance = view.prefillInstances[0];
    let ttftNs = Number.POSITIVE_INFINITY;
    for (const candidate of view.prefillInstances) {
      const predictedNs = predictLocalTtftNs(this.context, request, candidate, match, view);
      if (predictedNs < ttftNs) {
        ttftNs = predictedNs;
        instance = candidate;
      }
    }
    return { instance, sourceNode: -1, sourceBlocks: 0, ttftNs };
  }
}

export default definePrefill({
  source: 'Mooncake, FAST 2025, Algorithm 1 without lines of the transfer branch',
  params: {},
  create: (context) => new LocalCacheAware(context),
});
