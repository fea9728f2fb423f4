/** Numbers that the machines are set to. src/config fills them, with units and sources. */

export interface StoreSettings {
  /** Computed blocks stay in the instances' HBM while nobody needs the room. */
  readonly hbmCache: boolean;
  /**
   * Share of DRAM slots in use above which blocks are taken down ahead of need, to the low one; on
   * nodes with an SSD. The other two do the same on SSD, where what leaves is dropped.
   */
  readonly watermark: number;
  readonly lowWatermark: number;
  readonly ssdWatermark: number;
  readonly ssdLowWatermark: number;
  /** Length of a read lease; the owner may reuse a slot after ttl + guard. */
  readonly leaseTtlNs: number;
  /** Transfer deadline plus clock drift. */
  readonly guardNs: number;
  /** Reservations of decode space that may wait for room, per instance; more are refused. */
  readonly reserveQueueRequests: number;
  /** DRAM for finished KV that waits for decode space, bytes, beside the cache's capacity. */
  readonly parkingBytes: number;
  /** Other replicas that a failed fetch tries before it is left to recompute. */
  readonly fetchRetries: number;
  /** Blocks in a directory delta before it becomes a resync. */
  readonly deltaLimitBlocks: number;
  /** How blocks move when their homes change; null: they stay. */
  readonly moves: MoveSettings | null;
}

/** What one node does at most to send blocks to their new homes. */
export interface MoveSettings {
  /** Bytes per ns; null: by `railShare`. */
  readonly bytesPerNs: number | null;
  /** Share of the rails of the node. */
  readonly railShare: number;
  /** Batches under way. */
  readonly inFlight: number;
  /** Blocks of one batch. */
  readonly batchBlocks: number;
  /** How long the old copy stays: for prompts that wait and count on it. */
  readonly lingerNs: number;
}

export interface InstanceSettings {
  /** Prefill chunk, tokens. */
  readonly chunkTokens: number;
  /** `layerwise`: layer l computes once its KV is there; `serial`: load, then compute. */
  readonly loadOverlap: 'layerwise' | 'serial';
  /** Requests waiting for prefill on one instance; more are rejected. */
  readonly queueRequests: number;
  /** Room for a request that decodes: its whole output from the start, or as it grows. */
  readonly decodeSpace: 'reserve' | 'grow';
  /** Who gives way when it grows and there is none: computed again, or swapped to DRAM. */
  readonly preemption: 'recompute' | 'swap';
  /** Requests in one decode batch. */
  readonly batchRequests: number;
  /** How long granted decode space waits for its KV. */
  readonly reserveTtlNs: number;
  /** The store keeps computed blocks in HBM: tell it of them. */
  readonly hbmCache: boolean;
  /** The store brings what is on SSD into DRAM while a prompt waits: tell it of each. */
  readonly prefetch: boolean;
}

export interface WorkloadSettings {
  /** Times that a request is tried when instances die or fail it. */
  readonly attempts: number;
}

export interface ConductorSettings {
  readonly term: number;
  /** Longest wait of a successor for inventories; without it GATHER_NS. */
  readonly gatherNs?: number;
  /** Whether what a node still has to send counts into the time of a fetch from it. */
  readonly congestion: boolean;
  /** Policies see the loads of instances as of the last whole multiple of this; 0: as of now. */
  readonly stalenessNs: number;
  /** Whether an instance may get blocks from other nodes than its own. */
  readonly pooled: boolean;
  /** Whether stores move blocks when their homes change. */
  readonly moves: boolean;
}

export interface Settings {
  readonly store: StoreSettings;
  readonly instance: InstanceSettings;
  readonly conductor: ConductorSettings;
  readonly workload: WorkloadSettings;
}
