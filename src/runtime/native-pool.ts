/** A pool of registered memory, in slots; its owner's side. */
import { assert, InputError } from '../core/errors.ts';
import { type NativeEngine, type NativePoolInfo, Status, statusText } from './native.ts';
import type { Location } from './topology-matrix.ts';

export const Grant = { none: 0, read: 1, write: 2, readWrite: 3 } as const;
export type Grant = (typeof Grant)[keyof typeof Grant];

export interface PoolSettings {
  /** A multiple of 4096. */
  readonly slotBytes: number;
  readonly slots: number;
  /** Try reserved huge pages first. */
  readonly hugetlb: boolean;
  /** Touch all pages now: costs about 1 s per 4 GiB, once, in place of faults later. */
  readonly prefault: boolean;
}

export class Pool {
  readonly id: number;
  readonly info: NativePoolInfo;
  /** Where its memory lies, or null. */
  readonly location: Location | null;
  private readonly engine: NativeEngine;
  private readonly views = new Map<number, Uint8Array>();

  constructor(engine: NativeEngine, settings: PoolSettings, location: Location | null) {
    const { slotBytes, slots, hugetlb, prefault } = settings;
    this.engine = engine;
    this.location = location;
    try {
      this.id = engine.createPool(slotBytes, slots, hugetlb, prefault);
    } catch (error) {
      throw new InputError((error as Error).message);
    }
    const info = engine.poolInfo(this.id);
    assert(info !== null, 'a new pool is there');
    this.info = info;
  }

  /** The slot's bytes, as they are; empty after `close`. */
  bytes(slot: number): Uint8Array {
    const known = this.views.get(slot);
    if (known !== undefined) return known;
    const { slotBytes } = this.info;
    const buffer = this.engine.poolBytes(this.id, slot * slotBytes, slotBytes);
    assert(buffer !== null, `slot ${slot} is in the pool`);
    const view = new Uint8Array(buffer);
    this.views.set(slot, view);
    return view;
  }

  /** All slots' bytes, one behind the other; detached by `close`. */
  all(): ArrayBuffer {
    const { slots, slotBytes } = this.info;
    const buffer = this.engine.poolBytes(this.id, 0, slots * slotBytes);
    assert(buffer !== null, 'the pool is open');
    return buffer;
  }

  /** Lets peers that name `generation` at the slot. */
  publish(slot: number, generation: number, grant: Grant): void {
    this.engine.setSlot(this.id, slot, generation, grant);
  }

  /**
   * Closes the slot to peers; `generation` is the next one. Answers whether its bytes may be
   * overwritten now: false while a rail still serves a peer from or into it (see `inUse`). Peers
   * that read without asking (mapped, RDMA) are not known here: they detect it themselves.
   */
  withdraw(slot: number, generation: number): boolean {
    return this.engine.setSlot(this.id, slot, generation, Grant.none) && !this.inUse(slot);
  }

  /** Operations are open on the slot, of this process or served to peers: it must not be reused. */
  inUse(slot: number): boolean {
    return this.engine.slotUse(this.id, slot) !== 0;
  }

  /**
   * What peers need to reach the pool, opaque and versioned. It changes when a rail is reopened.
   * It is a key to the pool: hand it to authenticated members only.
   */
  describe(): Uint8Array {
    const blob = this.engine.describePool(this.id);
    assert(blob !== null, 'the pool is open');
    return blob;
  }

  /** False: operations are open on it. */
  close(): boolean {
    const status = this.engine.closePool(this.id);
    if (status === Status.again) return false;
    assert(status === Status.ok, `closing pool ${this.id}: ${statusText(status)}`);
    this.views.clear();
    return true;
  }
}
