/**
 * Least recently used leaf: a block goes only after all of its resident children, so that no
 * resident block loses the prefix without which it is useless. SGLang's radix cache (python/sglang/
 * srt/mem_cache/radix_cache.py, `evict`); departs from it in evicting block by block, where SGLang
 * evicts a tree node, a run of tokens, at once. REFUSE when every leaf is pinned: whoever pins a
 * block needs its prefix. A child whose parent was invalidated is a root from then on.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  SlotHeap,
} from '../../core/policy-kit.ts';

const NONE = -1;

class LeafLru implements EvictionPolicy {
  private residents = 0;
  private clock = 0;
  private readonly lastUse: Float64Array;
  private readonly children: Int32Array;
  private readonly parentOf: Int32Array;
  /** Lives of a slot; a link to a parent holds for the life that it was made in. */
  private readonly life: Int32Array;
  private readonly parentLife: Int32Array;
  /**
   * All leaves, and slots that were leaves, by a last use that may be out of date: hits only raise
   * it, so it is put right when such a slot comes to the top.
   */
  private readonly leaves: SlotHeap;

  constructor(context: EvictionContext) {
    const slots = context.capacitySlots;
    this.lastUse = new Float64Array(slots);
    this.children = new Int32Array(slots);
    this.parentOf = new Int32Array(slots);
    this.life = new Int32Array(slots);
    this.parentLife = new Int32Array(slots);
    this.leaves = new SlotHeap(slots);
  }

  onInsert(slot: number, _block: number, parentSlot: number): void {
    this.residents++;
    this.lastUse[slot] = ++this.clock;
    this.children[slot] = 0;
    this.parentOf[slot] = parentSlot;
    if (parentSlot !== NONE) {
      this.parentLife[slot] = this.life[parentSlot];
      this.children[parentSlot]++;
    }
    this.leaves.set(slot, this.clock, 0);
  }

  onHit(slot: number): void {
    this.lastUse[slot] = ++this.clock;
  }

  onRemove(slot: number): void {
    this.residents--;
    this.life[slot]++;
    this.leaves.remove(slot);
    const parent = this.parentOf[slot];
    if (parent === NONE || this.life[parent] !== this.parentLife[slot]) return;
    this.children[parent]--;
    if (this.children[parent] === 0) this.leaves.set(parent, this.lastUse[parent], 0);
  }

  victim(_incoming: number, pinned: Pinned): number {
    const leaves = this.leaves;
    for (;;) {
      const slot = pinned.count === 0 ? leaves.top() : leaves.firstClear(pinned.flags);
      if (slot === NONE) return NONE;
      if (this.children[slot] > 0) leaves.remove(slot);
      else if (leaves.key(slot) < this.lastUse[slot]) leaves.set(slot, this.lastUse[slot], 0);
      else return slot;
    }
  }

  size(): number {
    return this.residents;
  }
}

export default defineEviction({
  source: 'SGLang radix_cache.py, evict()',
  params: {},
  create: (context) => new LeafLru(context),
});
