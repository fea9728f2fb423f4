/**
 * A bucket holds `burst` requests and fills with `rate` a second; who finds it empty is rejected.
 * With `unit=tokens` a request takes its input and output tokens.
 */
import {
  type AdmissionPolicy,
  type ClusterView,
  defineAdmission,
  type PrefillChoice,
  type Request,
  type Verdict,
} from '../../core/policy-kit.ts';

class TokenBucket implements AdmissionPolicy {
  private readonly perNs: number;
  private readonly burst: number;
  private readonly byTokens: boolean;
  private level: number;
  private sinceNs = 0;

  constructor(rate: number, burst: number, byTokens: boolean) {
    this.perNs = rate / 1e9;
    this.burst = burst;
    this.byTokens = byTokens;
    this.level = burst;
  }

  verdict(
    { inputTokens, outputTokens }: Request,
    _choice: PrefillChoice,
    _decodeInstance: number,
    { nowNs }: ClusterView,
  ): Verdict {
    this.level = Math.min(this.burst, this.level + (nowNs - this.sinceNs) * this.perNs);
    this.sinceNs = nowNs;
    const takes = this.byTokens ? inputTokens + outputTokens : 1;
    if (takes > this.level) return 'policy';
    this.level -= takes;
    return '';
  }
}

export default defineAdmission({
  source: 'Turner, "New directions in communications", 1986 (leaky and token buckets)',
  params: {
    rate: { type: 'number', default: 10, min: 0, doc: 'units that come back a second' },
    burst: { type: 'number', default: 20, min: 0, doc: 'units that the bucket holds' },
    unit: {
      type: 'choice',
      default: 'requests',
      choices: ['requests', 'tokens'],
      doc: 'what is counted',
    },
  },
  create: (_context, { rate, burst, unit }) => new TokenBucket(rate, burst, unit === 'tokens'),
});
