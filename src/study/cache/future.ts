/** The future of a recorded stream, for offline policies. */
import type { Future } from '../../core/policy.ts';
import type { AccessStream } from './access-stream.ts';
import type { Cursor } from './serve.ts';

export type TouchOrder = 'forward' | 'reverse';

/** Next use of every access, worked out when a policy first asks. */
export class StreamFuture implements Future, Cursor {
  position = 0;
  private readonly stream: AccessStream;
  private readonly order: TouchOrder;
  private next: Int32Array | null = null;

  constructor(stream: AccessStream, order: TouchOrder) {
    this.stream = stream;
    this.order = order;
  }

  nextUse(position: number): number {
    this.next ??= nextUses(touchOrder(this.stream, this.order), this.stream.distinctBlocks);
    const next = this.next[position];
    return next === NEVER ? Number.POSITIVE_INFINITY : next;
  }
}

const NEVER = -1;

/** For each access the index of the next one to the same block, or -1. */
export function nextUses(blocks: Int32Array, distinctBlocks: number): Int32Array {
  const next = new Int32Array(blocks.length);
  const seen = new Int32Array(distinctBlocks).fill(NEVER);
  for (let i = blocks.length - 1; i >= 0; i--) {
    next[i] = seen[blocks[i]];
    seen[blocks[i]] = i;
  }
  return next;
}

/** The blocks in the order in which they are touched. */
export function touchOrder(stream: AccessStream, order: TouchOrder): Int32Array {
  const { start, blocks } = stream;
  if (order === 'forward' || start === null) return blocks;
  const touched = blocks.slice();
  for (let r = 0; r < stream.requests; r++) touched.subarray(start[r], start[r + 1]).reverse();
  return touched;
}
