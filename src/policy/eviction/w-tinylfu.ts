/**
 * W-TinyLFU: new blocks pass through a small LRU window; what leaves it enters the main cache, a
 * segmented LRU of probation and protected blocks, only if a sketch of past uses says that it is
 * used more often than the block that would go for it. Einziger, Friedman and Manes, ACM
 * Transactions on Storage 13:4 (2017).
 *
 * `rule=libcachesim` follows the authors' peer: uses are counted at insertion, at hits in main and
 * when a block's turn in the window ends, with a plain counting Bloom filter, halved after 32 hits
 * in main per slot; a block enters main in the lowest segment with room; the segments' shares are
 * truncated, and probation evicts at its own limit when a demotion overflows it (through
 * `reclaim`, so at the next miss). `rule=paper` counts every access once, with conservative
 * update, and halves after 10 accesses per slot; a block enters main in probation.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  FrequencySketch,
  type Pinned,
  REFUSE,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

const WINDOW = 0;
const PROBATION = 1;
const PROTECTED = 2;
/** Chosen to go; the tier's onRemove is on its way. */
const LEAVING = 3;

const NOBODY: readonly number[] = [];

/** Counters per slot of main: half a cache line of the sketch. */
const COUNTERS_PER_SLOT = 16;
/** Counted uses per slot after which all counts are halved. */
const SAMPLE = { libcachesim: 32, paper: 10 };

class WTinyLfu implements EvictionPolicy {
  private readonly window: SlotList;
  private readonly probation: SlotList;
  private readonly guarded: SlotList;
  private readonly windowSlots: number;
  private readonly mainSlots: number;
  private readonly probationSlots: number;
  private readonly guardedSlots: number;
  private readonly place: Uint8Array;
  private readonly blockOf: Int32Array;
  private readonly sketch: FrequencySketch;
  private readonly paper: boolean;
  private readonly sample: number;
  private counted = 0;
  /** Demotions that overflowed probation and are not paid for yet. */
  private surplus = 0;
  private readonly leaving: number[] = [];

  constructor(
    context: EvictionContext,
    params: { readonly window: number; readonly protected: number; readonly rule: string },
  ) {
    const slots = context.capacitySlots;
    const links = new SlotLinks(slots);
    this.window = new SlotList(links);
    this.probation = new SlotList(links);
    this.guarded = new SlotList(links);
    this.windowSlots = Math.floor(slots * params.window);
    this.mainSlots = slots - this.windowSlots;
    this.guardedSlots = Math.floor(this.mainSlots * params.protected);
    this.paper = params.rule === 'paper';
    this.probationSlots = this.paper
      ? this.mainSlots - this.guardedSlots
      : Math.floor(this.mainSlots * (1 - params.protected) + 1e-9);
    this.place = new Uint8Array(slots);
    this.blockOf = new Int32Array(slots);
    this.sketch = new FrequencySketch(COUNTERS_PER_SLOT * this.mainSlots);
    this.sample = (this.paper ? SAMPLE.paper : SAMPLE.libcachesim) * this.mainSlots;
  }

  onInsert(slot: number, block: number): void {
    this.blockOf[slot] = block;
    this.place[slot] = WINDOW;
    this.window.pushHead(slot);
    if (this.paper) this.count(block);
    else this.sketch.add(block);
  }

  onHit(slot: number): void {
    const place = this.place[slot];
    if (place === WINDOW) this.window.moveToHead(slot);
    else if (place === PROTECTED) this.guarded.moveToHead(slot);
    else this.promote(slot);
    if (place !== WINDOW || this.paper) this.count(this.blockOf[slot]);
  }

  onRemove(slot: number): void {
    const place = this.place[slot];
    if (place === WINDOW) this.window.remove(slot);
    else if (place === PROBATION) this.probation.remove(slot);
    else if (place === PROTECTED) this.guarded.remove(slot);
  }

  reclaim(_count: number, pinned: Pinned): readonly number[] {
    if (this.surplus === 0) return NOBODY;
    this.leaving.length = 0;
    while (this.surplus > 0) {
      this.surplus--;
      const slot = oldestFree(this.probation, pinned);
      if (slot === REFUSE) continue;
      this.probation.remove(slot);
      this.place[slot] = LEAVING;
      this.leaving.push(slot);
    }
    return this.leaving;
  }

  victim(_incoming: number, pinned: Pinned): number {
    const { sketch, blockOf } = this;
    for (;;) {
      const candidate = oldestFree(this.window, pinned);
      const rival = this.mainVictim(pinned);
      if (candidate === REFUSE) return rival;
      const block = blockOf[candidate];
      if (this.probation.size + this.guarded.size < this.mainSlots) {
        this.window.remove(candidate);
        this.enterMain(candidate);
        if (!this.paper) sketch.add(block);
        continue;
      }
      if (rival === REFUSE) return candidate;
      const rivalUses = sketch.estimate(blockOf[rival]);
      const uses = this.paper ? sketch.estimate(block) : sketch.add(block);
      if (uses <= rivalUses) return candidate;
      this.onRemove(rival);
      this.place[rival] = LEAVING;
      this.window.remove(candidate);
      this.enterMain(candidate);
      return rival;
    }
  }

  size(): number {
    return this.window.size + this.probation.size + this.guarded.size;
  }

  private count(block: number): void {
    if (this.paper) this.sketch.addLeast(block);
    else this.sketch.add(block);
    this.counted++;
    if (this.counted < this.sample) return;
    this.counted = 0;
    this.sketch.halve();
  }

  private promote(slot: number): void {
    const { probation, guarded } = this;
    probation.remove(slot);
    guarded.pushHead(slot);
    this.place[slot] = PROTECTED;
    if (guarded.size <= this.guardedSlots) return;
    const demoted = guarded.tail;
    guarded.remove(demoted);
    probation.pushHead(demoted);
    this.place[demoted] = PROBATION;
    if (!this.paper && probation.size > this.probationSlots) this.surplus++;
  }

  private enterMain(slot: number): void {
    const full = !this.paper && this.probation.size >= this.probationSlots;
    const guard = full && this.guarded.size < this.guardedSlots;
    this.place[slot] = guard ? PROTECTED : PROBATION;
    if (guard) this.guarded.pushHead(slot);
    else this.probation.pushHead(slot);
  }

  private mainVictim(pinned: Pinned): number {
    const slot = oldestFree(this.probation, pinned);
    return slot !== REFUSE ? slot : oldestFree(this.guarded, pinned);
  }
}

function oldestFree(list: SlotList, pinned: Pinned): number {
  return pinned.count === 0 ? list.tail : list.oldestClear(pinned.flags);
}

export default defineEviction({
  source: 'Einziger, Friedman and Manes, ACM TOS 13:4 (2017); libCacheSim',
  params: {
    window: { type: 'number', default: 0.01, min: 0, max: 1, doc: 'share of slots for the window' },
    protected: { type: 'number', default: 0.8, min: 0, max: 1, doc: 'protected share of main' },
    rule: {
      type: 'choice',
      default: 'libcachesim',
      choices: ['libcachesim', 'paper'],
      doc: 'what is counted as a use, and how main fills',
    },
  },
  create: (context, params) => new WTinyLfu(context, params),
});
