/** Instances in turn. */
import {
  type ClusterView,
  type DecodePolicy,
  defineDecode,
  type Request,
} from '../../core/policy-kit.ts';

class RoundRobin implements DecodePolicy {
  private turn = 0;

  choose(_request: Request, _prefillInstance: number, view: ClusterView): number {
    const { decodeInstances } = view;
    return decodeInstances[this.turn++ % decodeInstances.length];
  }
}

export default defineDecode({
  source: 'textbook',
  params: {},
  create: () => new RoundRobin(),
});
