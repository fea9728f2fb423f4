/**
 * Hits of LRU at every capacity, from one pass over the stream.
 *
 * `any`: an access is a hit at capacity C exactly if its stack distance is at most C. `prefix`: a
 * block is a hit exactly if it and all blocks before it are resident when the request comes, that
 * is, if the greatest distance up to it, taken before the request touches anything, is at most C.
 * That holds for both orders of touching, since what is resident then depends on earlier touches
 * alone.
 */
import { assert } from '../../core/errors.ts';
import type { AccessStream } from './access-stream.ts';
import type { TouchOrder } from './future.ts';
import { StackDistances } from './stack-distances.ts';

export type Semantics = 'prefix' | 'any';

/**
 * Hits by capacity: index C holds those of a pool with C blocks, the last index all reachable
 * ones.
 */
export interface HitCurve {
  readonly accesses: number;
  readonly inputTokens: number;
  readonly hits: Float64Array;
  readonly tokens: Float64Array;
}

export function lruCurve(
  stream: AccessStream,
  semantics: Semantics,
  order: TouchOrder = 'forward',
): HitCurve {
  const counts = new CurveCounts(stream.distinctBlocks);
  const stack = new StackDistances(stream.distinctBlocks);
  const { blocks, start, promptEnd } = stream;
  if (start === null || promptEnd === null) {
    for (let i = 0; i < blocks.length; i++) {
      counts.add(stack.distance(blocks[i]), stream.blockTokens);
      stack.touch(blocks[i]);
    }
    return counts.curve();
  }
  for (let r = 0; r < stream.requests; r++) {
    const from = start[r];
    const end = promptEnd[r];
    const tokens = tailTokens(stream, r);
    if (semantics === 'prefix') {
      let greatest = 0;
      let reached = true;
      for (let i = from; i < end; i++) {
        if (reached) {
          const distance = stack.distance(blocks[i]);
          reached = distance > 0;
          greatest = Math.max(greatest, distance);
        }
        counts.add(reached ? greatest : 0, i === end - 1 ? tokens : stream.blockTokens);
      }
    }
    const to = start[r + 1];
    for (let k = 0; k < to - from; k++) {
      const i = order === 'forward' ? from + k : to - 1 - k;
      if (semantics === 'any' && i < end) {
        const share = i === end - 1 ? tokens : stream.blockTokens;
        counts.add(stack.distance(blocks[i]), share);
      }
      stack.touch(blocks[i]);
    }
  }
  return counts.curve();
}

/** Tokens in the last block of a request's prompt. */
function tailTokens({ start, promptEnd, inputTokens, blockTokens }: AccessStream, r: number) {
  if (inputTokens === null) return blockTokens;
  return inputTokens[r] - (promptEnd![r] - start![r] - 1) * blockTokens;
}

/** Counts hits by the least capacity that has them. */
class CurveCounts {
  private accesses = 0;
  private inputTokens = 0;
  private readonly hits: Float64Array;
  private readonly tokens: Float64Array;

  constructor(capacityMax: number) {
    this.hits = new Float64Array(capacityMax + 1);
    this.tokens = new Float64Array(capacityMax + 1);
  }

  /** `capacity` 0: no capacity has this one. */
  add(capacity: number, tokens: number): void {
    this.accesses++;
    this.inputTokens += tokens;
    if (capacity === 0) return;
    this.hits[capacity]++;
    this.tokens[capacity] += tokens;
  }

  curve(): HitCurve {
    const { accesses, inputTokens, hits, tokens } = this;
    for (let capacity = 1; capacity < hits.length; capacity++) {
      hits[capacity] += hits[capacity - 1];
      tokens[capacity] += tokens[capacity - 1];
    }
    return { accesses, inputTokens, hits, tokens };
  }
}

/** Hits at a capacity; null is without limit. */
export function hitsAt(curve: HitCurve, capacityBlocks: number | null): number {
  const last = curve.hits.length - 1;
  return curve.hits[capacityBlocks === null ? last : Math.min(capacityBlocks, last)];
}

/** The least capacity, in blocks, that reaches a share of the hits that any capacity reaches. */
export function target(curve: HitCurve, share: number): number {
  assert(share >= 0 && share <= 1, `target ${share} is not from 0 to 1`);
  const { hits } = curve;
  const wanted = share * hits[hits.length - 1];
  let low = 0;
  let high = hits.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (hits[middle] >= wanted) high = middle;
    else low = middle + 1;
  }
  return low;
}
