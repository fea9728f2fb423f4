/** Least recently used: hits and insertions move to the head, the tail goes. */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

class Lru implements EvictionPolicy {
  private readonly order: SlotList;

  constructor(context: EvictionContext) {
    this.order = new SlotList(new SlotLinks(context.capacitySlots));
  }

  onInsert(slot: number): void {
    this.order.pushHead(slot);
  }

  onHit(slot: number): void {
    this.order.moveToHead(slot);
  }

  onRemove(slot: number): void {
    this.order.remove(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    return pinned.count === 0 ? this.order.tail : this.order.oldestClear(pinned.flags);
  }

  size(): number {
    return this.order.size;
  }
}

export default defineEviction({
  source: 'textbook',
  params: {},
  create: (context) => new Lru(context),
});
