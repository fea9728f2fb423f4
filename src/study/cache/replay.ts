/** Replays a stream against one pool, or several behind a router, and counts. */
import { assert } from '../../core/errors.ts';
import type { EvictionPolicy } from '../../core/policy.ts';
import { type AccessStream, streamOfKeys } from './access-stream.ts';
import type { Router } from './cluster-pools.ts';
import type { KeyChunk } from './foreign.ts';
import type { TouchOrder } from './future.ts';
import type { CachePool, ReplayContext } from './pool.ts';
import { type Cursor, serve } from './serve.ts';
import { specialise } from './specialise.ts';

/** A pool and the policy that rules it. */
export interface Site {
  /** Tells policy classes apart. */
  readonly name: string;
  readonly pool: CachePool;
  readonly policy: EvictionPolicy;
  readonly context: ReplayContext;
}

/** Counts under both readings of a hit: what is resident does not depend on the reading. */
export interface ReplayCounts {
  requests: number;
  /** Blocks that prompts asked for. */
  accesses: number;
  inputTokens: number;
  /** `any`: found when touched. */
  readonly any: HitCounts;
  /** `prefix`: in the longest run of leading blocks that are resident when the request comes. */
  readonly prefix: HitCounts;
  insertions: number;
  evictions: number;
  /** Insertions that the policy declined. */
  refusals: number;
}

export interface HitCounts {
  hits: number;
  tokens: number;
  /** Requests with a hit, and requests all of whose blocks hit. */
  requests: number;
  fullRequests: number;
  /** Prefill time that the hits save. */
  savedNs: number;
}

/** With more than one site, `router` says which one serves a request. */
export function replay(
  stream: AccessStream,
  sites: readonly Site[],
  router: Router | null,
  cursor: Cursor,
  order: TouchOrder,
): ReplayCounts {
  const counts = emptyCounts();
  if (stream.start === null && router === null) replayKeys(stream, sites[0], cursor, counts);
  else replayRequests(stream, sites, router, cursor, order === 'reverse', counts);
  settle(sites, counts);
  return counts;
}

/**
 * The same for a trace that comes in pieces and was never whole: one pool per site, all at once.
 */
export function replayChunks(chunks: Iterable<KeyChunk>, sites: readonly Site[]): ReplayCounts[] {
  const runs = sites.map((site) => ({ site, cursor: { position: 0 }, counts: emptyCounts() }));
  for (const { keys, timeNs, distinct } of chunks) {
    const stream = streamOfKeys(keys, distinct, timeNs);
    for (const { site, cursor, counts } of runs) {
      site.pool.reserve(distinct);
      replayKeys(stream, site, cursor, counts);
    }
  }
  for (const { site, counts } of runs) settle([site], counts);
  return runs.map((run) => run.counts);
}

/** Adds what the pools counted; the policies must agree on what is resident. */
function settle(sites: readonly Site[], counts: ReplayCounts): void {
  for (const { name, pool, policy } of sites) {
    counts.insertions += pool.insertions;
    counts.evictions += pool.evictions;
    counts.refusals += pool.refusals;
    const resident = pool.capacitySlots - pool.freeCount;
    assert(policy.size() === resident, `eviction policy ${name} lost count of its slots`);
  }
}

/** Accesses that stand alone, against one pool: whole stretches of equal time in one call. */
function replayKeys(stream: AccessStream, site: Site, cursor: Cursor, counts: ReplayCounts): void {
  const { name, pool, policy, context } = site;
  const { blocks, timeNs, requests } = stream;
  const serveKeys = specialise(serve, name);
  const before = { hits: pool.hits, savedNs: pool.savedNs };
  for (let from = 0; from < requests; ) {
    let to = requests;
    if (timeNs !== null) {
      context.nowNs = timeNs[from];
      to = from + 1;
      while (to < requests && timeNs[to] === context.nowNs) to++;
    }
    keepHouse(site);
    serveKeys(policy, pool, cursor, blocks, from, to, to, false, false);
    from = to;
  }
  counts.requests += requests;
  counts.accesses += requests;
  counts.inputTokens += requests * stream.blockTokens;
  const hits = pool.hits - before.hits;
  for (const kind of [counts.any, counts.prefix]) {
    kind.hits += hits;
    kind.tokens += hits * stream.blockTokens;
    kind.savedNs += pool.savedNs - before.savedNs;
    kind.requests += hits;
    kind.fullRequests += hits;
  }
}

function replayRequests(
  stream: AccessStream,
  sites: readonly Site[],
  router: Router | null,
  cursor: Cursor,
  reverse: boolean,
  counts: ReplayCounts,
): void {
  const { blocks, start, promptEnd, timeNs, blockTokens, inputTokens } = stream;
  const serveRequest = specialise(serve, sites[0].name);
  const { recomputeNs } = sites[0].pool;
  const { any, prefix } = counts;
  counts.requests = stream.requests;
  let from = 0;
  let end = 0;
  const leadingAt = (node: number) => leadingRun(sites[node].pool.slotOf, blocks, from, end);
  for (let r = 0; r < stream.requests; r++) {
    from = start === null ? r : start[r];
    end = promptEnd === null ? r + 1 : promptEnd[r];
    const to = start === null ? r + 1 : start[r + 1];
    const site = router === null ? sites[0] : sites[router.route(r, leadingAt)];
    const { pool } = site;
    if (timeNs !== null) site.context.nowNs = timeNs[r];
    keepHouse(site);
    const leading = leadingRun(pool.slotOf, blocks, from, end);
    pool.hits = 0;
    pool.tailHits = 0;
    pool.savedNs = 0;
    serveRequest(site.policy, pool, cursor, blocks, from, end, to, start !== null, reverse);
    const length = end - from;
    const tokens = inputTokens === null ? length * blockTokens : inputTokens[r];
    counts.accesses += length;
    counts.inputTokens += tokens;
    // The last block of a prompt may be partial: its hit is worth as much less.
    const short = length * blockTokens - tokens;
    const shortNs = length === 0 ? 0 : recomputeNs[length - 1] * (short / blockTokens);
    const tailHit = pool.tailHits > 0 ? 1 : 0;
    const found = pool.hits;
    addHits(
      any,
      found,
      length,
      found * blockTokens - tailHit * short,
      pool.savedNs - tailHit * shortNs,
    );
    const full = leading === length ? 1 : 0;
    let savedNs = -full * shortNs;
    for (let depth = 0; depth < leading; depth++) savedNs += recomputeNs[depth];
    addHits(prefix, leading, length, leading * blockTokens - full * short, savedNs);
  }
}

/** Slots that the policy gives up without being asked for room. */
function keepHouse({ pool, policy }: Site): void {
  if (policy.reclaim === undefined) return;
  for (const slot of policy.reclaim(0, pool.pinned)) {
    policy.onRemove(slot, 'evict');
    pool.free(slot);
  }
}

/** Leading blocks of blocks[from .. end) that are resident. */
function leadingRun(slotOf: Int32Array, blocks: Int32Array, from: number, end: number): number {
  let i = from;
  while (i < end && slotOf[blocks[i]] >= 0) i++;
  return i - from;
}

function addHits(
  counts: HitCounts,
  hits: number,
  length: number,
  tokens: number,
  savedNs: number,
): void {
  counts.hits += hits;
  counts.tokens += tokens;
  counts.savedNs += savedNs;
  if (hits > 0) counts.requests++;
  if (hits === length && length > 0) counts.fullRequests++;
}

function emptyCounts(): ReplayCounts {
  const none = { hits: 0, tokens: 0, requests: 0, fullRequests: 0, savedNs: 0 };
  return {
    requests: 0,
    accesses: 0,
    inputTokens: 0,
    any: { ...none },
    prefix: { ...none },
    insertions: 0,
    evictions: 0,
    refusals: 0,
  };
}
