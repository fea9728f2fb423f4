/** Registered memory of a client, given out in runs of slots that follow each other. */
import { InputError } from '../../core/errors.ts';
import type { Pool } from '../native-pool.ts';

/** Bytes that stores can be read into and written from without a copy. */
export class StoreBuffer {
  /** As many as were asked for. */
  readonly bytes: Uint8Array;
  readonly slot: number;
  readonly slots: number;
  private readonly owner: Buffers;
  private freed = false;

  constructor(owner: Buffers, bytes: Uint8Array, slot: number, slots: number) {
    this.owner = owner;
    this.bytes = bytes;
    this.slot = slot;
    this.slots = slots;
  }

  /** Gives it back; the bytes must not be used any more. */
  free(): void {
    if (this.freed) return;
    this.freed = true;
    this.owner.giveBack(this);
  }
}

interface Waiting {
  readonly sizeBytes: number;
  readonly resolve: (buffer: StoreBuffer) => void;
}

export class Buffers {
  private readonly pool: Pool;
  private readonly memory: ArrayBuffer;
  private readonly used: Uint8Array;
  private readonly waiting: Waiting[] = [];
  /** Where the last run ended: the search goes on there. */
  private next = 0;

  constructor(pool: Pool) {
    this.pool = pool;
    this.memory = pool.all();
    this.used = new Uint8Array(pool.info.slots);
  }

  /** Of all together. */
  get sizeBytes(): number {
    return this.memory.byteLength;
  }

  /** Waits, first come, first served, while there is no room. */
  take(sizeBytes: number): Promise<StoreBuffer> {
    if (sizeBytes > this.sizeBytes) {
      const most = `at most the client's pool of ${this.sizeBytes}`;
      throw new InputError(`found ${sizeBytes} bytes, expected ${most}`);
    }
    const now = this.tryTake(sizeBytes);
    if (now !== null) return Promise.resolve(now);
    return new Promise((resolve) => this.waiting.push({ sizeBytes, resolve }));
  }

  giveBack({ slot, slots }: StoreBuffer): void {
    this.used.fill(0, slot, slot + slots);
    while (this.waiting.length > 0) {
      const buffer = this.find(this.waiting[0].sizeBytes);
      if (buffer === null) return;
      this.waiting.shift()?.resolve(buffer);
    }
  }

  /** Null: there is no room, or others wait for it. */
  tryTake(sizeBytes: number): StoreBuffer | null {
    return this.waiting.length === 0 ? this.find(sizeBytes) : null;
  }

  private find(sizeBytes: number): StoreBuffer | null {
    const { slotBytes } = this.pool.info;
    const slots = Math.max(1, Math.ceil(sizeBytes / slotBytes));
    const slot = this.findRun(this.next, slots) ?? this.findRun(0, slots);
    if (slot === null) return null;
    this.used.fill(1, slot, slot + slots);
    this.next = slot + slots;
    const bytes = new Uint8Array(this.memory, slot * slotBytes, sizeBytes);
    return new StoreBuffer(this, bytes, slot, slots);
  }

  private findRun(from: number, slots: number): number | null {
    const { used } = this;
    for (let slot = from, free = 0; slot < used.length; slot++) {
      free = used[slot] === 0 ? free + 1 : 0;
      if (free === slots) return slot - slots + 1;
    }
    return null;
  }
}
