/**
 * Objects that clients write now. The slots are theirs until they say that they are done: a late
 * write would spoil another block. From a client whose channel broke nothing comes any more after
 * ttl + guard.
 */
import type { StoredObject } from './object-table.ts';
import type { Address } from './topology.ts';

export interface OpenPut {
  readonly from: Address;
  readonly objects: readonly StoredObject[];
  readonly slots: readonly number[];
  expiresNs: number;
}

export class ObjectPuts {
  /** Nothing runs out before. */
  nextExpiryNs = Number.POSITIVE_INFINITY;
  /** By client and its id. */
  private readonly open = new Map<string, OpenPut>();

  get size(): number {
    return this.open.size;
  }

  has(from: Address, put: number): boolean {
    return this.open.has(`${from}/${put}`);
  }

  add(from: Address, put: number, objects: StoredObject[], slots: number[]): void {
    const expiresNs = Number.POSITIVE_INFINITY;
    this.open.set(`${from}/${put}`, { from, objects, slots, expiresNs });
  }

  take(from: Address, put: number): OpenPut | null {
    const key = `${from}/${put}`;
    const found = this.open.get(key) ?? null;
    this.open.delete(key);
    return found;
  }

  /** A client's channel broke: what it writes runs out at `atNs`. */
  clientReset(from: Address, atNs: number): void {
    for (const put of this.open.values()) {
      if (put.from !== from) continue;
      put.expiresNs = Math.min(put.expiresNs, atNs);
      this.nextExpiryNs = Math.min(this.nextExpiryNs, put.expiresNs);
    }
  }

  /** Those that have run out by now. */
  expired(nowNs: number): OpenPut[] {
    const over: OpenPut[] = [];
    this.nextExpiryNs = Number.POSITIVE_INFINITY;
    for (const [key, put] of this.open) {
      if (put.expiresNs <= nowNs) {
        over.push(put);
        this.open.delete(key);
      } else this.nextExpiryNs = Math.min(this.nextExpiryNs, put.expiresNs);
    }
    return over;
  }
}
