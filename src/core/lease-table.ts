/** Blocks leased to peers. The owner reuses a slot after release, or after ttl + guard. */
import type { CacheTiers } from './cache-tiers.ts';
import { assert } from './errors.ts';
import type { SlotRange } from './messages.ts';
import type { SharedTier } from './shared-tier.ts';
import type { Address, Tier } from './topology.ts';

/** What a peer is given. */
export interface LeasedRun {
  readonly tier: SharedTier;
  readonly slots: readonly number[];
  /** The run goes on in another tier. */
  readonly more: boolean;
}

interface Lease {
  readonly tier: Tier;
  readonly slots: readonly number[];
  readonly generations: readonly number[];
  readonly expiresNs: number;
}

export class LeaseTable {
  /** Nothing runs out before. */
  nextExpiryNs = Number.POSITIVE_INFINITY;
  private readonly tiers: CacheTiers;
  /** By holder and its lease id. All leases have one length, so the map is in order of expiry. */
  private readonly leases = new Map<string, Lease>();

  constructor(tiers: CacheTiers) {
    this.tiers = tiers;
  }

  /** Leases the longest leading run of `blocks` that lies in the tier of the first. */
  grant(holder: Address, lease: number, blocks: readonly number[]): LeasedRun {
    this.end(holder, lease);
    const { tiers } = this;
    const tier = blocks.length === 0 ? tiers.dram : tiers.tierOf(blocks[0]);
    const { pool } = tier;
    const slots: number[] = [];
    for (let i = 0; i < blocks.length; i++) {
      const slot = pool.findReady(blocks[i]);
      if (slot < 0) break;
      pool.touch(slot);
      pool.lease(slot);
      slots.push(slot);
    }
    const next = blocks.at(slots.length) ?? -1;
    return { tier, slots, more: slots.length > 0 && next >= 0 && tiers.isReady(next) };
  }

  record(
    holder: Address,
    lease: number,
    tier: Tier,
    { slots, generations }: SlotRange,
    expiresNs: number,
  ): void {
    if (slots.length === 0) return;
    this.leases.set(`${holder}/${lease}`, { tier, slots, generations, expiresNs });
    this.nextExpiryNs = Math.min(this.nextExpiryNs, expiresNs);
  }

  end(holder: Address, lease: number): void {
    if (this.leases.size === 0) return;
    this.endKey(`${holder}/${lease}`);
  }

  expire(nowNs: number): void {
    this.nextExpiryNs = Number.POSITIVE_INFINITY;
    for (const [key, lease] of this.leases) {
      if (lease.expiresNs > nowNs) {
        this.nextExpiryNs = lease.expiresNs;
        return;
      }
      this.endKey(key);
    }
  }

  private endKey(key: string): void {
    const lease = this.leases.get(key);
    if (lease === undefined) return;
    this.leases.delete(key);
    const { pool } = this.tiers.at(lease.tier);
    for (let i = 0; i < lease.slots.length; i++) {
      const slot = lease.slots[i];
      assert(pool.generations[slot] === lease.generations[i], 'a leased slot was reused');
      pool.unlease(slot);
    }
  }
}
