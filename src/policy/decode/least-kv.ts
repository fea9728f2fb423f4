/** The instance with the least share of its KV memory promised. Equal shares: the least id. */
import {
  type ClusterView,
  type DecodePolicy,
  defineDecode,
  type Request,
} from '../../core/policy-kit.ts';

class LeastKv implements DecodePolicy {
  choose(_request: Request, _prefillInstance: number, view: ClusterView): number {
    let best = view.decodeInstances[0];
    let least = Number.POSITIVE_INFINITY;
    for (const candidate of view.decodeInstances) {
      const share = view.decodeTokens(candidate) / view.decodeCapacityTokens(candidate);
      if (share < least) {
        least = share;
        best = candidate;
      }
    }
    return best;
  }
}

export default defineDecode({
  source: 'Common practice in disaggregated servers: most free KV memory first',
  params: {},
  create: () => new LeastKv(),
});
