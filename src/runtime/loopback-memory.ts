/**
 * The memories of a loopback cluster, with real bytes in them: the DRAM slots of every node, the
 * working pages of every request in the HBM of an instance, and KV that is parked. What a block
 * must hold follows from its id, so that every byte can be checked wherever it went.
 */
import { assert } from '../core/errors.ts';
import type { Place, Transfer } from '../core/host.ts';
import { Tier, type Topology } from '../core/topology.ts';
import type { TraceColumns } from '../core/trace-columns.ts';

/** One memcpy of a transfer. */
export interface Slice {
  readonly source: Uint8Array;
  readonly target: Uint8Array;
  /** Block that the bytes must be afterwards, or -1: a range of tokens. */
  readonly block: number;
}

export interface MemoryWorld {
  readonly topology: Topology;
  /** The prompts: row i is request i. */
  readonly trace: TraceColumns;
  /** The block that a store has put into a slot of one of its tiers. */
  blockAt(node: number, tier: Tier, slot: number): number;
  /** Whether the HBM cache of an instance has a block. */
  isInHbm(instance: number, block: number): boolean;
}

/** Requests that are over and keep their pages. */
const ENDED_KEPT = 64;

export class LoopbackMemory {
  private readonly world: MemoryWorld;
  private readonly tokenBytes: number;
  private readonly blockBytes: number;
  /** By node. */
  private readonly dram: readonly Uint8Array[];
  private readonly ssd: readonly Uint8Array[];
  /** By owner and request: whole blocks, the last one filled up. */
  private readonly pages = new Map<string, Uint8Array>();
  /** What an instance computed or loaded; its HBM cache says which of these it still has. */
  private readonly kept = new Map<string, Uint8Array>();
  private readonly expected: Uint8Array;
  /** Requests that are over, whose pages are still there. */
  private readonly ended: number[] = [];

  constructor(world: MemoryWorld) {
    this.world = world;
    const { kv, nodes } = world.topology;
    const [hbm, dram, ssd] = kv.bytesPerToken;
    const equal = hbm === dram && dram === ssd;
    assert(equal, 'loopback moves bytes as they are: all tiers need equal token sizes');
    this.tokenBytes = hbm;
    this.blockBytes = hbm * kv.blockTokens;
    const slotsOf = (bytes: number) => {
      return new Uint8Array(Math.floor(bytes / this.blockBytes) * this.blockBytes);
    };
    this.dram = nodes.map(({ dramCapacityBytes }) => slotsOf(dramCapacityBytes));
    this.ssd = nodes.map(({ ssdCapacityBytes }) => slotsOf(ssdCapacityBytes));
    this.expected = new Uint8Array(this.blockBytes);
  }

  /** The copies that a transfer is made of. Streams send tokens up to `toToken`. */
  slices(transfer: Transfer, toToken: number): Slice[] {
    const { kind, request, source, target, tokens } = transfer;
    const whole = kind === 'park' || kind === 'unpark';
    if (kind !== 'stream' && !whole) return this.blockSlices(transfer);
    // What decode made lies behind the prompt, and has no bytes here.
    const fromByte = whole ? 0 : (toToken - tokens) * this.tokenBytes;
    const toByte = this.endByte(request, toToken);
    const from = this.pagesOf(source, request);
    const to = this.pagesOf(target, request);
    const slices: Slice[] = [];
    for (let at = fromByte; at < toByte; at += this.blockBytes) {
      const end = Math.min(at + this.blockBytes, toByte);
      slices.push({ source: from.subarray(at, end), target: to.subarray(at, end), block: -1 });
    }
    return slices;
  }

  private blockSlices({ kind, request, source, target, blocks }: Transfer): Slice[] {
    const slices: Slice[] = [];
    for (let i = 0; i < blocks; i++) {
      const cached = kind === 'load' ? source : target;
      const slot = cached.slots!.slots[i];
      const block = this.world.blockAt(cached.node, cached.tier, slot);
      const paged = kind === 'load' || kind === 'save';
      const page = paged ? this.indexOf(request, block) : -1;
      if (paged && page < 0) {
        slices.push({ source: this.answer(block), target: this.slot(target, i), block });
        continue;
      }
      slices.push({
        source: kind === 'save' ? this.page(source, request, page) : this.slot(source, i),
        target: kind === 'load' ? this.page(target, request, page) : this.slot(target, i),
        block,
      });
    }
    return slices;
  }

  /** An engine has computed these tokens of a prompt: their KV is in its pages. */
  compute(instance: number, request: number, fromToken: number, toToken: number): void {
    const pages = this.pagesOf(hbm(instance), request);
    const to = this.endByte(request, toToken);
    for (let at = fromToken * this.tokenBytes; at < to; at++) {
      const block = this.blockOf(request, Math.floor(at / this.blockBytes));
      pages[at] = byteOf(block, at % this.blockBytes);
    }
  }

  /** The blocks before `toToken` are whole in an instance's HBM: others may share them. */
  keep(instance: number, request: number, toToken: number): void {
    const whole = Math.floor(this.endByte(request, toToken) / this.blockBytes);
    for (let i = 0; i < whole; i++) {
      const page = this.page(hbm(instance), request, i);
      this.kept.set(`${instance}/${this.blockOf(request, i)}`, page.slice());
    }
  }

  /** A prompt begins: its leading blocks that are cached in HBM are pages of its own. */
  share(instance: number, request: number): void {
    for (let i = 0; i < this.blocksOf(request); i++) {
      const block = this.blockOf(request, i);
      const kept = this.kept.get(`${instance}/${block}`);
      if (kept === undefined || !this.world.isInHbm(instance, block)) return;
      this.page(hbm(instance), request, i).set(kept);
    }
  }

  /** @throws when an instance would attend to KV that is not the prompt's */
  checkPrompt(instance: number, request: number, toToken: number): void {
    const pages = this.pagesOf(hbm(instance), request);
    const to = this.endByte(request, toToken);
    for (let at = 0; at < to; at++) {
      const block = this.blockOf(request, Math.floor(at / this.blockBytes));
      if (pages[at] === byteOf(block, at % this.blockBytes)) continue;
      throw new Error(`byte ${at} of request ${request} in instance ${instance} is wrong`);
    }
  }

  /** @throws when bytes are not the block's */
  checkBlock(bytes: Uint8Array, block: number): void {
    for (let at = 0; at < bytes.length; at++) this.expected[at] = byteOf(block, at);
    for (let at = 0; at < bytes.length; at++) {
      if (bytes[at] !== this.expected[at]) throw new Error(`byte ${at} of block ${block} is wrong`);
    }
  }

  /**
   * The request is over. Moves under way keep what they read, but a save onto another node may only
   * begin: its store holds the pages until then, and here the last few requests that ended do.
   */
  forget(ended: number): void {
    this.ended.push(ended);
    if (this.ended.length <= ENDED_KEPT) return;
    const request = this.ended.shift()!;
    for (const key of this.pages.keys()) if (key.endsWith(`/${request}`)) this.pages.delete(key);
  }

  private slot({ node, tier, slots }: Place, index: number): Uint8Array {
    const at = slots!.slots[index] * this.blockBytes;
    const memory = tier === Tier.ssd ? this.ssd : this.dram;
    return memory[node].subarray(at, at + this.blockBytes);
  }

  private page(place: Owner, request: number, index: number): Uint8Array {
    const at = index * this.blockBytes;
    return this.pagesOf(place, request).subarray(at, at + this.blockBytes);
  }

  /** Working pages in HBM, or parked ones in DRAM. */
  private pagesOf({ tier, instance, node }: Owner, request: number): Uint8Array {
    const key = `${tier === Tier.hbm ? `i${instance}` : `n${node}`}/${request}`;
    let pages = this.pages.get(key);
    if (pages === undefined) {
      pages = new Uint8Array(this.blocksOf(request) * this.blockBytes);
      this.pages.set(key, pages);
    }
    return pages;
  }

  /** The end of a prompt is the end of its last block. */
  private endByte(request: number, toToken: number): number {
    const whole = toToken >= this.world.trace.inputTokens[request];
    return whole ? this.blocksOf(request) * this.blockBytes : toToken * this.tokenBytes;
  }

  private blocksOf(request: number): number {
    const { blockStart } = this.world.trace;
    return blockStart[request + 1] - blockStart[request];
  }

  private blockOf(request: number, index: number): number {
    const { blocks, blockStart } = this.world.trace;
    return blocks[blockStart[request] + index];
  }

  /** Place of a block in a prompt, or -1 when it is of the answer. */
  private indexOf(request: number, block: number): number {
    const { blocks, blockStart } = this.world.trace;
    const at = blocks.indexOf(block, blockStart[request]) - blockStart[request];
    if (at >= 0 && at < this.blocksOf(request)) return at;
    const { decoded } = this.world.trace;
    const own = decoded?.blocks.subarray(decoded.start[request], decoded.start[request + 1]);
    assert(own?.includes(block) === true, 'a slot holds a block of another prompt');
    return -1;
  }

  /** A block that decode filled up. */
  private answer(block: number): Uint8Array {
    return new Uint8Array(this.blockBytes).map((_, at) => byteOf(block, at));
  }
}

type Owner = Pick<Place, 'tier' | 'instance' | 'node'>;

function hbm(instance: number): Owner {
  return { tier: Tier.hbm, instance, node: -1 };
}

/** Byte `at` of a block; never 0, as memory that was not written is. */
function byteOf(block: number, at: number): number {
  let mix = Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(at + 1, 0x85ebca77);
  mix ^= mix >>> 15;
  return 1 + ((Math.imul(mix, 0x2c1b3c6d) >>> 8) % 255);
}
