/**
 * Rejects stage by stage: on arrival when the prefill instance would break the TTFT, and once the
 * prompt is done when the decode instance would break the TBT. What decode rejects has wasted its
 * prefill.
 */
import {
  type AdmissionPolicy,
  type ClusterView,
  defineAdmission,
  type PolicyContext,
  type PrefillChoice,
  type Request,
  type Verdict,
  verdictAtDecode,
} from '../../core/policy-kit.ts';

class Baseline implements AdmissionPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  verdict(_request: Request, choice: PrefillChoice): Verdict {
    return choice.ttftNs > this.context.slo.ttftNs ? 'ttft' : '';
  }

  verdictAtDecode(request: Request, decodeInstance: number, view: ClusterView): Verdict {
    return verdictAtDecode(this.context, request, decodeInstance, view);
  }
}

export default defineAdmission({
  source: 'Mooncake, arXiv 2407.00079, section 7: the baseline of Table 3',
  params: {},
  create: (context) => new Baseline(context),
});
