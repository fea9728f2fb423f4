/**
 * Clock, also called second chance or FIFO with reinsertion: a hit only raises a small counter;
 * the sweep takes the oldest block, spares it for each count that it has, and reinserts it as the
 * newest. Corbató, "A paging experiment with the Multics system" (1968), with `bits` = 1.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  REFUSE,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

class Clock implements EvictionPolicy {
  private readonly queue: SlotList;
  private readonly uses: Uint8Array;
  private readonly usesMax: number;

  constructor(context: EvictionContext, bits: number) {
    this.queue = new SlotList(new SlotLinks(context.capacitySlots));
    this.uses = new Uint8Array(context.capacitySlots);
    this.usesMax = 2 ** bits - 1;
  }

  onInsert(slot: number): void {
    this.uses[slot] = 0;
    this.queue.pushHead(slot);
  }

  onHit(slot: number): void {
    const uses = this.uses[slot];
    if (uses < this.usesMax) this.uses[slot] = uses + 1;
  }

  onRemove(slot: number): void {
    this.queue.remove(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    const { queue, uses } = this;
    // The sweep passes pinned slots by; beyond the head all are pinned.
    let slot = queue.tail;
    while (slot !== REFUSE) {
      const next = queue.newerThan(slot);
      if (pinned.count === 0 || pinned.flags[slot] === 0) {
        if (uses[slot] === 0) return slot;
        uses[slot]--;
        queue.moveToHead(slot);
        slot = next === REFUSE ? slot : next;
      } else {
        slot = next;
      }
    }
    return REFUSE;
  }

  size(): number {
    return this.queue.size;
  }
}

export default defineEviction({
  source: 'Corbató 1968; FIFO with reinsertion',
  params: {
    bits: { type: 'integer', default: 1, min: 1, max: 8, doc: 'bits of the use counter' },
  },
  create: (context, params) => new Clock(context, params.bits),
});
