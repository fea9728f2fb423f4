/**
 * Early rejection on the decode load that there will be when this request's prompt is done: the
 * prompts that are done by then are spread evenly over the decode instances, requests that have
 * been in decode for longer than a uniform time by then are gone, and the mean over the instances
 * of the predicted TBT over its SLO is the load. Decode checks once more when the prompt is done.
 *
 * The uniform time must cover most requests: those who decode for longer are taken for gone while
 * they are there, and with the mean the prediction falls far below the load that comes.
 */
import {
  type AdmissionPolicy,
  type ClusterView,
  decodePoolLoad,
  defineAdmission,
  type PolicyContext,
  type PrefillChoice,
  type Request,
  type Verdict,
  verdictAtDecode,
} from '../../core/policy-kit.ts';

class PredictiveEarlyRejection implements AdmissionPolicy {
  private readonly context: PolicyContext;
  private readonly decodeNs: number;

  constructor(context: PolicyContext, decodeNs: number) {
    this.context = context;
    this.decodeNs = decodeNs;
  }

  verdict(request: Request, choice: PrefillChoice, _decode: number, view: ClusterView): Verdict {
    const { context } = this;
    if (choice.ttftNs > context.slo.ttftNs) return 'ttft';
    return this.loadAt(view.nowNs + choice.ttftNs, request, view) > 1 ? 'tbt' : '';
  }

  private loadAt(atNs: number, request: Request, view: ClusterView): number {
    const lastsNs = this.decodeNs || 2 * view.decodeNsMean || Number.POSITIVE_INFINITY;
    const arriving = view.arrivingBy(atNs, lastsNs);
    const instances = view.decodeInstances.length;
    return decodePoolLoad(this.context, request, view, (of) => {
      const staying = view.decodingAt(of, atNs, lastsNs);
      return {
        requests: staying.requests + Math.ceil(arriving.requests / instances),
        tokens: staying.tokens + arriving.tokens / instances,
      };
    });
  }

  verdictAtDecode(request: Request, decodeInstance: number, view: ClusterView): Verdict {
    return verdictAtDecode(this.context, request, decodeInstance, view);
  }
}

export default defineAdmission({
  source:
    'Mooncake, arXiv 2407.00079, section 7.4: system-level prediction; the value of t_d is ours',
  params: {
    decodeSeconds: {
      type: 'number',
      default: 0,
      min: 0,
      doc: 'uniform time in decode, t_d; 0 takes twice the mean of the requests that ended so far',
    },
  },
  create: (context, { decodeSeconds }) =>
    new PredictiveEarlyRejection(context, decodeSeconds * 1e9),
});
