/**
 * The SSD tier of a store's objects: what the core's moves between tiers are in bytes. A slot of
 * the tier is a block of the SSD store under a key of its own; nothing in it outlives the process,
 * since only its directory in memory knows the names.
 */
import { rmSync } from 'node:fs';
import type { Transfer } from '../../core/host.ts';
import type { TransferEnded } from '../../core/messages.ts';
import type { NativeAddon } from '../native.ts';
import type { SsdMemory } from '../ssd.ts';
import { SSD_ALIGN_BYTES, SSD_DEFAULTS, SSD_KEY_BYTES, SSD_STATUS, SsdStore } from '../ssd.ts';

export interface ObjectSsdOptions {
  readonly addon: NativeAddon;
  readonly folder: string;
  readonly bytes: number;
  readonly slotBytes: number;
  /** All of the pool's slots. */
  readonly memory: ArrayBuffer;
}

/** What a block of the tier is, in bytes. */
export interface BlockBytes {
  readonly sizeBytes: number;
  /** CRC-32C, a uint32. */
  readonly crc: number;
}

type Ended = Omit<TransferEnded, 'kind' | 'transfer'>;

/** Slots that are written while what stood in others is being removed. */
const SPARE_SLOTS = 64;

export class ObjectSsd {
  private readonly store: SsdStore;
  private readonly memory: SsdMemory;
  private readonly slotBytes: number;
  /** Key of what each slot of the tier holds. */
  private readonly keys = new Map<number, Uint8Array>();
  private lastKey = 0;

  private constructor(store: SsdStore, memory: SsdMemory, slotBytes: number) {
    this.store = store;
    this.memory = memory;
    this.slotBytes = slotBytes;
  }

  static async open(options: ObjectSsdOptions): Promise<ObjectSsd> {
    const { addon, folder, bytes, slotBytes, memory } = options;
    rmSync(folder, { recursive: true, force: true });
    const capacityBytes = bytes + SPARE_SLOTS * slotBytes;
    const segmentBytes = Math.max(slotBytes, Math.min(SSD_DEFAULTS.segmentBytes, capacityBytes));
    const settings = { ...SSD_DEFAULTS, folder, slotBytes, capacityBytes, segmentBytes };
    const store = await SsdStore.open(addon, settings, () => {});
    return new ObjectSsd(store, await store.attach(memory), slotBytes);
  }

  /** Between slots of DRAM and of SSD. `bytesOf`: of the i-th block. */
  async move({ source, target, kind }: Transfer, blocks: readonly BlockBytes[]): Promise<Ended> {
    const down = kind === 'demote';
    const dram = (down ? source : target).slots?.slots ?? [];
    const ssd = (down ? target : source).slots?.slots ?? [];
    const offsets = Float64Array.from(dram, (slot) => slot * this.slotBytes);
    const sizes = Uint32Array.from(blocks, ({ sizeBytes }) =>
      down ? sizeBytes : Math.ceil(sizeBytes / SSD_ALIGN_BYTES) * SSD_ALIGN_BYTES,
    );
    const crcs = Uint32Array.from(blocks, ({ crc }) => crc);
    if (down) await this.renew(ssd);
    const keys = concat(ssd.map((slot) => this.keys.get(slot) ?? new Uint8Array(SSD_KEY_BYTES)));
    const asked = { memory: this.memory, keys, offsets, sizes, crcs: down ? crcs : null };
    const answer = await (down ? this.store.put(asked) : this.store.get(asked));
    const good = (status: number, i: number) =>
      status === SSD_STATUS.ok && (down || answer.crcs[i] === crcs[i]);
    const bad = answer.statuses.findIndex((status, i) => !good(status, i));
    const checksums = Int32Array.from(crcs, (crc) => crc | 0);
    if (bad < 0) return { ok: true, blocksDone: blocks.length, cause: '', checksums };
    return { ok: false, blocksDone: bad, cause: 'lost', checksums };
  }

  close(): Promise<void> {
    return this.store.close();
  }

  /** New keys for slots that are filled anew; what stood there goes. */
  private async renew(slots: readonly number[]): Promise<void> {
    const old: Uint8Array[] = [];
    for (const slot of slots) {
      const before = this.keys.get(slot);
      if (before !== undefined) old.push(before);
      const key = new Uint8Array(SSD_KEY_BYTES);
      new DataView(key.buffer).setFloat64(0, ++this.lastKey);
      this.keys.set(slot, key);
    }
    if (old.length > 0) await this.store.remove(concat(old));
  }
}

function concat(keys: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(keys.length * SSD_KEY_BYTES);
  for (const [i, key] of keys.entries()) all.set(key, i * SSD_KEY_BYTES);
  return all;
}
