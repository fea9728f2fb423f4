/**
 * Prompts with much to compute go to a prefill instance of their own; short ones, and those that
 * are mostly cached, stay on an instance with both roles, where they disturb its decode little and
 * save the hand-off. What is cached is the longest prefix on an instance with both roles.
 */
import {
  type ClusterView,
  cachedTokens,
  type DisaggregationPolicy,
  defineDisaggregation,
  type PolicyContext,
  type PrefixMatch,
  type Request,
} from '../../core/policy-kit.ts';

class UncachedTokens implements DisaggregationPolicy {
  private readonly context: PolicyContext;
  private readonly limitTokens: number;

  constructor(context: PolicyContext, limitTokens: number) {
    this.context = context;
    this.limitTokens = limitTokens;
  }

  separates({ inputTokens }: Request, match: PrefixMatch, view: ClusterView): boolean {
    let blocks = 0;
    for (const instance of view.coupledInstances) {
      blocks = Math.max(blocks, match.localBlocks(instance));
    }
    const cached = blocks === 0 ? 0 : cachedTokens(blocks, this.context.blockTokens, inputTokens);
    return inputTokens - cached > this.limitTokens;
  }
}

export default defineDisaggregation({
  source: 'NVIDIA Dynamo: conditional disaggregation (max_local_prefill_length), without its queue',
  params: {
    tokens: {
      type: 'integer',
      default: 1000,
      min: 0,
      doc: 'uncached tokens above which prefill and decode are separated',
    },
  },
  create: (context, { tokens }) => new UncachedTokens(context, tokens),
});
