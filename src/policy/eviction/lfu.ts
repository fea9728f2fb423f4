/**
 * Least frequently used. A block's count starts at 1 and is forgotten when it goes; among equal
 * counts the least recently used goes.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  FrequencyList,
  type Pinned,
} from '../../core/policy-kit.ts';

class Lfu implements EvictionPolicy {
  private readonly order: FrequencyList;

  constructor(context: EvictionContext) {
    this.order = new FrequencyList(context.capacitySlots);
  }

  onInsert(slot: number): void {
    this.order.add(slot);
  }

  onHit(slot: number): void {
    this.order.count(slot);
  }

  onRemove(slot: number): void {
    this.order.remove(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    return pinned.count === 0 ? this.order.lowest() : this.order.lowestClear(pinned.flags);
  }

  size(): number {
    return this.order.size();
  }
}

export default defineEviction({
  source: 'textbook, ties by recency',
  params: {},
  create: (context) => new Lfu(context),
});
