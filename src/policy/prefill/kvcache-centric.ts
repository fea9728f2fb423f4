/**
 * Mooncake's Algorithm 1. For every instance: when the best prefix anywhere is more than
 * `threshold` times the local one, the difference would be fetched from the node that has it and
 * the fetch counts into TTFT, behind what that node has to send already where the conductor looks
 * at congestion; else the local prefix serves. Least predicted TTFT wins (equal: the
 * least id). A fetch leaves a copy on the chosen node: that is the hot-spot replication.
 */
import {
  type ClusterView,
  cachedTokens,
  definePrefill,
  type PolicyContext,
  type PrefillChoice,
  type PrefillPolicy,
  type PrefixMatch,
  predictPrefillNs,
  type Request,
} from '../../core/policy-kit.ts';

class KvcacheCentric implements PrefillPolicy {
  private readonly context: PolicyContext;
  private readonly threshold: number;

  constructor(context: PolicyContext, threshold: number) {
    this.context = context;
    this.threshold = threshold;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { context } = this;
    const { bestBlocks, bestNode } = match;
    let instance = view.prefillInstances[0];
    let ttftNs = Number.POSITIVE_INFINITY;
    let fetches = false;
    for (const candidate of view.prefillInstances) {
      const local = match.localBlocks(candidate);
      const transfers = bestBlocks > this.threshold * local;
      const blocks = transfers ? bestBlocks : local;
      const transferNs = transfers ? this.transferNs(request, local, match, candidate, view) : 0;
      const prefillNs = predictPrefillNs(context, request, candidate, blocks);
      const predictedNs = transferNs + view.queueNs(candidate) + prefillNs;
      if (predictedNs < ttftNs) {
        ttftNs = predictedNs;
        instance = candidate;
        fetches = transfers;
      }
    }
    return {
      instance,
      sourceNode: fetches ? bestNode : -1,
      sourceBlocks: fetches ? bestBlocks : 0,
      ttftNs,
    };
  }

  private transferNs(
    request: Request,
    local: number,
    { bestBlocks, bestNode }: PrefixMatch,
    instance: number,
    view: ClusterView,
  ): number {
    const { blockTokens, estimate } = this.context;
    const { inputTokens } = request;
    const have = local === 0 ? 0 : cachedTokens(local, blockTokens, inputTokens);
    const tokens = cachedTokens(bestBlocks, blockTokens, inputTokens) - have;
    const moveNs = estimate.transferNs(bestNode, view.nodeOf(instance), tokens);
    return moveNs + view.sendingNs(bestNode);
  }
}

export default definePrefill({
  source: 'Mooncake, FAST 2025, Algorithm 1',
  params: {
    threshold: {
      type: 'number',
      default: 1,
      min: 0,
      doc: 'kvcache_balancing_threshold: fetch when best prefix / local prefix exceeds it',
    },
  },
  create: (context, { threshold }) => new KvcacheCentric(context, threshold),
});
