/**
 * 2Q: a FIFO queue A1in for what is new, ghosts A1out of what left it, an LRU list Am for what
 * came back as a ghost. Johnson and Shasha, VLDB 1994, "full version", with Kin 25 % and Kout 50 %
 * of the slots as they advise. A hit in A1in changes nothing; A1in is evicted from only while it
 * stands above its share.
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

class TwoQ implements EvictionPolicy {
  private readonly fresh: SlotList;
  private readonly often: SlotList;
  private readonly ghosts: GhostLists;
  private readonly freshSlots: number;
  private readonly isOften: Uint8Array;
  private readonly blockOf: Int32Array;
  private missing = NONE;
  private wasGhost = false;

  constructor(context: EvictionContext, params: { readonly in: number; readonly out: number }) {
    const slots = context.capacitySlots;
    const links = new SlotLinks(slots);
    this.fresh = new SlotList(links);
    this.often = new SlotList(links);
    this.ghosts = new GhostLists(Math.floor(slots * params.out));
    this.freshSlots = Math.floor(slots * params.in);
    this.isOften = new Uint8Array(slots);
    this.blockOf = new Int32Array(slots);
  }

  onMiss(block: number): void {
    this.missing = block;
    this.wasGhost = this.ghosts.delete(block) !== NONE;
  }

  onInsert(slot: number, block: number): void {
    if (block !== this.missing) this.onMiss(block);
    this.missing = NONE;
    this.blockOf[slot] = block;
    this.isOften[slot] = this.wasGhost ? 1 : 0;
    if (this.wasGhost) this.often.pushHead(slot);
    else this.fresh.pushHead(slot);
  }

  onHit(slot: number): void {
    if (this.isOften[slot] === 1) this.often.moveToHead(slot);
  }

  onRemove(slot: number, cause: RemovalCause): void {
    if (this.isOften[slot] === 1) {
      this.often.remove(slot);
    } else {
      this.fresh.remove(slot);
      if (cause === 'evict') this.ghosts.push(this.blockOf[slot]);
    }
  }

  victim(_incoming: number, pinned: Pinned): number {
    const fromFresh = this.fresh.size > this.freshSlots;
    const slot = oldestFree(fromFresh ? this.fresh : this.often, pinned);
    return slot !== REFUSE ? slot : oldestFree(fromFresh ? this.often : this.fresh, pinned);
  }

  size(): number {
    return this.fresh.size + this.often.size;
  }
}

function oldestFree(list: SlotList, pinned: Pinned): number {
  return pinned.count === 0 ? list.tail : list.oldestClear(pinned.flags);
}

export default defineEviction({
  source: 'Johnson and Shasha, VLDB 1994, full version',
  params: {
    in: { type: 'number', default: 0.25, min: 0, max: 1, doc: 'share of slots for A1in' },
    out: { type: 'number', default: 0.5, min: 0, max: 10, doc: 'ghosts in A1out per slot' },
  },
  create: (context, params) => new TwoQ(context, params),
});
