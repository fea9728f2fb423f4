/**
 * QD-LP-FIFO: quick demotion by a small FIFO queue, lazy promotion by a 2-bit clock as main queue,
 * and ghosts of what the small queue dropped. Yang et al., "FIFO can be better than LRU: the power
 * of lazy promotion and quick demotion", HotOS 2023, as libCacheSim has it: a block that was used
 * in the small queue moves to main when its turn comes, and main evicts at its own limit at that
 * moment, also when a ghost comes back and the tier has room. That takes `reclaim`; a tier that
 * asks for victims alone lets main stand above its limit until the next eviction.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  GhostLists,
  type Pinned,
  REFUSE,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

const NONE = -1;

/** Main is a clock with two bits. */
const MAIN_USES_MAX = 3;
const SMALL = 0;
const MAIN = 1;
/** Chosen to go; the tier's onRemove is on its way. */
const LEAVING = 2;

class Qdlp implements EvictionPolicy {
  private readonly small: SlotList;
  private readonly main: SlotList;
  private readonly ghosts: GhostLists;
  private readonly mainSlots: number;
  private readonly threshold: number;
  private readonly place: Uint8Array;
  private readonly uses: Uint8Array;
  private readonly blockOf: Int32Array;
  private readonly leaving: number[] = [];
  private missing = NONE;
  private wasGhost = false;

  constructor(
    context: EvictionContext,
    params: { readonly small: number; readonly ghost: number; readonly threshold: number },
  ) {
    const slots = context.capacitySlots;
    const links = new SlotLinks(slots);
    this.small = new SlotList(links);
    this.main = new SlotList(links);
    this.ghosts = new GhostLists(Math.floor(slots * params.ghost));
    this.mainSlots = slots - Math.floor(slots * params.small);
    this.threshold = params.threshold;
    this.place = new Uint8Array(slots);
    this.uses = new Uint8Array(slots);
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
    this.uses[slot] = 0;
    this.place[slot] = this.wasGhost ? MAIN : SMALL;
    if (this.wasGhost) this.main.pushHead(slot);
    else this.small.pushHead(slot);
    this.wasGhost = false;
  }

  onHit(slot: number): void {
    if (this.uses[slot] < MAIN_USES_MAX) this.uses[slot]++;
  }

  onRemove(slot: number): void {
    if (this.place[slot] === SMALL) this.small.remove(slot);
    else if (this.place[slot] === MAIN) this.main.remove(slot);
  }

  reclaim(count: number, pinned: Pinned): readonly number[] {
    this.leaving.length = 0;
    if (count > 0) this.makeRoom(count, pinned);
    if (this.wasGhost) this.limitMain(pinned);
    return this.leaving;
  }

  victim(_incoming: number, pinned: Pinned): number {
    this.leaving.length = 0;
    this.makeRoom(1, pinned);
    return this.leaving.length > 0 ? this.leaving[0] : REFUSE;
  }

  size(): number {
    return this.small.size + this.main.size;
  }

  /** Work off the small queue until enough slots leave, then main. */
  private makeRoom(count: number, pinned: Pinned): void {
    const { small, main } = this;
    let slot = small.tail;
    while (slot !== REFUSE && this.leaving.length < count) {
      const next = small.newerThan(slot);
      if (pinned.count === 0 || pinned.flags[slot] === 0) {
        if (this.uses[slot] >= this.threshold) {
          this.limitMain(pinned);
          small.remove(slot);
          main.pushHead(slot);
          this.place[slot] = MAIN;
          this.uses[slot] = 0;
        } else {
          small.remove(slot);
          this.ghosts.push(this.blockOf[slot]);
          this.leave(slot);
        }
      }
      slot = next;
    }
    while (this.leaving.length < count && this.evictMain(pinned));
  }

  /** Make room for one more in main. */
  private limitMain(pinned: Pinned): void {
    if (this.main.size >= this.mainSlots) this.evictMain(pinned);
  }

  /** One turn of main's clock; false when all of it is pinned. */
  private evictMain(pinned: Pinned): boolean {
    const { main, uses } = this;
    let slot = main.tail;
    while (slot !== REFUSE) {
      const next = main.newerThan(slot);
      if (pinned.count === 0 || pinned.flags[slot] === 0) {
        if (uses[slot] === 0) {
          main.remove(slot);
          this.leave(slot);
          return true;
        }
        uses[slot]--;
        main.moveToHead(slot);
        slot = next === REFUSE ? slot : next;
      } else {
        slot = next;
      }
    }
    return false;
  }

  private leave(slot: number): void {
    this.place[slot] = LEAVING;
    this.leaving.push(slot);
  }
}

export default defineEviction({
  source: 'Yang et al., HotOS 2023; libCacheSim',
  params: {
    small: { type: 'number', default: 0.1, min: 0, max: 1, doc: 'share of slots for small' },
    ghost: { type: 'number', default: 0.9, min: 0, max: 10, doc: 'ghosts per slot' },
    threshold: {
      type: 'integer',
      default: 1,
      min: 1,
      max: 3,
      doc: 'hits in small that lead to main',
    },
  },
  create: (context, params) => new Qdlp(context, params),
});
