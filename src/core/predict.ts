/** Predictions and choices that scheduling policies share. */
import type { Estimator } from './cost.ts';
import type { Dispatch } from './messages.ts';
import type { ClusterView, Load, PolicyContext, PrefillChoice, PrefixMatch } from './policy.ts';
import { cachedTokens, type Request } from './request.ts';
import type { Topology } from './topology.ts';

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

/** What a dispatch makes its instance compute: time, and tokens that are not cached. */
export function predictWork(
  estimate: Estimator,
  { kv }: Topology,
  instance: number,
  { request, localBlocks, sources, sourceBlocks }: Dispatch,
): { readonly predictedNs: number; readonly tokens: number } {
  const { inputTokens } = request;
  const blocks = Math.max(localBlocks, sources.length === 0 ? 0 : sourceBlocks);
  const cached = blocks === 0 ? 0 : cachedTokens(blocks, kv.blockTokens, inputTokens);
  const predictedNs = estimate.prefillNs(instance, inputTokens, cached);
  return { predictedNs, tokens: inputTokens - cached };
}

/** This instance, with what its own node holds and no fetch. */
export function localChoice(
  context: PolicyContext,
  request: Request,
  instance: number,
  match: PrefixMatch,
  view: ClusterView,
): PrefillChoice {
  const ttftNs = predictLocalTtftNs(context, request, instance, match, view);
  return { instance, sourceNode: -1, sourceBlocks: 0, ttftNs };
}

/** `draws` of the instances at random, without replacement; all of them, in order, for 0. */
export function drawn(instances: readonly number[], draws: number, random: () => number): number[] {
  const all = instances.slice();
  if (draws === 0) return all;
  const wanted = Math.min(draws, all.length);
  for (let i = 0; i < wanted; i++) {
    const at = i + Math.floor(random() * (all.length - i));
    const swap = all[at];
    all[at] = all[i];
    all[i] = swap;
  }
  return all.slice(0, wanted);
}

/** The one whose score is least; the first among equals. */
export function leastBy(instances: readonly number[], score: (of: number) => number): number {
  let least = instances[0];
  let leastScore = score(least);
  for (let i = 1; i < instances.length; i++) {
    const candidate = score(instances[i]);
    if (candidate >= leastScore) continue;
    leastScore = candidate;
    least = instances[i];
  }
  return least;
}

/**
 * Load of the decode pool if the request joined it: the mean over its instances of the predicted
 * TBT over its SLO, where each instance decodes `loadOf` and the request.
 */
export function decodePoolLoad(
  { estimate, slo }: PolicyContext,
  { inputTokens, outputTokens }: Request,
  { decodeInstances }: ClusterView,
  loadOf: (instance: number) => Load,
): number {
  let sum = 0;
  for (const instance of decodeInstances) {
    const { requests, tokens } = loadOf(instance);
    const all = tokens + inputTokens + outputTokens;
    sum += estimate.decodeStepNs(instance, requests + 1, all) / slo.tbtNs;
  }
  return sum / decodeInstances.length;
}

/** Loads of both pools: 1 is as much as the targets or the memory allow. */
export function poolLoads(
  { estimate, slo }: PolicyContext,
  view: ClusterView,
): { readonly prefill: number; readonly decode: number } {
  return {
    prefill: meanOver(view.prefillInstances, (of) => view.queueNs(of) / slo.ttftNs),
    decode: meanOver(view.decodeInstances, (of) => {
      const { requests, tokens } = view.decodingNow(of);
      const stepNs = requests === 0 ? 0 : estimate.decodeStepNs(of, requests, tokens);
      return Math.max(stepNs / slo.tbtNs, view.decodeTokens(of) / view.decodeCapacityTokens(of));
    }),
  };
}

function meanOver(instances: readonly number[], load: (of: number) => number): number {
  let sum = 0;
  for (const instance of instances) sum += load(instance);
  return instances.length === 0 ? 0 : sum / instances.length;
}

/** The stage check of decode: would this request, joining now, break the TBT of its instance? */
export function verdictAtDecode(
  { estimate, slo }: PolicyContext,
  { inputTokens, outputTokens }: Request,
  instance: number,
  view: ClusterView,
): '' | 'tbt' {
  const { requests, tokens } = view.decodingNow(instance);
  const all = tokens + inputTokens + outputTokens;
  return estimate.decodeStepNs(instance, requests + 1, all) > slo.tbtNs ? 'tbt' : '';
}
