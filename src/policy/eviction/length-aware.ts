/**
 * LengthAwareCache of the Mooncake report (Qin et al., arXiv 2407.00079, section on cache
 * policies): "similar to LFU but prioritizes evicting cache blocks occurring later in requests".
 * Read here as: the least count goes first, among equal counts the deepest, then the least
 * recently used.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  SlotHeap,
} from '../../core/policy-kit.ts';

/** Depth counts before recency: more accesses than this would have to lie between two uses. */
const CLOCK_SPAN = 2 ** 32;

class LengthAware implements EvictionPolicy {
  private readonly order: SlotHeap;
  private readonly uses: Int32Array;
  private readonly depth: Int32Array;
  private clock = 0;

  constructor(context: EvictionContext) {
    this.order = new SlotHeap(context.capacitySlots);
    this.uses = new Int32Array(context.capacitySlots);
    this.depth = new Int32Array(context.capacitySlots);
  }

  onInsert(slot: number, _block: number, _parentSlot: number, depth: number): void {
    this.uses[slot] = 0;
    this.depth[slot] = depth;
    this.onHit(slot);
  }

  onHit(slot: number): void {
    this.order.set(slot, ++this.uses[slot], ++this.clock - this.depth[slot] * CLOCK_SPAN);
  }

  onRemove(slot: number): void {
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
  source: 'Qin et al., arXiv 2407.00079',
  params: {},
  create: (context) => new LengthAware(context),
});
