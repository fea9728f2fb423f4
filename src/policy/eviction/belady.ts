/**
 * The offline optimum: the block whose next use is furthest goes. Belady, "A study of replacement
 * algorithms for a virtual-storage computer" (IBM Systems Journal 5:2, 1966); Mattson et al. (1970)
 * prove it. Needs the recorded future, so it runs in offline studies alone.
 *
 * What it is optimal for: hits of single blocks (`any`) of one size in one pool, when every miss
 * must be admitted. With `bypass`, a block that is needed later than all residents is declined;
 * then no policy at all has more hits, whether it must admit or not. Under prefix semantics a
 * policy serves at most what it could under `any` with the right to decline, whatever the order of
 * touching, so `bypass` under `any`, forward, is an upper bound there; the hits of this policy
 * under prefix semantics are a result that can be had, not a bound.
 */
import { InputError } from '../../core/errors.ts';
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Future,
  type Pinned,
  REFUSE,
  SlotHeap,
} from '../../core/policy-kit.ts';

class Belady implements EvictionPolicy {
  private readonly future: Future;
  private readonly bypass: boolean;
  /** By negative next use: the furthest is on top. */
  private readonly furthest: SlotHeap;

  constructor(context: EvictionContext, bypass: boolean) {
    if (context.future === null) {
      throw new InputError('eviction policy belady needs a recorded future: only `cache` has one');
    }
    this.future = context.future;
    this.bypass = bypass;
    this.furthest = new SlotHeap(context.capacitySlots);
  }

  onInsert(slot: number): void {
    this.furthest.set(slot, -this.future.nextUse(this.future.position), 0);
  }

  onHit(slot: number): void {
    this.furthest.set(slot, -this.future.nextUse(this.future.position), 0);
  }

  onRemove(slot: number): void {
    this.furthest.remove(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    const heap = this.furthest;
    const slot = pinned.count === 0 ? heap.top() : heap.firstClear(pinned.flags);
    if (slot === REFUSE || !this.bypass) return slot;
    const incomingUse = this.future.nextUse(this.future.position);
    return -heap.key(slot) > incomingUse ? slot : REFUSE;
  }

  size(): number {
    return this.furthest.size;
  }
}

export default defineEviction({
  source: 'Belady, IBM Systems Journal 5:2 (1966)',
  params: {
    bypass: {
      type: 'boolean',
      default: false,
      doc: 'decline a block that is needed later than all residents: the bound for any policy',
    },
  },
  create: (context, params) => new Belady(context, params.bypass),
});
