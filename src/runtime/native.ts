/**
 * The native addon, as TypeScript sees it; the only file that imports it. The addon is optional:
 * `loadNative` says why it is missing, everything else of Moontide works without it. What uses it
 * is `data-plane.ts`.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { GpuAddon } from './native-gpu.ts';
import type { SsdAddon } from './native-ssd.ts';
import type { FabricOffer } from './rail-discovery.ts';

/** Version of the border that this file speaks. */
export const ABI = 3;

/** Outcomes of native calls, as numbers: native/src/status.h has the same list. */
export const Status = {
  ok: 0,
  again: 1,
  peerUnreachable: 2,
  peerReset: 3,
  timedOut: 4,
  cancelled: 5,
  unknownSegment: 6,
  staleSlot: 7,
  checksumMismatch: 8,
  outOfBounds: 9,
  unsupported: 10,
  badDescriptor: 11,
  notRegistered: 12,
  noMemory: 13,
  notPermitted: 14,
  railDown: 15,
  systemError: 16,
} as const;
export type Status = (typeof Status)[keyof typeof Status];

const TEXTS: Readonly<Record<Status, string>> = {
  0: 'done',
  1: 'too much is open, try again later',
  2: 'the peer cannot be reached',
  3: 'the peer went away',
  4: 'the deadline has passed',
  5: 'cancelled',
  6: 'the peer does not know the segment',
  7: 'the slot holds another generation, or is not granted',
  8: 'the checksum differs',
  9: 'outside the slot',
  10: 'the rail cannot do this',
  11: 'not a descriptor of this version',
  12: 'the pool is not registered with the rail',
  13: 'no memory',
  14: 'not permitted',
  15: 'the rail is down',
  16: 'the system refused',
};

export function statusText(status: Status): string {
  return TEXTS[status];
}

/** Doubles per transfer and per slice that `submit` reads: native/binding/engine.cc. */
export const TRANSFER_DOUBLES = 8;
export const SLICE_DOUBLES = 10;
/** Doubles per event and per slice's result that `drain` writes. */
export const EVENT_DOUBLES = 8;
export const RESULT_DOUBLES = 2;

/**
 * The last three are of rows, by their id: some have ended; one has failed (its number is the sixth
 * double, its rail the seventh); the slot of one that was quarantined is free.
 */
export const EventKind = {
  transfer: 0,
  released: 1,
  rail: 2,
  rowsEnded: 3,
  rowFailed: 4,
  rowReleased: 5,
} as const;
/** Flags of a transfer in a batch. */
export const VERIFY = 1;
export const SUM = 2;
/** Flags of a transfer's event. */
export const QUARANTINED = 1;
export const UNVERIFIED = 2;
/** As a slice's remote rail: the peer's rail of the same kind at the same place. */
export const ANY_RAIL = 255;

export const RAIL_STATES = ['opening', 'open', 'down', 'stopped'] as const;

export interface NativeRailInfo {
  readonly kind: string;
  /** Index into RAIL_STATES. */
  readonly state: number;
  /** Why it is down; empty when it is not. */
  readonly cause: string;
  /** What it runs on. */
  readonly detail: string;
  readonly read: boolean;
  readonly write: boolean;
  readonly deliveryComplete: boolean;
  readonly enforcesGrants: boolean;
  readonly crcWhileMoving: boolean;
  readonly sameHostOnly: boolean;
  readonly maxOpBytes: number;
  readonly movedBytes: number;
  readonly operations: number;
  readonly failures: number;
  readonly reopened: number;
  readonly queued: number;
}

export interface NativePoolInfo {
  readonly slots: number;
  readonly slotBytes: number;
  readonly mappedBytes: number;
  readonly incarnation: number;
  /** `hugetlb`, `transparent` (asked for; the kernel decides) or `small`. */
  readonly pages: string;
  readonly address: bigint;
}

export interface NativeSegmentInfo {
  readonly id: number;
  readonly incarnation: number;
  readonly slots: number;
  readonly slotBytes: number;
  readonly rails: readonly { readonly kind: string; readonly index: number }[];
}

/** One engine; native/src/engine.h says what each does. Ids are small integers. */
export interface NativeEngine {
  /** `options`: key, value, key, value, … Throws with the cause. */
  addRail(options: readonly string[]): number;
  railInfo(rail: number): NativeRailInfo | null;
  /** Throws with the cause. */
  createPool(slotBytes: number, slots: number, hugetlb: boolean, prefault: boolean): number;
  poolInfo(pool: number): NativePoolInfo | null;
  /** A part of the slots' bytes; detached when the pool is closed. Null: outside. */
  poolBytes(pool: number, from: number, sizeBytes: number): ArrayBuffer | null;
  closePool(pool: number): Status;
  describePool(pool: number): Uint8Array | null;
  /** False: a peer is being served under what stood there before. */
  setSlot(pool: number, slot: number, generation: number, grants: number): boolean;
  /** Bit 0: operations of this process are open; bit 1: of peers. */
  slotUse(pool: number, slot: number): number;
  /** Null: not a descriptor. */
  importSegment(blob: Uint8Array): NativeSegmentInfo | null;
  dropSegment(segment: number): void;
  /** Transfers taken of the batch; fewer than given: too many are open. */
  submit(batch: Float64Array, doubles: number): number;
  /** Rows alike: their id, and the memory that both sides know (move-columns.ts). */
  openRows(
    rows: number,
    pool: number,
    segment: number,
    write: boolean,
    urgent: boolean,
    flags: number,
    deadlineNs: number,
    sliceBytes: number,
  ): [id: number, memory: ArrayBuffer];
  /**
   * Rows taken, for the next `kick`; fewer than given: too many are open, and the rest are to be
   * given `again`. Negative: none, for one of them is under way.
   */
  startRows(
    id: number,
    from: number,
    count: number,
    rail: number,
    remoteRail: number,
    again: boolean,
  ): number;
  /** Wakes the rails that have got work. `submit` does so itself. */
  kick(): void;
  /** Doubles written; negative: there is more, call again. */
  drain(out: Float64Array): number;
  openTransfers(): number;
  /** False: a rail's thread hangs; its memory is never freed. */
  close(): boolean;
}

/** libfabric on this machine. */
export interface NativeFabric {
  /** Null: there is none, for `reason`. */
  readonly version: string | null;
  readonly reason: string | null;
  readonly offers: readonly FabricOffer[];
}

/** What the addon exports. Bytes are borrowed for the call. */
export interface NativeAddon extends SsdAddon, GpuAddon {
  /** Layout of everything that crosses the border; it must be `ABI`. */
  readonly abi: number;
  /** CRC-32C by SSE4.2 instructions, in place of tables. */
  readonly crcHardware: boolean;
  /** CRC-32C, a uint32, of `bytes` that follow bytes whose CRC is `crc` (0 at the start). */
  crc32c(bytes: Uint8Array, crc: number): number;
  /** What libfabric offers here, in the order of preference. `provider` empty: of all. */
  fabric(provider: string): NativeFabric;
  /** Why the machine does not offer it; empty where it does. */
  probe(): { readonly io_uring: string; readonly cuda: string };
  readonly Engine: new (
    /** maxTransfers, reopenNsMin, reopenNsMax, cancelNs, graceNs */
    settings: Float64Array,
    onEvents: () => void,
  ) => NativeEngine;
}

export interface NativeLoad {
  readonly addon: NativeAddon | null;
  /** Why `addon` is null, one line with the remedy. */
  readonly reason: string | null;
}

const FOLDER = '../../native/build/Release/';

/** A program that is built along with the addon; null: it is not there. */
export function nativeProgram(name: string): string | null {
  const path = new URL(FOLDER + name, import.meta.url).pathname;
  return existsSync(path) ? path : null;
}

let loaded: NativeLoad | null = null;

/** The addon, or why it is not there. A broken addon throws: only absence is expected. */
export function loadNative(): NativeLoad {
  loaded ??= load();
  return loaded;
}

function load(): NativeLoad {
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)(`${FOLDER}moontide.node`) as NativeAddon;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    return { addon: null, reason: 'the native addon is not built: npm run build:native' };
  }
  if (addon.abi === ABI) return { addon, reason: null };
  const found = `the native addon has ABI ${addon.abi}, expected ${ABI}`;
  return { addon: null, reason: `${found}: npm run build:native` };
}
