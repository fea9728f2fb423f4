/**
 * Algorithm 1 without its transfer branch: least predicted TTFT, where each instance counts the
 * prefix that its own node holds. Equal predictions: the least id. With `draws` only so many
 * instances, drawn at random, are compared: between random routing and the best of all.
 */
import {
  type ClusterView,
  definePrefill,
  drawn,
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
  private readonly draws: number;

  constructor(context: PolicyContext, draws: number) {
    this.context = context;
    this.draws = draws;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { context, draws } = this;
    const { prefillInstances } = view;
    const candidates =
      draws === 0 ? prefillInstances : drawn(prefillInstances, draws, () => context.random());
    const instance = leastBy(candidates, (of) => {
      return predictLocalTtftNs(context, request, of, match, view);
    });
    return localChoice(context, request, instance, match, view);
  }
}

export default definePrefill({
  source: 'Mooncake, FAST 2025, Algorithm 1 without lines of the transfer branch',
  params: {
    draws: { type: 'integer', default: 0, min: 0, doc: 'instances that are compared; 0: all' },
  },
  create: (context, { draws }) => new LocalCacheAware(context, draws),
});
