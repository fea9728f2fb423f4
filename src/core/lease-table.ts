/** Blocks leased to peers. The owner reuses a slot after release, or after ttl + guard. */
import { assert } from './errors.ts';
import type { TierPool } from './tier-pool.ts';
import type { Address } from './topology.ts';

interface Lease {
  readonly slots: readonly number[];
  readonly generations: readonly number[];
  readonly expiresNs: number;
}

export class LeaseTable {
  /** Nothing runs out before. */
  nextExpiryNs = Number.POSITIVE_INFINITY;
  private readonly dram: TierPool;
  /** By holder and its lease id. All leases have one length, so the map is in order of expiry. */
  private readonly leases = new Map<string, Lease>();

  constructor(dram: TierPool) {
    this.dram = dram;
  }

  /** Leases the longest leading run of `blocks`; the slots, or none. */
  grant(holder: Address, lease: number, blocks: readonly number[]): number[] {
    this.end(holder, lease);
    const slots: number[] = [];
    for (let i = 0; i < blocks.length; i++) {
      const slot = this.dram.findReady(blocks[i]);
      if (slot < 0) break;
      this.dram.touch(slot);
      this.dram.lease(slot);
      slots.push(slot);
    }
    return slots;
  }

  record(
    holder: Address,
    lease: number,
    slots: readonly number[],
    generations: readonly number[],
    expiresNs: number,
  ): void {
    if (slots.length === 0) return;
    this.leases.set(`${holder}/${lease}`, { slots, generations, expiresNs });
    this.nextExpiryNs = Math.min(this.nextExpiryNs, expiresNs);
  }

  end(holder: Address, lease: number): void {
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
    for (let i = 0; i < lease.slots.length; i++) {
      const slot = lease.slots[i];
      assert(this.dram.generations[slot] === lease.generations[i], 'a leased slot was reused');
      this.dram.unlease(slot);
    }
  }
}
