/**
 * The memory of one live node: a registered pool whose first slots are the DRAM tier's, then
 * working pages, one block each, which stand for the instances' HBM, then buffers through which
 * peers read the SSD. A page lives as long as somebody has it: requests, the HBM cache of an
 * instance (which shares pages and copies nothing), moves under way.
 */
import { assert } from '../../core/errors.ts';
import type { DataPlane, Segment } from '../data-plane.ts';
import type { NativeAddon } from '../native.ts';
import { Grant, type Pool } from '../native-pool.ts';
import { BlockContents } from './content.ts';

export interface LiveMemoryOptions {
  readonly addon: NativeAddon;
  readonly plane: DataPlane;
  readonly dramSlots: number;
  /** Working pages of all instances together. */
  readonly pages: number;
  readonly buffers: number;
  /** Of one block, a multiple of 4096. */
  readonly blockBytes: number;
  /** Whether a request holds working memory of an instance, or is parked (PARKED). */
  readonly holds: (owner: number, request: number) => boolean;
  /** Whether the HBM cache of an instance has a block; null: there are no such caches. */
  readonly caches: ((instance: number, block: number) => boolean) | null;
}

/** Whose pages: an instance's, or PARKED for KV that waits in DRAM for decode. */
export const PARKED = -1;

const NOTHING = -1;
const PAGE_BYTES = 4096;
/** Takes some 10 ms. */
const TOUCH_BYTES = 16 << 20;

/** Pages of one request, by the block's index in its prompt; -1 where there is none. */
interface Held {
  readonly owner: number;
  readonly request: number;
  readonly pages: number[];
}

interface Kept {
  readonly instance: number;
  readonly block: number;
  readonly page: number;
}

export class LiveMemory {
  readonly pool: Pool;
  /** The pool as a peer sees it: moves within the node go through it too. */
  readonly own: Segment;
  readonly blockBytes: number;
  readonly dramSlots: number;
  readonly contents: BlockContents;
  private readonly options: LiveMemoryOptions;
  private readonly held = new Map<string, Held>();
  /** Blocks in HBM caches, by instance and block. */
  private readonly kept = new Map<string, Kept>();
  private readonly free: number[] = [];
  private readonly freeBuffers: number[] = [];
  /** Of pages and buffers: grows with every use. */
  private readonly generations: Uint32Array;
  /** Who has a page: requests, caches, moves under way. Of a DRAM slot: moves under way. */
  private readonly users: Uint32Array;
  /** Block that is whole in a page; -1: none. */
  private readonly whole: Int32Array;

  constructor(options: LiveMemoryOptions) {
    const { addon, plane, dramSlots, pages, buffers, blockBytes } = options;
    this.options = options;
    this.blockBytes = blockBytes;
    this.dramSlots = dramSlots;
    this.contents = new BlockContents(blockBytes, (bytes, crc) => addon.crc32c(bytes, crc));
    const slots = dramSlots + pages + buffers;
    this.pool = plane.createPool({ slotBytes: blockBytes, slots, hugetlb: false, prefault: false });
    const own = plane.importSegment(this.pool.describe());
    assert(own !== null, 'a pool imports itself');
    this.own = own;
    this.generations = new Uint32Array(slots);
    this.users = new Uint32Array(slots);
    this.whole = new Int32Array(slots).fill(NOTHING);
    for (let page = dramSlots + pages - 1; page >= dramSlots; page--) this.free.push(page);
    for (let slot = slots - 1; slot >= dramSlots + pages; slot--) this.freeBuffers.push(slot);
  }

  /** Working pages, those of them that nobody has, and those that HBM caches have. */
  get pages(): number {
    return this.options.pages;
  }

  get freePages(): number {
    return this.free.length;
  }

  get keptPages(): number {
    return new Set([...this.kept.values()].map(({ page }) => page)).size;
  }

  /** Whether a slot of the pool is not one of the DRAM tier. */
  isPage(slot: number): boolean {
    return slot >= this.dramSlots;
  }

  generationOf(page: number): number {
    return this.generations[page];
  }

  /** Touches all of it, in place of faults later; the process goes on meanwhile. */
  async touch(): Promise<void> {
    const bytes = new Uint8Array(this.pool.all());
    for (let at = 0; at < bytes.length; at += TOUCH_BYTES) {
      const end = Math.min(at + TOUCH_BYTES, bytes.length);
      for (let page = at; page < end; page += PAGE_BYTES) bytes[page] = 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Ends the pool on a plane that goes on. Nothing may be moving. */
  close(): void {
    this.options.plane.dropSegment(this.own);
    assert(this.pool.close(), 'nothing moves to or from a pool that is closed');
  }

  // --- pages of requests ----------------------------------------------------------------------

  /** The page of a block of a request's prompt; a fresh one if there is none. -1: no page left. */
  page(owner: number, request: number, index: number): number {
    const { pages } = this.heldBy(owner, request);
    while (pages.length <= index) pages.push(NOTHING);
    if (pages[index] < 0) pages[index] = this.take();
    return pages[index];
  }

  /** Pages that a request has there. */
  pagesOf(owner: number, request: number): readonly number[] {
    return this.held.get(`${owner}/${request}`)?.pages ?? [];
  }

  /** Writes what an engine would have computed. */
  compute(page: number, block: number): void {
    // Peers may read what is whole: it is not written again.
    if (this.whole[page] === block) return;
    this.contents.fill(this.pool.bytes(page), block);
    this.whole[page] = block;
  }

  /** Of a prompt's leading `blocks`, an engine has computed those from `from` on. */
  computeAll(owner: number, request: number, from: number, blocks: readonly number[]): void {
    for (let i = from; i < blocks.length; i++) {
      const page = this.page(owner, request, i);
      if (page >= 0) this.compute(page, blocks[i]);
    }
  }

  isWhole(page: number, block: number): boolean {
    return this.whole[page] === block;
  }

  /** A move into a page begins, or has brought a whole block. */
  filling(page: number): void {
    this.whole[page] = NOTHING;
  }

  filled(page: number, block: number): void {
    this.whole[page] = block;
  }

  /** A request's pages change hands: to DRAM, and back. */
  hand(from: number, to: number, request: number): void {
    const held = this.held.get(`${from}/${request}`);
    if (held === undefined) return;
    this.held.delete(`${from}/${request}`);
    this.letGo(this.held.get(`${to}/${request}`)?.pages ?? []);
    this.held.set(`${to}/${request}`, { owner: to, request, pages: held.pages });
  }

  // --- HBM caches -----------------------------------------------------------------------------

  /** A prompt begins: its leading blocks that its instance's HBM has become pages of its own. */
  share(instance: number, request: number, blocks: readonly number[]): void {
    const { caches } = this.options;
    if (caches === null) return;
    const { pages } = this.heldBy(instance, request);
    for (const [i, block] of blocks.entries()) {
      const kept = this.kept.get(`${instance}/${block}`);
      if (kept === undefined || !caches(instance, block)) return;
      while (pages.length <= i) pages.push(NOTHING);
      if (pages[i] >= 0) continue;
      pages[i] = kept.page;
      this.users[kept.page]++;
    }
  }

  /** Leading blocks of a prompt are whole in an instance's HBM: its cache may have them. */
  keep(instance: number, request: number, blocks: readonly number[]): void {
    if (this.options.caches === null) return;
    const pages = this.pagesOf(instance, request);
    for (const [i, block] of blocks.entries()) {
      const key = `${instance}/${block}`;
      const page = pages[i] ?? NOTHING;
      if (page < 0 || this.whole[page] !== block || this.kept.has(key)) continue;
      this.kept.set(key, { instance, block, page });
      this.users[page]++;
    }
  }

  // --- DRAM slots, buffers --------------------------------------------------------------------

  /** A move reads a slot. */
  use(slot: number): void {
    this.users[slot]++;
  }

  unuse(slot: number): void {
    assert(this.users[slot] > 0, 'more uses end than began');
    this.users[slot]--;
    if (this.users[slot] === 0 && this.isPage(slot)) this.put(slot);
  }

  /** Whether a move is open on a DRAM slot: it must not be filled anew. */
  isUsed(slot: number): boolean {
    return this.users[slot] > 0;
  }

  /** A DRAM slot is about to be filled anew. False: a peer is still served what stood there. */
  withdraw(slot: number, generation: number): boolean {
    return this.pool.withdraw(slot, generation);
  }

  publish(slot: number, generation: number): void {
    assert(slot < this.dramSlots, 'a slot of the DRAM tier');
    this.pool.publish(slot, generation, Grant.read);
  }

  /** A buffer that peers can read, in use until `unuse`; -1: none is left. */
  buffer(): number {
    return this.start(this.freeBuffers.pop() ?? NOTHING);
  }

  // --- keeping house --------------------------------------------------------------------------

  /** Gives back pages of requests that hold no memory, and of blocks that caches gave up. */
  sweep(): void {
    const { holds, caches } = this.options;
    for (const [key, { owner, request, pages }] of this.held) {
      if (holds(owner, request)) continue;
      this.held.delete(key);
      this.letGo(pages);
    }
    for (const [key, { instance, block, page }] of this.kept) {
      if (caches?.(instance, block) === true) continue;
      this.kept.delete(key);
      this.unuse(page);
    }
  }

  private heldBy(owner: number, request: number): Held {
    const key = `${owner}/${request}`;
    let held = this.held.get(key);
    if (held === undefined) {
      held = { owner, request, pages: [] };
      this.held.set(key, held);
    }
    return held;
  }

  private letGo(pages: readonly number[]): void {
    for (const page of pages) if (page >= 0) this.unuse(page);
  }

  private take(): number {
    if (this.free.length === 0) this.sweep();
    return this.start(this.free.pop() ?? NOTHING);
  }

  private start(slot: number): number {
    if (slot < 0) return slot;
    this.generations[slot]++;
    this.users[slot] = 1;
    this.whole[slot] = NOTHING;
    this.pool.publish(slot, this.generations[slot], Grant.read);
    return slot;
  }

  /** Nobody has it any more. */
  private put(slot: number): void {
    this.pool.withdraw(slot, this.generations[slot]);
    const buffers = this.dramSlots + this.options.pages;
    if (slot < buffers) this.free.push(slot);
    else this.freeBuffers.push(slot);
  }
}
