/**
 * Weighted scorers: each scores the instances from 0 to 1, the highest weighted sum wins (equal:
 * the least id). `prefix`: the own node's share of the longest prefix that any candidate holds;
 * `queue`: 1 for the shortest queue down to 0 for the longest; `kv`: the share of its KV memory
 * that is free, where queued prompts and requests in decode count as used.
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

interface Weights {
  readonly prefix: number;
  readonly queue: number;
  readonly kv: number;
}

class Weighted implements PrefillPolicy {
  private readonly context: PolicyContext;
  private readonly weights: Weights;

  constructor(context: PolicyContext, weights: Weights) {
    this.context = context;
    this.weights = weights;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { prefillInstances } = view;
    const { prefix, queue, kv } = this.weights;
    const queues = prefillInstances.map((of) => view.queuedRequests(of));
    const shortest = Math.min(...queues);
    const spread = Math.max(...queues) - shortest;
    const longest = Math.max(...prefillInstances.map((of) => match.localBlocks(of)));
    const score = (of: number) => {
      const hit = longest === 0 ? 0 : match.localBlocks(of) / longest;
      const short = spread === 0 ? 1 : 1 - (view.queuedRequests(of) - shortest) / spread;
      const tokens = view.queuedTokens(of) + view.decodingNow(of).tokens;
      const free = Math.max(0, 1 - tokens / view.decodeCapacityTokens(of));
      return prefix * hit + queue * short + kv * free;
    };
    const instance = leastBy(prefillInstances, (of) => -score(of));
    return localChoice(this.context, request, instance, match, view);
  }
}

const weight = (by: number, doc: string) => ({ type: 'number', default: by, min: 0, doc }) as const;

export default definePrefill({
  source: 'llm-d inference scheduler: precise-prefix-cache, queue and kv-cache-utilization scorers',
  params: {
    prefix: weight(2, 'weight of the longest cached prefix'),
    queue: weight(1, 'weight of a short queue'),
    kv: weight(1, 'weight of free KV memory'),
  },
  create: (context, weights) => new Weighted(context, weights),
});
