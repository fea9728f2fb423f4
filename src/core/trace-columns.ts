/** A workload as columns: row i is request i. Readers of src/trace make it, `Workload` plays it. */

export interface TraceColumns {
  readonly requests: number;
  /** Tokens per block. */
  readonly blockTokens: number;
  /** Distinct interned block ids: ids are 0 .. distinctBlocks-1, in order of first appearance. */
  readonly distinctBlocks: number;
  /** Non-decreasing, ns since the trace's start. */
  readonly arrivalNs: Float64Array;
  readonly inputTokens: Int32Array;
  readonly outputTokens: Int32Array;
  /** Blocks of request i are blocks[blockStart[i] .. blockStart[i + 1]). Length requests + 1. */
  readonly blockStart: Int32Array;
  readonly blocks: Int32Array;
  /** The columns below are null where the trace does not say. */
  readonly session: Int32Array | null;
  /** Request that must end first (closed loop), or -1. */
  readonly parent: Int32Array | null;
  /** Think time after the parent's end, ns. */
  readonly thinkNs: Float64Array | null;
  readonly priority: Int32Array | null;
  readonly tenant: Int32Array | null;
  readonly sloClass: Int32Array | null;
  readonly namespace: Int32Array | null;
  /** Blocks that decode completes, where their KV is cached too (store.decodeCached). */
  readonly decoded?: DecodedColumns;
  /** Hex sha256 of the decompressed bytes that it was read from. */
  readonly sha256: string;
}

/**
 * Of request i, ids of the blocks that its answer fills up: the first holds the end of the prompt
 * as well, a partial one at the end is left out. They are blocks[start[i] .. start[i + 1]).
 */
export interface DecodedColumns {
  readonly start: Int32Array;
  readonly blocks: Int32Array;
}
