/**
 * Sheds tier by tier: as the greater load of the two pools rises from `from` to 1, priorities are
 * turned away from the lowest up, in equal steps. Priority 0 is the lowest of `tiers`; those above
 * the highest tier count as it, and are turned away when the load passes 1. Loads as in
 * early-rejection.
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
} from '../../core/policy-kit.ts';

class PriorityShed implements AdmissionPolicy {
  private readonly context: PolicyContext;
  private readonly tiers: number;
  private readonly from: number;

  constructor(context: PolicyContext, tiers: number, from: number) {
    this.context = context;
    this.tiers = tiers;
    this.from = from;
  }

  verdict(
    request: Request,
    { ttftNs }: PrefillChoice,
    _decodeInstance: number,
    view: ClusterView,
  ): Verdict {
    const { context, tiers, from } = this;
    const prefill = ttftNs / context.slo.ttftNs;
    const decode = decodePoolLoad(context, request, view, (of) => view.decodingNow(of));
    const tier = Math.min(tiers - 1, Math.max(0, request.priority));
    const limit = tiers === 1 ? 1 : from + ((1 - from) * tier) / (tiers - 1);
    if (prefill > limit) return prefill > 1 ? 'ttft' : 'policy';
    if (decode > limit) return decode > 1 ? 'tbt' : 'policy';
    return '';
  }
}

export default defineAdmission({
  source: 'Load shedding by criticality: Zhou et al., "Overload Control for Scaling WeChat", 2018',
  params: {
    tiers: { type: 'integer', default: 3, min: 1, doc: 'priorities that are told apart' },
    from: { type: 'number', default: 0.5, min: 0, max: 1, doc: 'load at which shedding begins' },
  },
  create: (context, { tiers, from }) => new PriorityShed(context, tiers, from),
});
