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
