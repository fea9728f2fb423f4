/**
 * The SSD tier of one live node: the slots that its store names, as blocks of the native SSD store.
 * A block's name there says the cluster, its id, its place in the chain, and a number that is never
 * given twice; so what stood in a slot before never answers for what stands there now.
 *
 * What a node finds on its SSD when it starts again is its own if it is of the same cluster (block
 * ids mean something within one cluster alone): its store takes it in before it is told anything,
 * and its inventory offers it. Everything else is removed. Nothing is believed: bytes are verified
 * when they are read.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { TransferEnded } from '../../core/messages.ts';
import type { NativeAddon } from '../native.ts';
import { SSD_DEFAULTS, SSD_KEY_BYTES, SSD_STATUS, type SsdMemory, SsdStore } from '../ssd.ts';

export interface LiveSsdOptions {
  readonly addon: NativeAddon;
  /** Of this node alone; made if it is not there. */
  readonly folder: string;
  /** It goes when it is closed for good. */
  readonly temporary: boolean;
  /** Of the tier. */
  readonly slots: number;
  /** Of one block, a multiple of 4096. */
  readonly blockBytes: number;
  /** Of the disk; null: as much as the slots need. */
  readonly capacityBytes: number | null;
  /** Whatever tells one cluster from another. */
  readonly cluster: string;
  readonly incarnation: number;
}

/** A block that an earlier life left. */
export interface FoundBlock {
  readonly block: number;
  readonly depth: number;
  /** CRC-32C. */
  readonly crc: number;
}

export interface SsdEnd {
  /** Leading blocks that are there now. */
  readonly done: number;
  readonly cause: TransferEnded['cause'];
  /** Places in the list that can't be read any more. */
  readonly lost: readonly number[];
}

/** What is written while something else is removed. */
const SPARE_SLOTS = 64;
const CLUSTER_BYTES = 16;
/** A disk is taken piece by piece: what others fill meanwhile is not to be had. */
const SEGMENT_BYTES = 1 << 30;
const SEGMENTS = 16;
/** Blocks in a row that could not be read: no blemish of single ones, the drive is gone. */
const UNREADABLE_MAX = 16;

export class LiveSsd {
  /** Left by earlier lives of this node in this cluster. */
  readonly found: readonly FoundBlock[];
  private readonly options: LiveSsdOptions;
  private readonly store: SsdStore;
  private readonly cluster: Uint8Array;
  private memory: SsdMemory | null = null;
  /** Name of what was put into a slot last. */
  private readonly keys = new Map<number, Uint8Array>();
  private readonly foundKeys: Uint8Array[];
  private serial = 0;
  private unreadable = 0;
  private failed = false;
  writtenBytes = 0;
  readBytes = 0;
  /** Puts that the disk had no room for. */
  fullBlocks = 0;
  /** Called once: the drive has failed, and is not asked again in this life of the node. */
  onFailed: () => void = () => {};

  /** @throws Error with the reason: in use, made otherwise, unreadable */
  static async open(options: LiveSsdOptions): Promise<LiveSsd> {
    const { addon, folder, slots, blockBytes, cluster } = options;
    const needed = (slots + SPARE_SLOTS) * blockBytes;
    const capacityBytes = options.capacityBytes ?? needed;
    const segmentBytes = Math.min(SEGMENT_BYTES, segmentOf(needed, blockBytes));
    const sizes = { folder, slotBytes: blockBytes, capacityBytes, segmentBytes };
    // A block that is lost is found out when it is read.
    mkdirSync(dirname(folder), { recursive: true });
    const store = await SsdStore.open(addon, { ...SSD_DEFAULTS, ...sizes }, () => {});
    const name = createHash('sha256').update(cluster).digest().subarray(0, CLUSTER_BYTES);
    const own = new Map<number, { key: Uint8Array; found: FoundBlock }>();
    const others: Uint8Array[] = [];
    for await (const { key, crc } of store.list()) {
      const { block, depth } = readKey(key);
      const isOwn = name.equals(key.subarray(0, CLUSTER_BYTES)) && !own.has(block);
      if (isOwn) own.set(block, { key, found: { block, depth, crc } });
      else others.push(key);
    }
    if (others.length > 0) await store.remove(joined(others));
    return new LiveSsd(options, store, name, [...own.values()]);
  }

  private constructor(
    options: LiveSsdOptions,
    store: SsdStore,
    cluster: Uint8Array,
    own: readonly { key: Uint8Array; found: FoundBlock }[],
  ) {
    this.options = options;
    this.store = store;
    this.cluster = cluster;
    this.found = own.map(({ found }) => found);
    this.foundKeys = own.map(({ key }) => key);
  }

  /** The slot that the store gave each found block, -1: none. */
  async adopt(slots: readonly number[]): Promise<void> {
    const refused: Uint8Array[] = [];
    for (const [i, slot] of slots.entries()) {
      if (slot < 0) refused.push(this.foundKeys[i]);
      else this.keys.set(slot, this.foundKeys[i]);
    }
    this.foundKeys.length = 0;
    if (refused.length > 0) await this.store.remove(joined(refused));
  }

  /** The pool that blocks move from and into. */
  async attach(pool: ArrayBuffer): Promise<void> {
    this.memory = await this.store.attach(pool);
  }

  /** Writes slots of the pool into slots of the tier. */
  async put(
    slots: readonly number[],
    blocks: readonly { readonly block: number; readonly depth: number; readonly crc: number }[],
    sources: readonly number[],
  ): Promise<SsdEnd> {
    if (this.failed) return FAILED;
    const before = slots.flatMap((slot) => this.keys.get(slot) ?? []);
    for (const slot of slots) this.keys.delete(slot);
    if (before.length > 0) await this.store.remove(joined(before));
    const keys = blocks.map(({ block, depth }) => this.keyOf(block, depth));
    const crcs = Uint32Array.from(blocks, ({ crc }) => crc >>> 0);
    const { statuses } = await this.store.put({ ...this.places(keys, sources), crcs });
    statuses.forEach((status, i) => {
      if (status === SSD_STATUS.full) this.fullBlocks++;
      if (status !== SSD_STATUS.ok) return;
      this.keys.set(slots[i], keys[i]);
      this.writtenBytes += this.options.blockBytes;
    });
    // A drive puts another place in a bad one's stead: if it can't, it is at its end.
    if (statuses.includes(SSD_STATUS.ioError)) this.fail();
    return endOf(statuses);
  }

  /** Reads slots of the tier into slots of the pool; `crcs` is what their blocks must have. */
  async get(
    slots: readonly number[],
    crcs: readonly number[],
    targets: readonly number[],
  ): Promise<SsdEnd> {
    if (this.failed) return FAILED;
    const keys = slots.map((slot) => this.keys.get(slot));
    const there = keys.flatMap((key, i) => (key === undefined ? [] : i));
    const named = there.map((i) => keys[i]!);
    const into = there.map((i) => targets[i]);
    const answer =
      named.length === 0 ? null : await this.store.get({ ...this.places(named, into), crcs: null });
    const statuses = new Uint8Array(slots.length).fill(SSD_STATUS.missing);
    there.forEach((i, place) => {
      const same = answer!.crcs[place] === crcs[i] >>> 0;
      const status = answer!.statuses[place];
      statuses[i] = status === SSD_STATUS.ok && !same ? SSD_STATUS.lost : status;
      if (statuses[i] === SSD_STATUS.ok) this.readBytes += this.options.blockBytes;
      this.unreadable = status === SSD_STATUS.lost ? this.unreadable + 1 : 0;
      if (this.unreadable >= UNREADABLE_MAX) this.fail();
    });
    return this.failed ? { ...endOf(statuses), lost: [] } : endOf(statuses);
  }

  private fail(): void {
    if (this.failed) return;
    this.failed = true;
    this.onFailed();
  }

  /** Before the pool is closed. `forGood`: no later life of the node will ask for it. */
  async close(forGood: boolean): Promise<void> {
    const { folder, temporary } = this.options;
    await this.store.close();
    if (!temporary || !forGood) return;
    rmSync(folder, { recursive: true, force: true });
    try {
      rmdirSync(dirname(folder));
    } catch {
      // Others of the cluster have theirs in it.
    }
  }

  private places(keys: readonly Uint8Array[], poolSlots: readonly number[]) {
    const { blockBytes } = this.options;
    if (this.memory === null) throw new Error('invariant broken: an SSD without its memory');
    return {
      memory: this.memory,
      keys: joined(keys),
      offsets: Float64Array.from(poolSlots, (slot) => slot * blockBytes),
      sizes: new Uint32Array(keys.length).fill(blockBytes),
    };
  }

  private keyOf(block: number, depth: number): Uint8Array {
    const key = new Uint8Array(SSD_KEY_BYTES);
    key.set(this.cluster);
    const view = new DataView(key.buffer);
    view.setInt32(CLUSTER_BYTES, block, true);
    view.setInt32(CLUSTER_BYTES + 4, depth, true);
    view.setUint32(CLUSTER_BYTES + 8, this.options.incarnation, true);
    view.setUint32(CLUSTER_BYTES + 12, ++this.serial, true);
    return key;
  }
}

/** Whole blocks. */
function segmentOf(neededBytes: number, blockBytes: number): number {
  return Math.ceil(neededBytes / (SEGMENTS * blockBytes)) * blockBytes;
}

function readKey(key: Uint8Array): { block: number; depth: number } {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  return {
    block: view.getInt32(CLUSTER_BYTES, true),
    depth: view.getInt32(CLUSTER_BYTES + 4, true),
  };
}

function joined(keys: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(keys.length * SSD_KEY_BYTES);
  for (const [i, key] of keys.entries()) all.set(key, i * SSD_KEY_BYTES);
  return all;
}

/** The tier goes as a whole. */
const FAILED: SsdEnd = { done: 0, cause: 'lost', lost: [] };

const UNREADABLE: ReadonlySet<number> = new Set([SSD_STATUS.lost, SSD_STATUS.missing]);

function endOf(statuses: Uint8Array): SsdEnd {
  const bad = statuses.findIndex((status) => status !== SSD_STATUS.ok);
  const lost = [...statuses].flatMap((status, i) => (UNREADABLE.has(status) ? i : []));
  if (bad < 0) return { done: statuses.length, cause: '', lost };
  const cause = statuses[bad] === SSD_STATUS.lost ? 'checksum' : 'lost';
  return { done: bad, cause, lost };
}
