/**
 * The memory of one live node: a registered pool whose first slots are the DRAM tier's and whose
 * others are working pages, one block each, which stand for the instances' HBM.
 */
import { assert } from '../../core/errors.ts';
import type { DataPlane, Segment } from '../data-plane.ts';
import type { NativeAddon } from '../native.ts';
import { Grant, type Pool } from '../native-pool.ts';
import { BlockSums, fillBlock } from './content.ts';

export interface LiveMemoryOptions {
  readonly addon: NativeAddon;
  readonly plane: DataPlane;
  readonly dramSlots: number;
  /** Working pages of all instances together. */
  readonly pages: number;
  /** Of one block, a multiple of 4096. */
  readonly blockBytes: number;
}

/** Whose pages: an instance's, or PARKED for KV that waits in DRAM for decode. */
export const PARKED = -1;

/** Pages of one request, by the block's index in its prompt; -1 where there is none. */
interface Held {
  readonly owner: number;
  readonly request: number;
  readonly pages: number[];
}

export class LiveMemory {
  readonly pool: Pool;
  /** The pool as a peer sees it: moves within the node go through it too. */
  readonly own: Segment;
  readonly blockBytes: number;
  readonly sums: BlockSums;
  private readonly dramSlots: number;
  private readonly held = new Map<string, Held>();
  private readonly free: number[] = [];
  /** Of working pages: grows with every use. */
  private readonly generations: Uint32Array;
  /** Moves under way from or to a page. */
  private readonly uses: Uint32Array;

  constructor({ addon, plane, dramSlots, pages, blockBytes }: LiveMemoryOptions) {
    this.blockBytes = blockBytes;
    this.dramSlots = dramSlots;
    this.sums = new BlockSums(blockBytes, (bytes, crc) => addon.crc32c(bytes, crc));
    const slots = dramSlots + pages;
    this.pool = plane.createPool({ slotBytes: blockBytes, slots, hugetlb: false, prefault: false });
    const own = plane.importSegment(this.pool.describe());
    assert(own !== null, 'a pool imports itself');
    this.own = own;
    this.generations = new Uint32Array(slots);
    this.uses = new Uint32Array(slots);
    for (let page = slots - 1; page >= dramSlots; page--) this.free.push(page);
  }

  get freePages(): number {
    return this.free.length;
  }

  /** Whether a slot of the pool is a working page, and not one of the DRAM tier. */
  isPage(slot: number): boolean {
    return slot >= this.dramSlots;
  }

  generationOf(page: number): number {
    return this.generations[page];
  }

  /** The page of a block of a request's prompt; a fresh one if there is none. -1: no page left. */
  page(owner: number, request: number, index: number): number {
    const key = `${owner}/${request}`;
    let held = this.held.get(key);
    if (held === undefined) {
      held = { owner, request, pages: [] };
      this.held.set(key, held);
    }
    while (held.pages.length <= index) held.pages.push(-1);
    if (held.pages[index] < 0) {
      const page = this.free.pop();
      if (page === undefined) return -1;
      this.generations[page]++;
      this.pool.publish(page, this.generations[page], Grant.read);
      held.pages[index] = page;
    }
    return held.pages[index];
  }

  /** Pages that a request has there. */
  pagesOf(owner: number, request: number): readonly number[] {
    return this.held.get(`${owner}/${request}`)?.pages ?? [];
  }

  /** Writes what an engine would have computed. */
  compute(page: number, block: number): void {
    const bytes = this.pool.bytes(page);
    fillBlock(new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4), block);
  }

  /** A request's pages change hands: to DRAM, and back. */
  hand(from: number, to: number, request: number): void {
    const held = this.held.get(`${from}/${request}`);
    if (held === undefined) return;
    this.held.delete(`${from}/${request}`);
    this.held.set(`${to}/${request}`, { owner: to, request, pages: held.pages });
  }

  use(slot: number): void {
    this.uses[slot]++;
  }

  unuse(slot: number): void {
    this.uses[slot]--;
  }

  /** A DRAM slot is about to be filled anew. False: a peer is still served what stood there. */
  withdraw(slot: number, generation: number): boolean {
    return this.pool.withdraw(slot, generation);
  }

  publish(slot: number, generation: number): void {
    assert(slot < this.dramSlots, 'a slot of the DRAM tier');
    this.pool.publish(slot, generation, Grant.read);
  }

  /** Frees the pages of requests that hold no working memory any more. */
  sweep(isHeld: (owner: number, request: number) => boolean): void {
    for (const [key, { owner, request, pages }] of this.held) {
      if (isHeld(owner, request)) continue;
      const busy = pages.some((page) => page >= 0 && this.uses[page] > 0);
      if (busy) continue;
      this.held.delete(key);
      for (const page of pages) {
        if (page < 0) continue;
        this.pool.withdraw(page, this.generations[page]);
        this.free.push(page);
      }
    }
  }
}
