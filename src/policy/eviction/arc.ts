/**
 * ARC: recency (T1: used once) against frequency (T2: used again), balanced by what comes back
 * soon after it went (ghosts B1, B2). Megiddo and Modha, FAST '03, Figure 4, with a real-valued
 * target p for T1. Nothing is replaced while the tier has room. An invalidated block leaves no
 * ghost. With pins the two lists stand in for each other.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  GhostList,
  type Pinned,
  REFUSE,
  type RemovalCause,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

const ONCE = 1;
const AGAIN = 2;

class Arc implements EvictionPolicy {
  private readonly capacity: number;
  private readonly once: SlotList;
  private readonly again: SlotList;
  private readonly onceGhosts: GhostList;
  private readonly againGhosts: GhostList;
  private readonly listOf: Uint8Array;
  private readonly blockOf: Int32Array;
  /** p: slots that T1 should have. */
  private target = 0;
  /** The block that is missing now, and whose ghost it was: 0, ONCE or AGAIN. */
  private missing = -1;
  private ghostOf = 0;
  /** The next eviction leaves no ghost. */
  private forgets = false;

  constructor(context: EvictionContext) {
    const slots = context.capacitySlots;
    const links = new SlotLinks(slots);
    this.capacity = slots;
    this.once = new SlotList(links);
    this.again = new SlotList(links);
    this.onceGhosts = new GhostList(slots);
    this.againGhosts = new GhostList(2 * slots);
    this.listOf = new Uint8Array(slots);
    this.blockOf = new Int32Array(slots);
  }

  onMiss(block: number): void {
    const onceGhosts = this.onceGhosts;
    const againGhosts = this.againGhosts;
    this.missing = block;
    this.ghostOf = 0;
    if (onceGhosts.has(block)) {
      const step = Math.max(againGhosts.size / onceGhosts.size, 1);
      this.target = Math.min(this.target + step, this.capacity);
      onceGhosts.delete(block);
      this.ghostOf = ONCE;
    } else if (againGhosts.has(block)) {
      const step = Math.max(onceGhosts.size / againGhosts.size, 1);
      this.target = Math.max(this.target - step, 0);
      againGhosts.delete(block);
      this.ghostOf = AGAIN;
    }
  }

  onInsert(slot: number, block: number): void {
    if (block !== this.missing) this.onMiss(block);
    this.blockOf[slot] = block;
    if (this.ghostOf === 0) {
      this.listOf[slot] = ONCE;
      this.once.pushHead(slot);
    } else {
      this.listOf[slot] = AGAIN;
      this.again.pushHead(slot);
    }
    this.missing = -1;
  }

  onHit(slot: number): void {
    if (this.listOf[slot] === AGAIN) {
      this.again.moveToHead(slot);
    } else {
      this.once.remove(slot);
      this.listOf[slot] = AGAIN;
      this.again.pushHead(slot);
    }
  }

  onRemove(slot: number, cause: RemovalCause): void {
    const remember = cause === 'evict' && !this.forgets;
    this.forgets = false;
    if (this.listOf[slot] === ONCE) {
      this.once.remove(slot);
      if (remember) this.onceGhosts.push(this.blockOf[slot]);
    } else {
      this.again.remove(slot);
      if (remember) this.againGhosts.push(this.blockOf[slot]);
    }
  }

  victim(incoming: number, pinned: Pinned): number {
    if (incoming !== this.missing) this.onMiss(incoming);
    this.forgets = false;
    if (this.ghostOf === 0 && this.makeGhostRoom()) {
      const slot = oldestFree(this.once, pinned);
      this.forgets = slot !== REFUSE;
      return slot !== REFUSE ? slot : oldestFree(this.again, pinned);
    }
    const once = this.once.size;
    const fromOnce =
      once > 0 &&
      (once > this.target ||
        (once === this.target && this.ghostOf === AGAIN) ||
        this.again.size === 0);
    const slot = oldestFree(fromOnce ? this.once : this.again, pinned);
    return slot !== REFUSE ? slot : oldestFree(fromOnce ? this.again : this.once, pinned);
  }

  size(): number {
    return this.once.size + this.again.size;
  }

  /** Case IV: a new id. True when T1 fills its half alone, so that its LRU goes unremembered. */
  private makeGhostRoom(): boolean {
    const recent = this.once.size + this.onceGhosts.size;
    if (recent >= this.capacity) {
      if (this.onceGhosts.size === 0) return true;
      this.onceGhosts.dropOldest();
    } else if (recent + this.again.size + this.againGhosts.size >= 2 * this.capacity) {
      this.againGhosts.dropOldest();
    }
    return false;
  }
}

function oldestFree(list: SlotList, pinned: Pinned): number {
  return pinned.count === 0 ? list.tail : list.oldestClear(pinned.flags);
}

export default defineEviction({
  source: 'Megiddo and Modha, FAST 2003, Figure 4',
  params: {
    rule: {
      type: 'choice',
      default: 'oracle',
      choices: ['oracle', 'paper'],
      doc: "libCacheSim's rule and the paper's: for blocks of one size they are the same",
    },
  },
  create: (context) => new Arc(context),
});
