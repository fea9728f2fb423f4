/** First in, first out: hits change nothing. */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

class Fifo implements EvictionPolicy {
  private readonly queue: SlotList;

  constructor(context: EvictionContext) {
    this.queue = new SlotList(new SlotLinks(context.capacitySlots));
  }

  onInsert(slot: number): void {
    this.queue.pushHead(slot);
  }

  onHit(): void {}

  onRemove(slot: number): void {
    this.queue.remove(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    return pinned.count === 0 ? this.queue.tail : this.queue.oldestClear(pinned.flags);
  }

  size(): number {
    return this.queue.size;
  }
}

export default defineEviction({
  source: 'textbook',
  params: {},
  create: (context) => new Fifo(context),
});
