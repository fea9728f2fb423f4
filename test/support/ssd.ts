/** Blocks whose bytes follow from their numbers, and stores to put them in. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative, type NativeAddon } from '../../src/runtime/native.ts';
import {
  SSD_DEFAULTS,
  SSD_KEY_BYTES,
  type SsdAnswer,
  type SsdMemory,
  type SsdOptions,
  SsdStore,
} from '../../src/runtime/ssd.ts';

export const SLOT_BYTES = 65_536;

/** Not that of native.ts, which needs vitest: writers that get killed run without it. */
function native(): NativeAddon {
  const { addon, reason } = loadNative();
  if (addon === null) throw new Error(reason ?? '');
  return addon;
}

export function keyOf(block: number): Uint8Array {
  const key = new Uint8Array(SSD_KEY_BYTES);
  new DataView(key.buffer).setUint32(0, block, true);
  return key;
}

export function keysOf(blocks: readonly number[]): Uint8Array {
  const keys = new Uint8Array(blocks.length * SSD_KEY_BYTES);
  blocks.forEach((block, i) => {
    keys.set(keyOf(block), i * SSD_KEY_BYTES);
  });
  return keys;
}

/** Length of a version of a block: anything from a byte to a slot. */
export function lengthOf(block: number, version: number): number {
  return 1 + ((block * 7919 + version * 104_729) % SLOT_BYTES);
}

/** Bytes of a version of a block, `length` rounded up to words. */
export function bytesOf(block: number, version: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(lengthOf(block, version) / 4));
  let state = (block * 2_654_435_761 + version * 40_503 + 1) >>> 0 || 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer);
}

/** A store with memory for `slots` blocks. */
export class SsdBench {
  readonly store: SsdStore;
  readonly memory: SsdMemory;
  readonly bytes: Uint8Array;
  /** Keys of blocks that the store told as lost. */
  readonly lost: Uint8Array[];

  private constructor(store: SsdStore, memory: SsdMemory, bytes: Uint8Array, lost: Uint8Array[]) {
    this.lost = lost;
    this.store = store;
    this.memory = memory;
    this.bytes = bytes;
  }

  static async open(folder: string, options: Partial<SsdOptions> = {}): Promise<SsdBench> {
    const all = { ...SSD_DEFAULTS, slotBytes: SLOT_BYTES, capacityBytes: 64 * SLOT_BYTES };
    const lost: Uint8Array[] = [];
    const store = await SsdStore.open(native(), { ...all, folder, ...options }, (keys) =>
      lost.push(keys),
    );
    const buffer = native().alignedMemory(64 * SLOT_BYTES);
    return new SsdBench(store, await store.attach(buffer), new Uint8Array(buffer), lost);
  }

  /** The i-th block comes from the i-th place in memory: at most 64. */
  put(blocks: readonly number[], version = 1): Promise<SsdAnswer> {
    blocks.forEach((block, i) => {
      this.#fill(i, block, version);
    });
    const sizes = Uint32Array.from(blocks, (block) => lengthOf(block, version));
    return this.store.put({ ...this.#places(blocks), sizes, crcs: null });
  }

  /** One block, by way of one place in memory. */
  putAt(place: number, block: number, version: number): Promise<SsdAnswer> {
    this.#fill(place, block, version);
    const sizes = Uint32Array.of(lengthOf(block, version));
    const offsets = Float64Array.of(place * SLOT_BYTES);
    return this.store.put({ memory: this.memory, keys: keyOf(block), offsets, sizes, crcs: null });
  }

  get(blocks: readonly number[]): Promise<SsdAnswer> {
    this.bytes.fill(0);
    const sizes = new Uint32Array(blocks.length).fill(SLOT_BYTES);
    return this.store.get({ ...this.#places(blocks), sizes, crcs: null });
  }

  /** Whether the i-th block of the last get has the bytes of this version. */
  holds(i: number, block: number, version = 1): boolean {
    const length = lengthOf(block, version);
    const expected = bytesOf(block, version).subarray(0, length);
    const found = this.bytes.subarray(i * SLOT_BYTES, i * SLOT_BYTES + length);
    return Buffer.compare(found, expected) === 0;
  }

  #fill(place: number, block: number, version: number): void {
    this.bytes.set(bytesOf(block, version).subarray(0, SLOT_BYTES), place * SLOT_BYTES);
  }

  #places(blocks: readonly number[]) {
    const offsets = Float64Array.from(blocks, (_, i) => i * SLOT_BYTES);
    return { memory: this.memory, keys: keysOf(blocks), offsets };
  }
}

/** A fresh folder's path; `remove` takes it away again. */
export function tempFolder(base = tmpdir()): { path: string; remove: () => void } {
  const path = mkdtempSync(join(base, 'moontide-ssd-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
