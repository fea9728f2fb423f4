/**
 * Early rejection: on arrival the greater load of the two pools decides, before a prefill is spent.
 * The load of prefill is the TTFT predicted for this request over its SLO, that of decode the mean
 * over its instances of the TBT that they would have with this request now, over its SLO. It is the
 * load of now, not of the time when the prompt will be done: the lag makes the pools swing against
 * each other. Decode checks once more when the prompt is done.
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

class EarlyRejection implements AdmissionPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  verdict(request: Request, choice: PrefillChoice, _decode: number, view: ClusterView): Verdict {
    const { context } = this;
    if (choice.ttftNs > context.slo.ttftNs) return 'ttft';
    return decodePoolLoad(context, request, view, (of) => view.decodingNow(of)) > 1 ? 'tbt' : '';
  }

  verdictAtDecode(request: Request, decodeInstance: number, view: ClusterView): Verdict {
    return verdictAtDecode(this.context, request, decodeInstance, view);
  }
}

export default defineAdmission({
  source: 'Mooncake, arXiv 2407.00079, section 7.2',
  params: {},
  create: (context) => new EarlyRejection(context),
});
