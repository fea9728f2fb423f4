/** What the cache laboratory replays: requests, each a run of block accesses. */
import type { TraceColumns } from '../../core/trace-columns.ts';

export interface AccessStream {
  readonly requests: number;
  /** Ids are 0 .. distinctBlocks-1. */
  readonly distinctBlocks: number;
  /** Tokens in a full block; 1 where accesses have no size in tokens. */
  readonly blockTokens: number;
  readonly blocks: Int32Array;
  /**
   * Request i accesses blocks[start[i] .. promptEnd[i]), counted, then blocks[promptEnd[i] ..
   * start[i + 1]), which its decode produced: these are stored but nobody asked for them. Null in
   * a stream without requests: every access stands alone.
   */
  readonly start: Int32Array | null;
  readonly promptEnd: Int32Array | null;
  /** Prompt tokens per request; the last prompt block may be partial. Null: all blocks are full. */
  readonly inputTokens: Int32Array | null;
  /** Of each request, never decreasing. Null: the clock stands still. */
  readonly timeNs: Float64Array | null;
  readonly session: Int32Array | null;
}

/** The prompts of a trace. */
export function streamOfTrace(trace: TraceColumns): AccessStream {
  return {
    requests: trace.requests,
    distinctBlocks: trace.distinctBlocks,
    blockTokens: trace.blockTokens,
    blocks: trace.blocks,
    start: trace.blockStart,
    promptEnd: trace.blockStart.subarray(1),
    inputTokens: trace.inputTokens,
    timeNs: trace.arrivalNs,
    session: trace.session,
  };
}

/**
 * The prompts of a trace, each followed by the full blocks that its decode produced. Such a block
 * has no id of its own: a later request adopts it when it presents an id that is new at that
 * position after the same block. Where several answers wait there the newest is taken; each is
 * taken once. A partial block at the end of an answer is not kept. So reuse is overstated where
 * unrelated prompts meet, as right after a system prompt that all share: an upper estimate.
 */
export function streamWithDecode(trace: TraceColumns): AccessStream {
  const adoption = new Adoption(trace);
  for (let r = 0; r < trace.requests; r++) adoption.add(r);
  return adoption.stream();
}

const NONE = -1;

/** Gives blocks that are adopted one id with what adopts them. */
class Adoption {
  private readonly trace: TraceColumns;
  private readonly start: Int32Array;
  private readonly promptEnd: Int32Array;
  private readonly blocks: number[] = [];
  /** Our id of a trace's id, or -1: not seen yet. */
  private readonly idOf: Int32Array;
  private ids = 0;
  /** Produced blocks that nobody adopted yet, by the block before them; the newest last. */
  private readonly waiting = new Map<number, number[]>();

  constructor(trace: TraceColumns) {
    this.trace = trace;
    this.start = new Int32Array(trace.requests + 1);
    this.promptEnd = new Int32Array(trace.requests);
    this.idOf = new Int32Array(trace.distinctBlocks).fill(NONE);
  }

  add(r: number): void {
    const { blockStart, blocks, inputTokens, outputTokens, blockTokens } = this.trace;
    this.start[r] = this.blocks.length;
    let before = NONE;
    for (let i = blockStart[r]; i < blockStart[r + 1]; i++) {
      before = this.present(blocks[i], before);
      this.blocks.push(before);
    }
    this.promptEnd[r] = this.blocks.length;
    const full = Math.floor(inputTokens[r] / blockTokens);
    const all = Math.floor((inputTokens[r] + outputTokens[r]) / blockTokens);
    before = full === 0 ? NONE : this.blocks[this.start[r] + full - 1];
    for (let depth = full; depth < all; depth++) {
      const id = this.ids++;
      const others = this.waiting.get(before);
      if (others === undefined) this.waiting.set(before, [id]);
      else others.push(id);
      this.blocks.push(id);
      before = id;
    }
    this.start[r + 1] = this.blocks.length;
  }

  stream(): AccessStream {
    return {
      ...streamOfTrace(this.trace),
      distinctBlocks: this.ids,
      blocks: Int32Array.from(this.blocks),
      start: this.start,
      promptEnd: this.promptEnd,
    };
  }

  /** Our id of a trace's block that stands after block `before`. */
  private present(block: number, before: number): number {
    if (this.idOf[block] === NONE) {
      const adopted = before === NONE ? undefined : this.waiting.get(before)?.pop();
      this.idOf[block] = adopted ?? this.ids++;
    }
    return this.idOf[block];
  }
}

/** A stream of independent keys; `blocks` are dense ids. */
export function streamOfKeys(
  blocks: Int32Array,
  distinctBlocks: number,
  timeNs: Float64Array | null = null,
): AccessStream {
  return {
    requests: blocks.length,
    distinctBlocks,
    blockTokens: 1,
    blocks,
    start: null,
    promptEnd: null,
    inputTokens: null,
    timeNs,
    session: null,
  };
}
