/**
 * The instance whose own node holds the longest prefix; among equals the one whose queue is
 * predicted to be done first, then the least id. Blind to load: a hot prefix overloads its node.
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

class PrefixHit implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { prefillInstances } = view;
    const longest = Math.max(...prefillInstances.map((of) => match.localBlocks(of)));
    const holders = prefillInstances.filter((of) => match.localBlocks(of) === longest);
    const instance = leastBy(holders, (of) => view.queueNs(of));
    return localChoice(this.context, request, instance, match, view);
  }
}

export default definePrefill({
  source: 'SGLang router and llm-d: route to the longest cached prefix',
  params: {},
  create: (context) => new PrefixHit(context),
});
