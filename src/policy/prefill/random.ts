/** Uniformly random instance: the paper's baseline (FAST '25, Figure 5, "random"). */
import {
  type ClusterView,
  definePrefill,
  localChoice,
  type PolicyContext,
  type PrefillChoice,
  type PrefillPolicy,
  type PrefixMatch,
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
    return localChoice(this.context, request, instance, match, view);
  }
}

export default definePrefill({
  source: 'Mooncake, FAST 2025, section 6.2 (baseline)',
  params: {},
  create: (context) => new Random(context),
});
