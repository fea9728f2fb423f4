/**
 * S3-FIFO: a small queue filters blocks that are used once, a main queue keeps the others, a ghost
 * list of ids lets those that come back soon straight into main. Yang et al., SOSP 2023, with the
 * rules of the authors' simulator libCacheSim where the paper leaves room: `small` is not bounded
 * until the tier is full; a block leaves small for main with its count reset; ghosts are forgotten
 * in the order in which they came. The paper's Algorithm 1 moves on more than one use
 * (threshold=2).
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

/** Main counts with two bits. */
const MAIN_USES_MAX = 3;

interface S3FifoParams {
  readonly small: number;
  readonly ghost: number;
  readonly threshold: number;
}

class S3Fifo implements EvictionPolicy {
  private readonly small: SlotList;
  private readonly main: SlotList;
  private readonly ghosts: GhostLists;
  private readonly mainSlots: number;
  private readonly threshold: number;
  private readonly usesMax: number;
  private readonly inMain: Uint8Array;
  private readonly uses: Uint8Array;
  private readonly blockOf: Int32Array;
  /** The block that is missing now, and whether it was a ghost. */
  private missing = NONE;
  private wasGhost = false;

  constructor(context: EvictionContext, params: S3FifoParams) {
    const slots = context.capacitySlots;
    const links = new SlotLinks(slots);
    this.small = new SlotList(links);
    this.main = new SlotList(links);
    this.ghosts = new GhostLists(Math.floor(slots * params.ghost));
    this.mainSlots = slots - Math.floor(slots * params.small);
    this.threshold = params.threshold;
    this.usesMax = Math.max(MAIN_USES_MAX, params.threshold);
    this.inMain = new Uint8Array(slots);
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
    if (this.wasGhost) {
      this.inMain[slot] = 1;
      this.main.pushHead(slot);
    } else {
      this.inMain[slot] = 0;
      this.small.pushHead(slot);
    }
  }

  onHit(slot: number): void {
    const uses = this.uses[slot];
    if (uses < this.usesMax) this.uses[slot] = uses + 1;
  }

  onRemove(slot: number, cause: RemovalCause): void {
    if (this.inMain[slot] === 1) {
      this.main.remove(slot);
    } else {
      this.small.remove(slot);
      if (cause === 'evict') this.ghosts.push(this.blockOf[slot]);
    }
  }

  victim(_incoming: number, pinned: Pinned): number {
    if (this.main.size <= this.mainSlots) {
      const slot = this.sweepSmall(pinned);
      if (slot !== REFUSE) return slot;
    }
    const slot = this.sweepMain(pinned);
    return slot !== REFUSE ? slot : this.sweepSmall(pinned);
  }

  size(): number {
    return this.small.size + this.main.size;
  }

  /** Move used blocks to main until one is found that was not used enough; -1 when none is. */
  private sweepSmall(pinned: Pinned): number {
    const { small, main, uses } = this;
    let slot = small.tail;
    while (slot !== REFUSE) {
      const next = small.newerThan(slot);
      if (pinned.count === 0 || pinned.flags[slot] === 0) {
        if (uses[slot] < this.threshold) return slot;
        small.remove(slot);
        main.pushHead(slot);
        this.inMain[slot] = 1;
        uses[slot] = 0;
      }
      slot = next;
    }
    return REFUSE;
  }

  /** Reinsert used blocks until an unused one is found; -1 when all are pinned. */
  private sweepMain(pinned: Pinned): number {
    const { main, uses } = this;
    let slot = main.tail;
    while (slot !== REFUSE) {
      const next = main.newerThan(slot);
      if (pinned.count === 0 || pinned.flags[slot] === 0) {
        if (uses[slot] === 0) return slot;
        uses[slot] = Math.min(uses[slot], MAIN_USES_MAX) - 1;
        main.moveToHead(slot);
        slot = next === REFUSE ? slot : next;
      } else {
        slot = next;
      }
    }
    return REFUSE;
  }
}

export default defineEviction({
  source: 'Yang et al., SOSP 2023; libCacheSim',
  params: {
    small: { type: 'number', default: 0.1, min: 0, max: 1, doc: 'share of slots for small' },
    ghost: { type: 'number', default: 0.9, min: 0, max: 10, doc: 'ghosts per slot' },
    threshold: {
      type: 'integer',
      default: 2,
      min: 1,
      max: 255,
      doc: 'hits in small that lead to main',
    },
  },
  create: (context, params) => new S3Fifo(context, params),
});
