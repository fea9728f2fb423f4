/**
 * Segmented LRU: a chain of LRU segments; a hit moves a block up one, what overflows moves down
 * one, and the lowest segment evicts. Karedla, Love and Wherry, IEEE Computer 27:3 (1994), with
 * two segments there; four equal ones here as in libCacheSim (what does not divide goes to the
 * lowest), and a new block goes to the lowest segment that has room.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  REFUSE,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

class Slru implements EvictionPolicy {
  private readonly segments: SlotList[] = [];
  private readonly limits: number[] = [];
  private readonly segmentOf: Uint8Array;

  constructor(context: EvictionContext, segments: number) {
    const slots = context.capacitySlots;
    const links = new SlotLinks(slots);
    const share = Math.floor(slots / segments);
    for (let i = 0; i < segments; i++) {
      this.segments.push(new SlotList(links));
      this.limits.push(i === 0 ? slots - share * (segments - 1) : share);
    }
    this.segmentOf = new Uint8Array(slots);
  }

  onInsert(slot: number): void {
    let level = 0;
    while (level < this.limits.length && this.segments[level].size >= this.limits[level]) level++;
    this.put(slot, level < this.limits.length ? level : 0);
  }

  onHit(slot: number): void {
    const { segments, limits } = this;
    let level = this.segmentOf[slot];
    if (level === segments.length - 1) {
      segments[level].moveToHead(slot);
      return;
    }
    segments[level].remove(slot);
    level++;
    this.put(slot, level);
    while (level > 0 && segments[level].size > limits[level]) {
      const demoted = segments[level].tail;
      segments[level].remove(demoted);
      level--;
      this.put(demoted, level);
    }
  }

  onRemove(slot: number): void {
    this.segments[this.segmentOf[slot]].remove(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    for (const segment of this.segments) {
      const slot = pinned.count === 0 ? segment.tail : segment.oldestClear(pinned.flags);
      if (slot !== REFUSE) return slot;
    }
    return REFUSE;
  }

  size(): number {
    let slots = 0;
    for (const segment of this.segments) slots += segment.size;
    return slots;
  }

  private put(slot: number, level: number): void {
    this.segmentOf[slot] = level;
    this.segments[level].pushHead(slot);
  }
}

export default defineEviction({
  source: 'Karedla, Love and Wherry, IEEE Computer 27:3 (1994); libCacheSim',
  params: {
    segments: { type: 'integer', default: 4, min: 1, max: 16, doc: 'number of equal segments' },
  },
  create: (context, params) => new Slru(context, params.segments),
});
