/** Shards in registered memory: those that are being pulled, and those that peers read here. */
import { assert } from '../../core/errors.ts';
import { Grant, type Pool } from '../native-pool.ts';

interface Slot {
  readonly slot: number;
  generation: number;
  /** -1: none. */
  shard: number;
  /** Its bytes are the shard's, and peers may read it. */
  ready: boolean;
  users: number;
  /** Counts up with every use: the least is the one used longest ago. */
  used: number;
}

/** A slot whose last reader may still be at it is looked at again after this. */
const AGAIN_MS = 20;

export class ShardSlots {
  private readonly pool: Pool;
  private readonly slots: Slot[];
  private readonly loading = new Map<number, Promise<void>>();
  private uses = 0;

  constructor(pool: Pool) {
    this.pool = pool;
    const slots = Array.from({ length: pool.info.slots }, (_, slot) => slot);
    this.slots = slots.map((slot) => ({
      ...{ slot, generation: 1, shard: -1, ready: false, users: 0, used: 0 },
    }));
  }

  bytes({ slot }: { readonly slot: number }, length: number): Uint8Array {
    return this.pool.bytes(slot).subarray(0, length);
  }

  /** Takes an empty slot for the shard; waits for one. It is the caller's until it is released. */
  async take(shard: number): Promise<Slot> {
    for (;;) {
      const free = this.slots.filter((one) => one.users === 0);
      free.sort((a, b) => a.used - b.used);
      for (const slot of free) {
        if (slot.ready) {
          slot.ready = false;
          slot.shard = -1;
          this.pool.withdraw(slot.slot, ++slot.generation);
        }
        if (this.pool.inUse(slot.slot)) continue;
        slot.shard = shard;
        slot.users = 1;
        return slot;
      }
      await new Promise<void>((again) => setTimeout(again, AGAIN_MS));
    }
  }

  /** Its bytes are there: peers may read it. The caller still uses it. */
  ready(slot: Slot): void {
    assert(slot.users > 0 && !slot.ready, 'a slot becomes ready once, while it is used');
    slot.ready = true;
    this.pool.publish(slot.slot, slot.generation, Grant.read);
  }

  /** Uses the shard if it is here, or takes a slot and has it loaded. */
  async use(shard: number, load: (slot: Slot) => Promise<void>): Promise<Slot> {
    for (;;) {
      const found = this.slots.find((one) => one.ready && one.shard === shard);
      if (found !== undefined) {
        found.users++;
        found.used = ++this.uses;
        return found;
      }
      const under = this.loading.get(shard);
      if (under === undefined) break;
      await under;
    }
    const made = this.take(shard).then(async (slot) => {
      try {
        await load(slot);
        this.ready(slot);
        return slot;
      } catch (error) {
        this.release(slot);
        throw error;
      }
    });
    const settled = () => {};
    this.loading.set(shard, made.then(settled, settled));
    try {
      const slot = await made;
      slot.used = ++this.uses;
      return slot;
    } finally {
      this.loading.delete(shard);
    }
  }

  /** No longer used by the caller; what is ready stays for the next who asks. */
  release(slot: Slot): void {
    slot.users--;
    if (!slot.ready) slot.shard = -1;
  }
}

export type { Slot as ShardSlot };
