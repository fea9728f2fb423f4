/**
 * SIEVE: FIFO insertion with a hand that spares visited blocks, which stay where they are. Zhang et
 * al., NSDI 2024, Algorithm 1. The hand moves from the oldest to the newest block, clears bits, and
 * rests after an eviction on the next newer block.
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

const NONE = -1;

class Sieve implements EvictionPolicy {
  private readonly queue: SlotList;
  private readonly visited: Uint8Array;
  /** Where the next sweep starts, or -1: at the tail. */
  private hand = NONE;

  constructor(context: EvictionContext) {
    this.queue = new SlotList(new SlotLinks(context.capacitySlots));
    this.visited = new Uint8Array(context.capacitySlots);
  }

  onInsert(slot: number): void {
    this.visited[slot] = 0;
    this.queue.pushHead(slot);
  }

  onHit(slot: number): void {
    this.visited[slot] = 1;
  }

  onRemove(slot: number): void {
    if (slot === this.hand) this.hand = this.queue.newerThan(slot);
    this.queue.remove(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    const { queue, visited } = this;
    let slot = this.hand === NONE ? queue.tail : this.hand;
    // One round clears every bit, the next finds a victim unless all slots are pinned.
    for (let left = 2 * queue.size; left > 0; left--) {
      if (pinned.count === 0 || pinned.flags[slot] === 0) {
        if (visited[slot] === 0) {
          this.hand = slot;
          return slot;
        }
        visited[slot] = 0;
      }
      slot = queue.newerThan(slot);
      if (slot === NONE) slot = queue.tail;
    }
    return REFUSE;
  }

  size(): number {
    return this.queue.size;
  }
}

export default defineEviction({
  source: 'Zhang et al., NSDI 2024, Algorithm 1',
  params: {},
  create: (context) => new Sieve(context),
});
