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
  GhostLists,
  type Pinned,
  REFUSE,
  type RemovalCause,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

const NONE = -1;
/** T1 and T2, and as ghosts B1 and B2. */
const ONCE = 0;
const AGAIN = 1;

class Arc implements EvictionPolicy {
  private readonly capacity: number;
  private readonly once: SlotList;
  private readonly again: SlotList;
  private readonly ghosts: GhostLists;
  private readonly listOf: Uint8Array;
  private readonly blockOf: Int32Array;
  /** p: slots that T1 should have. */
  private target = 0;
  /** The block that is missing now, and whose ghost it was: ONCE, AGAIN or NONE. */
  private missing = NONE;
  private ghostOf = NONE;
  /** The next eviction leaves no ghost. */
  private forgets = false;

  constructor(context: EvictionContext) {
    const slots = context.capacitySlots;
    const links = new SlotLinks(slots);
    this.capacity = slots;
    this.once = new SlotList(links);
    this.again = new SlotList(links);
    this.ghosts = new GhostLists(slots + 1, 2);
    this.listOf = new Uint8Array(slots);
    this.blockOf = new Int32Array(slots);
  }

  onMiss(block: number): void {
    const ghosts = this.ghosts;
    this.missing = block;
    this.ghostOf = ghosts.find(block);
    if (this.ghostOf === NONE) return;
    const ratio = ghosts.size(1 - this.ghostOf) / ghosts.size(this.ghostOf);
    const step = Math.max(ratio, 1);
    if (this.ghostOf === ONCE) this.target = Math.min(this.target + step, this.capacity);
    else this.target = Math.max(this.target - step, 0);
    ghosts.delete(block);
  }

  onInsert(slot: number, block: number): void {
    if (block !== this.missing) this.onMiss(block);
    this.blockOf[slot] = block;
    if (this.ghostOf === NONE) {
      this.listOf[slot] = ONCE;
      this.once.pushHead(slot);
    } else {
      this.listOf[slot] = AGAIN;
      this.again.pushHead(slot);
    }
    this.missing = NONE;
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
    const list = this.listOf[slot];
    if (list === ONCE) this.once.remove(slot);
    else this.again.remove(slot);
    if (remember) this.ghosts.push(this.blockOf[slot], list);
  }

  victim(incoming: number, pinned: Pinned): number {
    if (incoming !== this.missing) this.onMiss(incoming);
    this.forgets = false;
    if (this.ghostOf === NONE && this.makeGhostRoom()) {
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
    const ghosts = this.ghosts;
    const recent = this.once.size + ghosts.size(ONCE);
    if (recent >= this.capacity) {
      if (ghosts.size(ONCE) === 0) return true;
      ghosts.dropOldest(ONCE);
    } else if (recent + this.again.size + ghosts.size(AGAIN) >= 2 * this.capacity) {
      ghosts.dropOldest(AGAIN);
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
