/**
 * CAR: ARC's adaptation with clocks in place of LRU lists, so that a hit only sets a bit. Bansal
 * and Modha, FAST 2004, Figure 2. An invalidated block leaves no ghost. With pins the two clocks
 * stand in for each other.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  GhostLists,
  type Pinned,
  REFUSE,
  type RemovalCause,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

/** T1 and T2, and as ghosts B1 and B2. */
const ONCE = 0;
const AGAIN = 1;

class Car implements EvictionPolicy {
  private readonly capacity: number;
  /** Clocks T1 and T2: the hand is at the tail. */
  private readonly once: SlotList;
  private readonly again: SlotList;
  private readonly ghosts: GhostLists;
  private readonly used: Uint8Array;
  private readonly listOf: Uint8Array;
  private readonly blockOf: Int32Array;
  /** p: slots that T1 should have. */
  private target = 0;

  constructor(context: EvictionContext) {
    const slots = context.capacitySlots;
    const links = new SlotLinks(slots);
    this.capacity = slots;
    this.once = new SlotList(links);
    this.again = new SlotList(links);
    this.ghosts = new GhostLists(slots + 1, 2);
    this.used = new Uint8Array(slots);
    this.listOf = new Uint8Array(slots);
    this.blockOf = new Int32Array(slots);
  }

  onInsert(slot: number, block: number): void {
    const ghosts = this.ghosts;
    this.blockOf[slot] = block;
    this.used[slot] = 0;
    const list = ghosts.find(block);
    if (list !== ONCE && list !== AGAIN) {
      this.limitGhosts();
      this.put(slot, ONCE);
      return;
    }
    const step = Math.max(1, ghosts.size(1 - list) / ghosts.size(list));
    if (list === ONCE) this.target = Math.min(this.target + step, this.capacity);
    else this.target = Math.max(this.target - step, 0);
    ghosts.delete(block);
    this.put(slot, AGAIN);
  }

  onHit(slot: number): void {
    this.used[slot] = 1;
  }

  onRemove(slot: number, cause: RemovalCause): void {
    const list = this.listOf[slot];
    if (list === ONCE) this.once.remove(slot);
    else this.again.remove(slot);
    if (cause === 'evict') this.ghosts.push(this.blockOf[slot], list);
  }

  victim(_incoming: number, pinned: Pinned): number {
    const { once, again, used } = this;
    // A slot at most loses its bit and then goes, so three visits each are enough without pins.
    for (let left = 3 * (once.size + again.size); left > 0; left--) {
      const fromOnce = once.size > 0 && once.size >= Math.max(1, this.target);
      const list = fromOnce || again.size === 0 ? once : again;
      const slot = pinned.count === 0 ? list.tail : list.oldestClear(pinned.flags);
      if (slot === REFUSE) break;
      if (used[slot] === 0) return slot;
      used[slot] = 0;
      list.remove(slot);
      this.put(slot, AGAIN);
    }
    if (pinned.count === 0) return REFUSE;
    const slot = once.oldestClear(pinned.flags);
    return slot !== REFUSE ? slot : again.oldestClear(pinned.flags);
  }

  size(): number {
    return this.once.size + this.again.size;
  }

  /** Lines 6 to 10, once the victim is gone: |T1| + |B1| < c and the whole directory < 2c. */
  private limitGhosts(): void {
    const { ghosts, capacity } = this;
    const recent = this.once.size + ghosts.size(ONCE);
    if (recent >= capacity) ghosts.dropOldest(ONCE);
    else if (recent + this.again.size + ghosts.size(AGAIN) >= 2 * capacity)
      ghosts.dropOldest(AGAIN);
  }

  private put(slot: number, list: number): void {
    this.listOf[slot] = list;
    if (list === ONCE) this.once.pushHead(slot);
    else this.again.pushHead(slot);
  }
}

export default defineEviction({
  source: 'Bansal and Modha, FAST 2004, Figure 2',
  params: {},
  create: (context) => new Car(context),
});
