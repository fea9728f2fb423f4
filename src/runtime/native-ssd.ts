/** The addon's SSD store as it crosses the border; `ssd.ts` is the face for all other code. */

/** What `drain` gives of one finished batch; the arrays are parallel to its keys. */
export interface NativeSsdAnswer {
  readonly id: number;
  readonly statuses: Uint8Array;
  readonly sizes: Uint32Array;
  readonly crcs: Uint32Array;
  /** Of `list` alone, 32 bytes each. */
  readonly keys: Uint8Array;
  readonly cursor: number;
  readonly detail: string | null;
}

export interface NativeSsdDrained {
  readonly opened: boolean;
  readonly openError: string | null;
  readonly closed: boolean;
  readonly batches: readonly NativeSsdAnswer[];
  /** Keys, 32 bytes each, of blocks found unreadable since the last drain. */
  readonly lost: Uint8Array;
}

/** Numbers since opening, unless they say otherwise. */
export interface SsdStats {
  /** Stored now, or being written or removed. */
  readonly blocks: number;
  readonly capacitySlots: number;
  /** Slots out of use because the device failed there. */
  readonly quarantinedSlots: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Writes to the journal, and blocks that became stored by them. */
  readonly commits: number;
  readonly committedBlocks: number;
  /** Flushes of segment files. */
  readonly syncs: number;
  readonly compactions: number;
  readonly lostBlocks: number;
  /** Unreadable pages of the journal whose blocks had been acknowledged. */
  readonly lostJournalPages: number;
  readonly scrubbedBytes: number;
  readonly scrubPasses: number;
}

export interface SsdCapabilities {
  readonly backend: 'io_uring' | 'threads';
  /** Why not io_uring, or null. */
  readonly backendReason: string | null;
  /** O_DIRECT; else through the page cache. */
  readonly direct: boolean;
  /** Why not O_DIRECT, or null. */
  readonly directReason: string | null;
}

export interface SsdOptions {
  /** Made if it is not there; its parent must be. One store, one process. */
  readonly folder: string;
  /** Of the largest block, a multiple of 4096; fixed once the store exists. */
  readonly slotBytes: number;
  /** Of all slots together. May change from one opening to the next. */
  readonly capacityBytes: number;
  /** Preallocated at a time; fixed once the store exists. */
  readonly segmentBytes: number;
  /** Reads and writes on the device at once. */
  readonly queueDepth: number;
  /** `auto`: io_uring, or threads where it is forbidden. */
  readonly backend: 'auto' | 'io_uring' | 'threads';
  /** O_DIRECT where the filesystem has it. */
  readonly direct: boolean;
  /** Rate at which stored blocks are read and checked in the background; 0: never. */
  readonly scrubBytesPerSec: number;
}

export interface NativeSsdStore {
  attach(id: number, memory: ArrayBuffer): number;
  submit(
    id: number,
    verb: number,
    keys: Uint8Array,
    memory: number | null,
    offsets: Float64Array | null,
    sizes: Uint32Array | null,
    crcs: Uint32Array | null,
  ): void;
  list(id: number, cursor: number, limit: number): void;
  drain(): NativeSsdDrained;
  stats(): SsdStats;
  capabilities(): SsdCapabilities;
  close(): void;
}

/** The part of the addon that this is. */
export interface SsdAddon {
  readonly SsdStore: new (options: SsdOptions, notify: () => void) => NativeSsdStore;
  /** Zeroed memory of its own, aligned to 2 MiB. */
  alignedMemory(sizeBytes: number): ArrayBuffer;
}
