/**
 * Greedy-Dual-Size-Frequency: priority = L + frequency x cost / size, where L is the priority of
 * the last victim; the least goes, ties by last use. Cherkasova, HP Labs HPL-98-69R1 (1998).
 * Blocks of one tier have one size, so with `cost=uniform` this is LFU with dynamic aging;
 * `cost=recompute` weighs a block by the time that it takes to recompute it at its depth.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  type RemovalCause,
  SlotHeap,
} from '../../core/policy-kit.ts';

class Gdsf implements EvictionPolicy {
  private readonly context: EvictionContext;
  private readonly byCost: boolean;
  private readonly order: SlotHeap;
  private readonly frequency: Int32Array;
  private readonly cost: Float64Array;
  /** L: what a block has to be worth now. */
  private floor = 0;
  private clock = 0;

  constructor(context: EvictionContext, byCost: boolean) {
    this.context = context;
    this.byCost = byCost;
    this.order = new SlotHeap(context.capacitySlots);
    this.frequency = new Int32Array(context.capacitySlots);
    this.cost = new Float64Array(context.capacitySlots);
  }

  onInsert(slot: number, _block: number, _parentSlot: number, depth: number): void {
    this.frequency[slot] = 0;
    this.cost[slot] = this.byCost ? this.context.recomputeNs(depth) : 1;
    this.onHit(slot);
  }

  onHit(slot: number): void {
    const worth = ++this.frequency[slot] * this.cost[slot];
    this.order.set(slot, this.floor + worth, ++this.clock);
  }

  onRemove(slot: number, cause: RemovalCause): void {
    if (cause === 'evict') this.floor = this.order.key(slot);
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
  source: 'Cherkasova, HPL-98-69R1 (1998)',
  params: {
    cost: {
      type: 'choice',
      default: 'uniform',
      choices: ['uniform', 'recompute'],
      doc: 'what a miss costs: the same for all, or the time to recompute the block',
    },
  },
  create: (context, params) => new Gdsf(context, params.cost === 'recompute'),
});
