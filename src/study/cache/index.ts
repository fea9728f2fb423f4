/** The cache laboratory: policies x capacities over a trace, and LRU at all capacities at once. */
import { loadConfig } from '../../config/load.ts';
import { loadPolicy } from '../../config/policies.ts';
import { parsePolicyRef, policyWithoutFolder } from '../../config/policy-ref.ts';
import { resolveConfig } from '../../config/resolve.ts';
import { RandomStream } from '../../config/streams.ts';
import { openTrace } from '../../trace/open.ts';
import { VERSION } from '../version.ts';
import { type AccessStream, streamOfTrace, streamWithDecode } from './access-stream.ts';
import { type BlockModel, FOREIGN_BLOCK, modelOf, recomputeTimes } from './block-model.ts';
import { checkForeignPlan, checkPlan, DEFAULTS, type Plan } from './check-options.ts';
import { Router } from './cluster-pools.ts';
import { type Contest, contestsOf, type NamedPolicy, poolSlots, rowOf, siteOf } from './contest.ts';
import { curveOf } from './curve-report.ts';
import { collectForeign, foreignTrace, type KeyChunk, openForeign } from './foreign.ts';
import { StreamFuture } from './future.ts';
import type { CacheStudyOptions, CacheStudyResult } from './options.ts';
import { replay, replayChunks } from './replay.ts';

export { analyseTrace, type TraceAnalysis } from './analysis.ts';
export type * from './options.ts';

/**
 * Equal inputs give equal results, byte for byte.
 * @throws InputError for a bad trace, policy, configuration or option
 */
export async function runCacheStudy(options: CacheStudyOptions): Promise<CacheStudyResult> {
  const plan: Plan = { ...DEFAULTS, ...options };
  checkPlan(plan);
  const policies = await Promise.all(
    plan.policies.map(async (spec) => ({
      label: policyWithoutFolder(spec),
      policy: await loadPolicy(parsePolicyRef('eviction', spec, '--policy')),
    })),
  );
  const foreign = typeof plan.trace === 'string' ? foreignTrace(plan.trace) : null;
  if (foreign === null) return studyTrace(plan, policies);
  checkForeignPlan(plan);
  const chunks = await openForeign(foreign.format, foreign.path);
  if (needsWhole(plan, policies)) {
    return studyStream(plan, policies, collectForeign(chunks), FOREIGN_BLOCK, null);
  }
  return studyChunks(plan, policies, chunks);
}

/** Whether anything that is asked for depends on all of the stream. */
function needsWhole(plan: Plan, policies: readonly NamedPolicy[]): boolean {
  return (
    plan.curve !== undefined ||
    plan.nodes > 1 ||
    plan.capacities.includes(null) ||
    policies.some(({ policy }) => policy.name === 'belady')
  );
}

async function studyTrace(plan: Plan, policies: readonly NamedPolicy[]): Promise<CacheStudyResult> {
  const limit = plan.limit === undefined ? {} : { limit: plan.limit };
  const trace = typeof plan.trace === 'string' ? await openTrace(plan.trace, limit) : plan.trace;
  const loaded = await loadConfig(plan.config, plan.sets);
  const model = modelOf(resolveConfig(loaded, trace.blockTokens));
  const stream = plan.decodeCached ? streamWithDecode(trace) : streamOfTrace(trace);
  return studyStream(plan, policies, stream, model, trace.sha256);
}

function studyStream(
  plan: Plan,
  policies: readonly NamedPolicy[],
  stream: AccessStream,
  model: BlockModel,
  sha256: string | null,
): CacheStudyResult {
  const recomputeNs = recomputeTimes(stream, model);
  const rows = contestsOf(plan, policies, model).map((contest) => {
    const slots = poolSlots(contest, plan.nodes, stream.distinctBlocks);
    const future = new StreamFuture(stream, plan.order);
    const sites = Array.from({ length: plan.nodes }, (_, node) =>
      siteOf(plan, contest, { node, slots, distinctBlocks: stream.distinctBlocks }, model, {
        recomputeNs,
        future,
      }),
    );
    const router = plan.nodes === 1 ? null : routerOf(plan, contest, stream);
    return rowOf(plan, contest, model, replay(stream, sites, router, future, plan.order));
  });
  const { promptEnd, start, inputTokens, requests, blockTokens } = stream;
  let accesses = 0;
  let tokens = 0;
  for (let r = 0; r < requests; r++) {
    const length = start === null ? 1 : promptEnd![r] - start[r];
    accesses += length;
    tokens += inputTokens === null ? length * blockTokens : inputTokens[r];
  }
  return {
    ...headingOf(plan, model),
    trace: {
      requests,
      accesses,
      inputTokens: tokens,
      distinctBlocks: stream.distinctBlocks,
      blockTokens,
      sha256,
    },
    rows,
    curve: plan.curve === undefined ? null : curveOf(plan, plan.curve, stream, model),
  };
}

/**
 * One pass over a trace that may be larger than memory, all policies and capacities side by side.
 */
function studyChunks(
  plan: Plan,
  policies: readonly NamedPolicy[],
  chunks: Iterable<KeyChunk>,
): CacheStudyResult {
  const model = FOREIGN_BLOCK;
  const recomputeNs = new Float64Array(1);
  const contests = contestsOf(plan, policies, model);
  const sites = contests.map((contest) => {
    const place = { node: 0, slots: poolSlots(contest, 1, 0), distinctBlocks: 0 };
    return siteOf(plan, contest, place, model, { recomputeNs, future: null });
  });
  let accesses = 0;
  let distinctBlocks = 0;
  function* counted(): Generator<KeyChunk> {
    for (const chunk of chunks) {
      accesses += chunk.keys.length;
      distinctBlocks = chunk.distinct;
      yield chunk;
    }
  }
  const counts = replayChunks(counted(), sites);
  return {
    ...headingOf(plan, model),
    trace: {
      requests: accesses,
      accesses,
      inputTokens: accesses,
      distinctBlocks,
      blockTokens: 1,
      sha256: null,
    },
    rows: contests.map((contest, i) => rowOf(plan, contest, model, counts[i])),
    curve: null,
  };
}

function routerOf(plan: Plan, { label, capacityBlocks }: Contest, stream: AccessStream): Router {
  const random = new RandomStream(plan.seed, `cache/routing/${label}/${capacityBlocks}`);
  return new Router(plan.routing, stream, plan.nodes, () => random.next());
}

function headingOf(plan: Plan, model: BlockModel) {
  return {
    version: VERSION,
    seed: plan.seed,
    semantics: plan.semantics,
    order: plan.order,
    decodeCached: plan.decodeCached,
    nodes: plan.nodes,
    routing: plan.nodes === 1 ? null : plan.routing,
    model:
      model.bytes === null
        ? null
        : { name: model.name, bytesPerBlock: model.bytes, cost: model.cost },
  };
}
