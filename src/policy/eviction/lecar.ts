/**
 * LeCaR: two experts, LRU and LFU; which one chooses the victim is drawn by weights that sink when
 * its victims come back (regret). Vietri et al., HotStorage 2018, with libCacheSim's constants:
 * learning rate 0.45, discount 0.005^(1/slots) per access, ghosts of slots/2 for each expert.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  FrequencyList,
  GhostLists,
  type Pinned,
  type RemovalCause,
  SlotLinks,
  SlotList,
  SlotSampler,
} from '../../core/policy-kit.ts';

const NONE = -1;
/** The experts; each has its list of ghosts. */
const RECENCY = 0;
const FREQUENCY = 1;
/** Keeps both weights above zero. */
const WEIGHT_MIN = 1e-10;
/** What regret has faded to when a ghost is as old as the cache is large (the paper's constant). */
const DISCOUNT_OVER_CACHE = 0.005;

class LeCar implements EvictionPolicy {
  private readonly recency: SlotList;
  private readonly frequency: FrequencyList;
  private readonly ghosts: GhostLists;
  /** Ghosts that each expert may have. */
  private readonly ghostsMax: number;
  private readonly blockOf: Int32Array;
  /** When a remembered block went; by block, grows with the ids. */
  private goneAt = new Int32Array(64);
  private readonly dice: SlotSampler;
  private readonly learningRate: number;
  private readonly discount: number;
  private recencyWeight = 0.5;
  private clock = 0;
  private missing = NONE;
  private byRecency = false;

  constructor(context: EvictionContext, learningRate: number) {
    const slots = context.capacitySlots;
    this.recency = new SlotList(new SlotLinks(slots));
    this.frequency = new FrequencyList(slots);
    this.ghostsMax = slots >> 1;
    this.ghosts = new GhostLists(2 * this.ghostsMax, 2);
    this.blockOf = new Int32Array(slots);
    this.dice = new SlotSampler(0, () => context.random());
    this.learningRate = learningRate;
    this.discount = DISCOUNT_OVER_CACHE ** (1 / slots);
  }

  onMiss(block: number): void {
    this.missing = block;
    this.clock++;
    const expert = this.ghosts.delete(block);
    if (expert === RECENCY) {
      this.recencyWeight = 1 - this.blame(1 - this.recencyWeight, this.recencyWeight, block);
    } else if (expert === FREQUENCY) {
      this.recencyWeight = this.blame(this.recencyWeight, 1 - this.recencyWeight, block);
    }
  }

  onInsert(slot: number, block: number): void {
    if (block !== this.missing) this.onMiss(block);
    this.missing = NONE;
    this.blockOf[slot] = block;
    this.recency.pushHead(slot);
    this.frequency.add(slot);
  }

  onHit(slot: number): void {
    this.clock++;
    this.recency.moveToHead(slot);
    this.frequency.count(slot);
  }

  onRemove(slot: number, cause: RemovalCause): void {
    this.recency.remove(slot);
    this.frequency.remove(slot);
    if (cause !== 'evict') return;
    const block = this.blockOf[slot];
    if (block >= this.goneAt.length) this.grow(block);
    this.goneAt[block] = this.clock;
    const expert = this.byRecency ? RECENCY : FREQUENCY;
    if (this.ghosts.size(expert) === this.ghostsMax) this.ghosts.dropOldest(expert);
    this.ghosts.push(block, expert);
  }

  victim(_incoming: number, pinned: Pinned): number {
    const { recency, frequency } = this;
    this.byRecency = this.dice.uniform() < this.recencyWeight;
    if (pinned.count === 0) return this.byRecency ? recency.tail : frequency.lowest();
    return this.byRecency ? recency.oldestClear(pinned.flags) : frequency.lowestClear(pinned.flags);
  }

  size(): number {
    return this.recency.size;
  }

  /** New weight of the expert that was right, after the other one's victim came back. */
  private blame(right: number, wrong: number, block: number): number {
    const regret = this.discount ** (this.clock - this.goneAt[block]);
    const lowered = wrong * Math.exp(-this.learningRate * regret) + WEIGHT_MIN;
    return (right + WEIGHT_MIN) / (lowered + right + WEIGHT_MIN);
  }

  private grow(block: number): void {
    const grown = new Int32Array(Math.max(block + 1, 2 * this.goneAt.length));
    grown.set(this.goneAt);
    this.goneAt = grown;
  }
}

export default defineEviction({
  source: 'Vietri et al., HotStorage 2018; libCacheSim',
  params: {
    learningRate: { type: 'number', default: 0.45, min: 0, max: 10, doc: 'how fast weights move' },
  },
  create: (context, params) => new LeCar(context, params.learningRate),
});
