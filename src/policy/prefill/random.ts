/** Uniformly random instance: the paper's baseline (FAST '25, Figure 5, "random"). */
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

class Random implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { prefillInstances } = view;
    const at = Math.floor(this.context.random() * prefillInstances.length);
    const instance = prefillInstances[at];
    const ttftNs = predictLocalTtftNs(this.context, request, instance, match, view);
    return { instance, sourceNode: -1, sourceBlocks: 0, ttftNs };
  }
}

export default definePrefill({
  source: 'Mooncake, FAST 2025, section 6.2 (baseline)',
  params: {},
  create: (context) => new Random(context),
});
