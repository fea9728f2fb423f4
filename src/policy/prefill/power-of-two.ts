/**
 * The shorter of a few queues drawn at random, without replacement: nearly as good as the shortest
 * of all and steadier when what is known of the queues is stale. Equal queues: the first drawn.
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
  type Request,
} from '../../core/policy-kit.ts';

class PowerOfTwo implements PrefillPolicy {
  private readonly context: PolicyContext;
  private readonly draws: number;

  constructor(context: PolicyContext, draws: number) {
    this.context = context;
    this.draws = draws;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const instances = drawn(view.prefillInstances, this.draws, () => this.context.random());
    const instance = leastBy(instances, (of) => view.queuedRequests(of));
    return localChoice(this.context, request, instance, match, view);
  }
}

export default definePrefill({
  source: 'Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", TPDS 2001',
  params: {
    draws: { type: 'integer', default: 2, min: 1, doc: 'queues that are compared' },
  },
  create: (context, { draws }) => new PowerOfTwo(context, draws),
});
