/** What a cache study is asked for and what it answers. Plain data on both sides. */
import type { TraceColumns } from '../../core/trace-columns.ts';
import type { Routing } from './cluster-pools.ts';
import type { TouchOrder } from './future.ts';
import type { Semantics } from './lru-curve.ts';

export type CapacityUnit = 'blocks' | 'tokens' | 'bytes';

export interface CacheStudyOptions {
  /** `format:path`, a catalogue name, `keys:path`, `oracle-general:path`; or a trace in memory. */
  readonly trace: string | TraceColumns;
  /** Only the first requests. */
  readonly limit?: number;
  /** As on the command line: `lru`, `s3-fifo:threshold=1`, `./mine.ts`. */
  readonly policies?: readonly string[];
  /** Of all nodes together; null is without limit. */
  readonly capacities?: readonly (number | null)[];
  readonly unit?: CapacityUnit;
  /** What counts as a hit: the longest leading run of resident blocks, or any resident block. */
  readonly semantics?: Semantics;
  /** Which block of a request is touched first. */
  readonly order?: TouchOrder;
  /** Keep the blocks that decode produces, too. */
  readonly decodeCached?: boolean;
  /** Nodes with a pool each; 1 is one shared pool. */
  readonly nodes?: number;
  readonly routing?: Routing;
  /** Model and hardware, for bytes and prefill time: a preset or a YAML file, and overrides. */
  readonly config?: string;
  readonly sets?: readonly string[];
  readonly seed?: number;
  /** LRU at all capacities at once. */
  readonly curve?: 'exact' | 'sampled';
  /** Share of the blocks in each sample of a sampled curve. */
  readonly sampleRate?: number;
  /** Shares of the reachable hits whose capacity the curve is asked for. */
  readonly targets?: readonly number[];
}

/** One policy at one capacity. */
export interface CacheRow {
  readonly policy: string;
  /** Of all nodes together; null is without limit. */
  readonly capacityBlocks: number | null;
  readonly capacityBytes: number | null;
  readonly accesses: number;
  readonly hits: number;
  readonly misses: number;
  readonly hitRatio: number;
  readonly tokensRatio: number;
  /** Requests with a hit, and requests that hit in full. */
  readonly requestsRatio: number;
  readonly fullRequestsRatio: number;
  /** Null for traces of other tools, whose keys have no tokens; so are the bytes. */
  readonly savedPrefillSeconds: number | null;
  /** Moved out of and into the cache. Each write wears an SSD. */
  readonly bytesRead: number | null;
  readonly bytesWritten: number | null;
  readonly blocksWritten: number;
  readonly evictions: number;
  /** Insertions that the policy declined. */
  readonly declined: number;
}

export interface CurvePoint {
  readonly capacityBlocks: number;
  readonly hitRatio: number;
  readonly tokensRatio: number;
  /** Standard error of the hit ratio; null on an exact curve. */
  readonly hitRatioError: number | null;
}

export interface TargetAnswer {
  /** Share of the reachable hits. */
  readonly share: number;
  readonly capacityBlocks: number;
  readonly capacityBytes: number | null;
}

export interface CacheStudyResult {
  readonly version: string;
  readonly seed: number;
  readonly trace: {
    readonly requests: number;
    readonly accesses: number;
    readonly inputTokens: number;
    readonly distinctBlocks: number;
    readonly blockTokens: number;
    /** Null for traces of other tools. */
    readonly sha256: string | null;
  };
  readonly semantics: Semantics;
  readonly order: TouchOrder;
  readonly decodeCached: boolean;
  readonly nodes: number;
  /** Null with one node. */
  readonly routing: Routing | null;
  /** Null for traces of other tools. */
  readonly model: {
    readonly name: string;
    readonly bytesPerBlock: number;
    /** Where the prefill times come from. */
    readonly cost: string;
  } | null;
  readonly rows: readonly CacheRow[];
  readonly curve: {
    readonly kind: 'exact' | 'sampled';
    readonly points: readonly CurvePoint[];
    readonly targets: readonly TargetAnswer[];
  } | null;
}
