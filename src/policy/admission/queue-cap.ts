/** Rejects when the chosen prefill instance, or all together, have as much queued as they may. */
import {
  type AdmissionPolicy,
  type ClusterView,
  defineAdmission,
  type PrefillChoice,
  type Request,
  type Verdict,
} from '../../core/policy-kit.ts';

interface Caps {
  readonly requests: number;
  readonly tokens: number;
  readonly pool: number;
}

class QueueCap implements AdmissionPolicy {
  private readonly caps: Caps;

  constructor(caps: Caps) {
    this.caps = caps;
  }

  verdict(
    _request: Request,
    { instance }: PrefillChoice,
    _decodeInstance: number,
    view: ClusterView,
  ): Verdict {
    const { requests, tokens, pool } = this.caps;
    if (view.queuedRequests(instance) >= requests) return 'policy';
    if (view.queuedTokens(instance) >= tokens) return 'policy';
    let queued = 0;
    for (const of of view.prefillInstances) queued += view.queuedRequests(of);
    return queued >= pool ? 'policy' : '';
  }
}

const cap = (most: number, doc: string) =>
  ({ type: 'integer', default: most, min: 0, doc }) as const;

export default defineAdmission({
  source: 'Bounded queues: vLLM production stack, SGLang max-queued-requests',
  params: {
    requests: cap(64, 'requests that one instance may have queued'),
    tokens: cap(10_000_000, 'uncached tokens that one instance may have queued'),
    pool: cap(1_000_000, 'requests that all instances may have queued'),
  },
  create: (_context, caps) => new QueueCap(caps),
});
