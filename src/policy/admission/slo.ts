/**
 * The last lines of Algorithm 1: reject when the predicted TTFT of the chosen prefill instance or
 * the predicted TBT of the chosen decode instance breaks its SLO.
 */
import {
  type AdmissionPolicy,
  type ClusterView,
  defineAdmission,
  type PolicyContext,
  type PrefillChoice,
  type Request,
} from '../../core/policy-kit.ts';

class SloAdmission implements AdmissionPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  verdict(
    request: Request,
    choice: PrefillChoice,
    decodeInstance: number,
    view: ClusterView,
  ): '' | 'ttft' | 'tbt' {
    const { slo, estimate } = this.context;
    if (choice.ttftNs > slo.ttftNs) return 'ttft';
    const tokens = view.decodeTokens(decodeInstance) + request.inputTokens + request.outputTokens;
    const batch = view.decodeRequests(decodeInstance) + 1;
    return estimate.decodeStepNs(decodeInstance, batch, tokens) > slo.tbtNs ? 'tbt' : '';
  }
}

export default defineAdmission({
  source: 'Mooncake, FAST 2025, Algorithm 1 (HTTP 429)',
  params: {},
  create: (context) => new SloAdmission(context),
});
