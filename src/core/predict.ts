/** Predictions that prefill policies share. */
import type { ClusterView, PolicyContext, PrefixMatch } from './policy.ts';
import { cachedTokens, type Request } from './request.ts';

/** Time of the prompt on the instance when `blocks` leading blocks are cached, ns. */
export function predictPrefillNs(
  context: PolicyContext,
  request: Request,
  instance: number,
  blocks: number,
): number {
  const cached = blocks === 0 ? 0 : cachedTokens(blocks, context.blockTokens, request.inputTokens);
  return context.estimate.prefillNs(instance, request.inputTokens, cached);
}

/** Queue, then the prompt with what is cached on the instance's own node. */
export function predictLocalTtftNs(
  context: PolicyContext,
  request: Request,
  instance: number,
  match: PrefixMatch,
  view: ClusterView,
): number {
  const prefillNs = predictPrefillNs(context, request, instance, match.localBlocks(instance));
  return view.queueNs(instance) + prefillNs;
}
