/** One policy at one capacity: set up, and reported. */
import type { LoadedPolicy } from '../../config/policies.ts';
import { RandomStream } from '../../config/streams.ts';
import { InputError } from '../../core/errors.ts';
import type { Future } from '../../core/policy.ts';
import { NS_PER_S } from '../../core/units.ts';
import type { BlockModel } from './block-model.ts';
import type { Plan } from './check-options.ts';
import type { CacheRow } from './options.ts';
import { CachePool, ReplayContext } from './pool.ts';
import type { ReplayCounts, Site } from './replay.ts';

export interface NamedPolicy {
  /** As it was asked for, without folders. */
  readonly label: string;
  readonly policy: LoadedPolicy<'eviction'>;
}

export interface Contest extends NamedPolicy {
  /** Of all nodes together; null is without limit. */
  readonly capacityBlocks: number | null;
}

export function contestsOf(
  { capacities, unit }: Plan,
  policies: readonly NamedPolicy[],
  model: BlockModel,
): Contest[] {
  const size = { blocks: 1, tokens: model.tokens, bytes: model.bytes ?? 1 }[unit];
  return policies.flatMap((policy) =>
    capacities.map((capacity) => {
      const capacityBlocks = capacity === null ? null : Math.floor(capacity / size);
      if (capacityBlocks === 0) {
        const expected = `at least one block, ${size} ${unit}`;
        throw new InputError(`found ${capacity} ${unit}, expected ${expected}`, 'capacities');
      }
      return { ...policy, capacityBlocks };
    }),
  );
}

/** Slots of each node's pool. */
export function poolSlots(
  { capacityBlocks }: Contest,
  nodes: number,
  distinctBlocks: number,
): number {
  if (capacityBlocks === null) return Math.max(1, distinctBlocks);
  if (capacityBlocks >= nodes) return Math.floor(capacityBlocks / nodes);
  const found = `${capacityBlocks} blocks for ${nodes} nodes`;
  throw new InputError(`found ${found}, expected at least one block a node`, 'capacities');
}

export function siteOf(
  { seed }: Plan,
  { policy, label, capacityBlocks }: Contest,
  place: { node: number; slots: number; distinctBlocks: number },
  model: BlockModel,
  view: { recomputeNs: Float64Array; future: Future | null },
): Site {
  const { node, slots, distinctBlocks } = place;
  const random = new RandomStream(seed, `cache/${label}/${capacityBlocks}/${node}`);
  const context = new ReplayContext(
    slots,
    { bytes: model.bytes ?? 1, tokens: model.tokens },
    view.recomputeNs,
    () => random.next(),
    view.future,
  );
  return {
    name: policy.path ?? policy.name,
    pool: new CachePool(slots, distinctBlocks, view.recomputeNs),
    policy: policy.module.create(context, policy.params),
    context,
  };
}

export function rowOf(
  { semantics }: Plan,
  { label, capacityBlocks }: Contest,
  { bytes }: BlockModel,
  counts: ReplayCounts,
): CacheRow {
  const { accesses, inputTokens, requests } = counts;
  const { hits, tokens, savedNs, ...found } = counts[semantics];
  return {
    policy: label,
    capacityBlocks,
    capacityBytes: capacityBlocks === null || bytes === null ? null : capacityBlocks * bytes,
    accesses,
    hits,
    misses: accesses - hits,
    hitRatio: ratio(hits, accesses),
    tokensRatio: ratio(tokens, inputTokens),
    requestsRatio: ratio(found.requests, requests),
    fullRequestsRatio: ratio(found.fullRequests, requests),
    savedPrefillSeconds: bytes === null ? null : savedNs / NS_PER_S,
    bytesRead: bytes === null ? null : hits * bytes,
    bytesWritten: bytes === null ? null : counts.insertions * bytes,
    blocksWritten: counts.insertions,
    evictions: counts.evictions,
    declined: counts.refusals,
  };
}

export function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
