/**
 * Blocks on one SSD: put, get, remove, exists, list in batches, each one native call and one
 * answer. The work is done by a native thread (native/src/ssd-store.h says how,
 * and what survives a crash).
 */
import type { NativeAddon } from './native.ts';
import type {
  NativeSsdAnswer,
  NativeSsdStore,
  SsdCapabilities,
  SsdOptions,
  SsdStats,
} from './native-ssd.ts';

export type { SsdCapabilities, SsdOptions, SsdStats } from './native-ssd.ts';

/** A block's name: 32 opaque bytes. Keys of a batch lie one behind the other. */
export const SSD_KEY_BYTES = 32;

/** Places in memory, and room for a read, are multiples of this. */
export const SSD_ALIGN_BYTES = 4096;

/** What became of one block of a batch; the numbers of native/src/ssd-store.h. */
export const SSD_STATUS = {
  ok: 0,
  /** No such block. */
  missing: 1,
  /** put: it is stored already, nothing was written. */
  exists: 2,
  /** put, remove: the same key is being written or removed. */
  busy: 3,
  /** put: no room, by capacity, disk or quota. Back-pressure: remove something, or try later. */
  full: 4,
  /** get: the device failed, or the bytes are not those that were stored. The block is gone. */
  lost: 5,
  /** put, remove: the device failed; the block is not stored, or still is. */
  ioError: 6,
  /** Length, alignment or bounds. */
  invalid: 7,
  /** The store was closed first. */
  closed: 8,
} as const;

export type SsdStatus = (typeof SSD_STATUS)[keyof typeof SSD_STATUS];

const VERB = { put: 0, get: 1, remove: 2, exists: 3 } as const;

/** Blocks that one call to `list` of the addon brings. */
const LIST_LIMIT = 16_384;

/** What most stores want; a caller adds folder, slotBytes and capacityBytes. */
export const SSD_DEFAULTS = {
  segmentBytes: 2 ** 30,
  queueDepth: 32,
  backend: 'auto',
  direct: true,
  scrubBytesPerSec: 0,
} as const;

/** Memory that puts and gets name: from `SsdStore.attach`. */
export interface SsdMemory {
  readonly index: number;
  /** Why the kernel does not hold its pages ready (I/O works all the same), or null. */
  readonly unregisteredReason: string | null;
}

/** Places of a batch's blocks: parallel arrays, bytes. */
export interface SsdBlocks {
  readonly memory: SsdMemory;
  readonly keys: Uint8Array;
  /** In the memory, multiples of 4096. */
  readonly offsets: Float64Array;
  /**
   * put: lengths. get: room, at least the block's length rounded up to 4096; bytes between its
   * length and that are overwritten.
   */
  readonly sizes: Uint32Array;
  /** put: CRC-32C of the blocks where they are known already; null: computed. */
  readonly crcs: Uint32Array | null;
}

/** Parallel to the batch's keys. */
export interface SsdAnswer {
  /** Values of SSD_STATUS. */
  readonly statuses: Uint8Array;
  /** Length of each block, bytes, where it is stored. */
  readonly sizes: Uint32Array;
  /** CRC-32C of each block, where it is stored; a get has verified it. */
  readonly crcs: Uint32Array;
}

export interface SsdEntry {
  readonly key: Uint8Array;
  readonly sizeBytes: number;
  readonly crc: number;
}

/** A promise, and what settles it. */
class Event {
  resolve!: () => void;
  reject!: (error: Error) => void;
  readonly promise = new Promise<void>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

export class SsdStore {
  readonly #native: NativeSsdStore;
  readonly #onLost: (keys: Uint8Array) => void;
  readonly #waiting = new Map<number, (answer: NativeSsdAnswer) => void>();
  readonly #opened = new Event();
  readonly #closed = new Event();
  #nextId = 1;
  #isClosed = false;

  /**
   * Opens or makes a store. Throws with the reason: in use, made otherwise, unreadable. `onLost`
   * gets the keys, 32 bytes each, of blocks found unreadable: at opening, by a get or by scrubbing.
   */
  static async open(
    addon: NativeAddon,
    options: SsdOptions,
    onLost: (keys: Uint8Array) => void,
  ): Promise<SsdStore> {
    const store = new SsdStore(addon, options, onLost);
    await store.#opened.promise;
    return store;
  }

  private constructor(addon: NativeAddon, options: SsdOptions, onLost: (keys: Uint8Array) => void) {
    this.#onLost = onLost;
    this.#native = new addon.SsdStore(options, () => this.#drain());
  }

  get capabilities(): SsdCapabilities {
    return this.#native.capabilities();
  }

  stats(): SsdStats {
    return this.#native.stats();
  }

  /**
   * Makes memory known, such as that of a pool; it must start at a multiple of 4096. Close the
   * store before the pool: until then the kernel may write to it.
   */
  async attach(memory: ArrayBuffer): Promise<SsdMemory> {
    let index = -1;
    const { detail } = await this.#ask((id) => {
      index = this.#native.attach(id, memory);
    });
    return { index, unregisteredReason: detail };
  }

  /** Each block is stored, crash-safe, once its status says `ok`. */
  put(blocks: SsdBlocks): Promise<SsdAnswer> {
    return this.#move(VERB.put, blocks);
  }

  /** Bytes are verified before the status says `ok`. */
  get(blocks: SsdBlocks): Promise<SsdAnswer> {
    return this.#move(VERB.get, blocks);
  }

  remove(keys: Uint8Array): Promise<SsdAnswer> {
    return this.#ask((id) => this.#native.submit(id, VERB.remove, keys, null, null, null, null));
  }

  /** `ok` or `missing`, from the index in memory. */
  exists(keys: Uint8Array): Promise<SsdAnswer> {
    return this.#ask((id) => this.#native.submit(id, VERB.exists, keys, null, null, null, null));
  }

  /** Every stored block; those that come and go meanwhile may be missed. */
  async *list(): AsyncGenerator<SsdEntry> {
    let cursor = 0;
    do {
      const from = cursor;
      const page = await this.#ask((id) => this.#native.list(id, from, LIST_LIMIT));
      for (let i = 0; i < page.sizes.length; i++) {
        const key = page.keys.slice(i * SSD_KEY_BYTES, (i + 1) * SSD_KEY_BYTES);
        yield { key, sizeBytes: page.sizes[i], crc: page.crcs[i] };
      }
      cursor = page.cursor;
    } while (cursor > 0);
  }

  /** Finishes what is on the device; what still waits is answered with `closed`. */
  close(): Promise<void> {
    if (!this.#isClosed) this.#native.close();
    this.#isClosed = true;
    return this.#closed.promise;
  }

  #move(verb: number, { memory, keys, offsets, sizes, crcs }: SsdBlocks): Promise<SsdAnswer> {
    const index = memory.index;
    return this.#ask((id) => this.#native.submit(id, verb, keys, index, offsets, sizes, crcs));
  }

  #ask(send: (id: number) => void): Promise<NativeSsdAnswer> {
    if (this.#isClosed) return Promise.reject(new Error('the SSD store is closed'));
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      send(id);
    });
  }

  #drain(): void {
    const { opened, openError, closed, batches, lost } = this.#native.drain();
    if (opened && openError === null) this.#opened.resolve();
    if (openError !== null) this.#opened.reject(new Error(`SSD store: ${openError}`));
    for (const answer of batches) {
      const resolve = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      resolve?.(answer);
    }
    if (lost.length > 0) this.#onLost(lost);
    if (closed) this.#closed.resolve();
  }
}
