/**
 * The instance whose queue is predicted to be done first; the cache plays no part in the choice.
 * The paper's "load-balancing". Equal queues: the least id.
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

class LeastLoaded implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    let instance = view.prefillInstances[0];
    let leastNs = Number.POSITIVE_INFINITY;
    for (const candidate of view.prefillInstances) {
      const queueNs = view.queueNs(candidate);
      if (queueNs < leastNs) {
        leastNs = queueNs;
        instance = candidate;
      }
    }
    const ttftNs = predictLocalTtftNs(this.context, request, instance, match, view);
    return { instance, sourceNode: -1, sourceBlocks: 0, ttftNs };
  }
}

export default definePrefill({
  source: 'Mooncake, FAST 2025, section 6.2 (load-balancing)',
  params: {},
  create: (context) => new LeastLoaded(context),
});
