/** The instance with the fewest requests bound for it or in decode on it. Equal: the least id. */
import {
  type ClusterView,
  type DecodePolicy,
  defineDecode,
  leastBy,
  type Request,
} from '../../core/policy-kit.ts';

class LeastRequests implements DecodePolicy {
  choose(_request: Request, _prefillInstance: number, view: ClusterView): number {
    return leastBy(view.decodeInstances, (of) => view.decodeRequests(of));
  }
}

export default defineDecode({
  source: 'Least outstanding requests, as load balancers have it',
  params: {},
  create: () => new LeastRequests(),
});
