/** Replays a stream against one pool under one policy and counts. */
import { assert } from '../../core/errors.ts';
import type { EvictionPolicy } from '../../core/policy.ts';
import type { AccessStream } from './access-stream.ts';
import type { TouchOrder } from './future.ts';
import type { CachePool, ReplayContext } from './pool.ts';
import { type Cursor, serve } from './serve.ts';
import { specialise } from './specialise.ts';

/** A policy with the context that it was created with. */
export interface Contender {
  /** Tells policy classes apart; parameters may be left out. */
  readonly name: string;
  readonly policy: EvictionPolicy;
  readonly context: ReplayContext;
}

/** Counts under both readings of a hit; residency does not depend on the reading. */
export interface ReplayCounts {
  /** Blocks that prompts asked for. */
  accesses: number;
  inputTokens: number;
  /** `any`: found when touched. */
  any: HitCounts;
  /** `prefix`: in the longest run of leading blocks that are resident when the request comes. */
  prefix: HitCounts;
  insertions: number;
  evictions: number;
  refusals: number;
}

export interface HitCounts {
  hits: number;
  tokens: number;
  /** Requests with a hit, and requests all of whose blocks hit. */
  requests: number;
  fullRequests: number;
  savedNs: number;
}

export function replay(
  stream: AccessStream,
  pool: CachePool,
  contender: Contender,
  cursor: Cursor,
  order: TouchOrder,
): ReplayCounts {
  const counts = emptyCounts();
  if (stream.start === null) replayKeys(stream, pool, contender, cursor, counts);
  else replayRequests(stream, pool, contender, cursor, order === 'reverse', counts);
  counts.insertions = pool.insertions;
  counts.evictions = pool.evictions;
  counts.refusals = pool.refusals;
  const resident = pool.capacitySlots - pool.freeCount;
  assert(contender.policy.size() === resident, `${contender.name} lost count of its slots`);
  return counts;
}

function replayKeys(
  stream: AccessStream,
  pool: CachePool,
  contender: Contender,
  cursor: Cursor,
  counts: ReplayCounts,
): void {
  const { policy, context } = contender;
  const { blocks, timeNs, requests } = stream;
  const serveKeys = specialise(serve, contender.name);
  for (let from = 0; from < requests; ) {
    let to = requests;
    if (timeNs !== null) {
      context.nowNs = timeNs[from];
      to = from + 1;
      while (to < requests && timeNs[to] === context.nowNs) to++;
    }
    serveKeys(policy, pool, cursor, blocks, from, to, to, false, false);
    from = to;
  }
  const hits = pool.hits;
  const { savedNs } = pool;
  counts.accesses = requests;
  counts.inputTokens = requests * stream.blockTokens;
  const tokens = hits * stream.blockTokens;
  counts.any = { hits, tokens, requests: hits, fullRequests: hits, savedNs };
  counts.prefix = { ...counts.any };
}

function replayRequests(
  stream: AccessStream,
  pool: CachePool,
  contender: Contender,
  cursor: Cursor,
  reverse: boolean,
  counts: ReplayCounts,
): void {
  const { policy, context } = contender;
  const { blocks, timeNs, blockTokens, inputTokens } = stream;
  const start = stream.start!;
  const promptEnd = stream.promptEnd!;
  const serveRequest = specialise(serve, contender.name);
  const { any, prefix } = counts;
  for (let r = 0; r < stream.requests; r++) {
    const from = start[r];
    const end = promptEnd[r];
    if (timeNs !== null) context.nowNs = timeNs[r];
    const leading = leadingRun(pool.slotOf, blocks, from, end);
    pool.hits = 0;
    pool.tailHits = 0;
    pool.savedNs = 0;
    serveRequest(policy, pool, cursor, blocks, from, end, start[r + 1], true, reverse);
    const length = end - from;
    const tokens = inputTokens === null ? length * blockTokens : inputTokens[r];
    counts.accesses += length;
    counts.inputTokens += tokens;
    const short = length * blockTokens - tokens;
    const tail = pool.recomputeNs[length - 1] * (short / blockTokens);
    const tailHit = pool.tailHits > 0;
    addHits(any, pool.hits, length, pool.hits * blockTokens - (tailHit ? short : 0));
    any.savedNs += pool.savedNs - (tailHit ? tail : 0);
    const full = leading === length;
    addHits(prefix, leading, length, leading * blockTokens - (full ? short : 0));
    for (let depth = 0; depth < leading; depth++) prefix.savedNs += pool.recomputeNs[depth];
    if (full) prefix.savedNs -= tail;
  }
}

/** Leading blocks of blocks[from .. end) that are resident. */
function leadingRun(slotOf: Int32Array, blocks: Int32Array, from: number, end: number): number {
  let i = from;
  while (i < end && slotOf[blocks[i]] >= 0) i++;
  return i - from;
}

function addHits(counts: HitCounts, hits: number, length: number, tokens: number): void {
  counts.hits += hits;
  counts.tokens += tokens;
  if (hits > 0) counts.requests++;
  if (hits === length) counts.fullRequests++;
}

function emptyCounts(): ReplayCounts {
  const none = { hits: 0, tokens: 0, requests: 0, fullRequests: 0, savedNs: 0 };
  return {
    accesses: 0,
    inputTokens: 0,
    any: { ...none },
    prefix: { ...none },
    insertions: 0,
    evictions: 0,
    refusals: 0,
  };
}
