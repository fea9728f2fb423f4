/**
 * The instance whose predicted step time with this request in its batch is least, among those with
 * room for it; with no room anywhere, the one with the least share of its memory promised.
 */
import {
  type ClusterView,
  type DecodePolicy,
  defineDecode,
  type PolicyContext,
  type Request,
} from '../../core/policy-kit.ts';

class LeastTbt implements DecodePolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, _prefillInstance: number, view: ClusterView): number {
    const { estimate } = this.context;
    const needTokens = request.inputTokens + request.outputTokens;
    let best = -1;
    let leastNs = Number.POSITIVE_INFINITY;
    let roomiest = view.decodeInstances[0];
    let leastShare = Number.POSITIVE_INFINITY;
    for (const candidate of view.decodeInstances) {
      const tokens = view.decodeTokens(candidate) + needTokens;
      const share = tokens / view.decodeCapacityTokens(candidate);
      const stepNs = estimate.decodeStepNs(candidate, view.decodeRequests(candidate) + 1, tokens);
      if (share <= 1 && stepNs < leastNs) {
        leastNs = stepNs;
        best = candidate;
      }
      if (share < leastShare) {
        leastShare = share;
        roomiest = candidate;
      }
    }
    return best >= 0 ? best : roomiest;
  }
}

export default defineDecode({
  source: 'Mooncake, FAST 2025, section 5: SelectDecodingInstance by predicted TBT; rule ours',
  params: {},
  create: (context) => new LeastTbt(context),
});
