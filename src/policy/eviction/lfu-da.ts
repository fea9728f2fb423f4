/**
 * LFU with dynamic aging: a block's key is its count plus the key of the last victim at the time of
 * its last use, so that what was popular long ago fades. Arlitt, Cherkasova, Dilley, Friedrich and
 * Jin, "Evaluating content management techniques for Web proxy caches" (1999). Ties: the least
 * recently used goes. With blocks of one size it is the same order as `gdsf`.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  type RemovalCause,
  SlotHeap,
} from '../../core/policy-kit.ts';

class LfuDa implements EvictionPolicy {
  private readonly order: SlotHeap;
  private readonly frequency: Int32Array;
  /** Key of the last victim. */
  private age = 0;
  private clock = 0;

  constructor(context: EvictionContext) {
    this.order = new SlotHeap(context.capacitySlots);
    this.frequency = new Int32Array(context.capacitySlots);
  }

  onInsert(slot: number): void {
    this.frequency[slot] = 1;
    this.order.set(slot, this.age + 1, ++this.clock);
  }

  onHit(slot: number): void {
    this.order.set(slot, this.age + ++this.frequency[slot], ++this.clock);
  }

  onRemove(slot: number, cause: RemovalCause): void {
    if (cause === 'evict') this.age = this.order.key(slot);
    this.order.remove(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    return pinned.count === 0 ? this.order.top() : this.order.firstClear(pinned.flags);
  }

  size(): number {
    return this.order.size;
  }
}

export default defineEviction({
  source: 'Arlitt et al., Performance Evaluation Review 27:4 (1999)',
  params: {},
  create: (context) => new LfuDa(context),
});
