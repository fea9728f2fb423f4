/**
 * Finished KV that one instance keeps in its HBM: hash blocks that requests share. They live in
 * what working memory leaves free and give way to it, in the order of an eviction policy. A block
 * that a request reads is leased, and stays until the request lets go of it.
 */
import type { DeltaBuffer } from './delta-buffer.ts';
import type { EvictionPolicy } from './policy.ts';
import type { BlockSpan, Request } from './request.ts';
import { TierPool } from './tier-pool.ts';
import { type KvLayout, Tier } from './topology.ts';

export class HbmCache {
  readonly pool: TierPool;
  /** What the directory is to hear. */
  readonly delta: DeltaBuffer;
  readonly blockBytes: number;
  private readonly blockTokens: number;

  constructor(
    capacityBytes: number,
    kv: KvLayout,
    blocks: number,
    eviction: (capacitySlots: number) => EvictionPolicy,
    delta: DeltaBuffer,
  ) {
    this.blockTokens = kv.blockTokens;
    this.blockBytes = kv.blockTokens * kv.bytesPerToken[Tier.hbm];
    const slots = Math.floor(capacityBytes / this.blockBytes);
    this.pool = new TierPool(slots, blocks, eviction(slots), delta);
    this.delta = delta;
  }

  /** KV of the first `blocks` blocks of a prompt. */
  bytesOf(blocks: number, { inputTokens }: Request): number {
    const tokens = Math.min(blocks * this.blockTokens, inputTokens);
    return (tokens * this.blockBytes) / this.blockTokens;
  }

  /** Bytes of all blocks here, read or not. */
  get usedBytes(): number {
    return this.pool.usedSlots * this.blockBytes;
  }

  /** Leases the longest leading run that is here; its slots. */
  lease(blocks: BlockSpan): number[] {
    const { pool } = this;
    const slots: number[] = [];
    for (let i = 0; i < blocks.length; i++) {
      const slot = pool.findReady(blocks.at(i));
      if (slot < 0) break;
      pool.lease(slot);
      slots.push(slot);
    }
    return slots;
  }

  /** Marks slots as used, the last block first, so that a prefix outlives what follows it. */
  touch(slots: readonly number[]): void {
    for (let i = slots.length - 1; i >= 0; i--) this.pool.touch(slots[i]);
  }

  unlease(slots: readonly number[]): void {
    for (const slot of slots) this.pool.unlease(slot);
  }

  /**
   * Gives up blocks that nobody reads until at most `bytes` are left; false, and nothing given up,
   * when too many are read.
   */
  shrinkTo(bytes: number): boolean {
    const { pool } = this;
    if (pool.pinnedSlots * this.blockBytes > bytes) return false;
    while (this.usedBytes > bytes) if (!pool.evictOne()) return false;
    return true;
  }

  /** Takes in a block that a request computed, leased to it; its slot, or -1 for want of one. */
  keep(blocks: BlockSpan, index: number): number {
    const { pool } = this;
    const parent = index === 0 ? -1 : pool.find(blocks.at(index - 1));
    const slot = pool.allocate(blocks.at(index), parent, index);
    if (slot < 0) return -1;
    pool.publish(slot, 0);
    this.delta.blockStored(blocks.at(index));
    pool.lease(slot);
    return slot;
  }
}
