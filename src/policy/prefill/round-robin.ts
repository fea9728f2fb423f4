/** Instances in turn. */
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

class RoundRobin implements PrefillPolicy {
  private readonly context: PolicyContext;
  private turn = 0;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { prefillInstances } = view;
    const instance = prefillInstances[this.turn++ % prefillInstances.length];
    return localChoice(this.context, request, instance, match, view);
  }
}

export default definePrefill({
  source: 'textbook',
  params: {},
  create: (context) => new RoundRobin(context),
});
