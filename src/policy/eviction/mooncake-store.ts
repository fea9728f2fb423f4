/**
 * The eviction of Mooncake's store as its code has it (kvcache-ai/Mooncake, mooncake-store/src/
 * master_service.cpp, EvictionThreadFunc and BatchEvict, 2026): a thread looks every 10 ms and,
 * above a watermark or when an allocation failed, evicts a share of the objects in order of the
 * end of their lease. A write sets that end to now, a read to now plus the lease; so it is near
 * LRU, with a read worth one lease more than a write, and blocks under a live lease stay. Objects
 * with equal ends go in one round.
 *
 * Departs: one list instead of 1,024 shards; a failed allocation evicts at once, where the store
 * lets the writer fail and evicts at the next tick; no soft pins. Existence probes, which renew
 * leases, are hits here. The watermark needs a tier that calls `reclaim` before it is full.
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

const NS_PER_S = 1e9;
/** kEvictionThreadSleepMs. */
const TICK_NS = 10e6;

interface MooncakeStoreParams {
  readonly lease: number;
  readonly watermark: number;
  readonly ratio: number;
}

class MooncakeStore implements EvictionPolicy {
  private readonly context: EvictionContext;
  private readonly leaseNs: number;
  private readonly watermark: number;
  private readonly ratio: number;
  /** Blocks that were never read, and the others; each in order of the end of the lease. */
  private readonly written: SlotList;
  private readonly read: SlotList;
  private readonly wasRead: Uint8Array;
  private readonly leaseEndNs: Float64Array;
  private nextTickNs = 0;
  private readonly round: number[] = [];

  constructor(context: EvictionContext, params: MooncakeStoreParams) {
    const slots = context.capacitySlots;
    const links = new SlotLinks(slots);
    this.context = context;
    this.leaseNs = params.lease * NS_PER_S;
    this.watermark = params.watermark;
    this.ratio = params.ratio;
    this.written = new SlotList(links);
    this.read = new SlotList(links);
    this.wasRead = new Uint8Array(slots);
    this.leaseEndNs = new Float64Array(slots);
  }

  onInsert(slot: number): void {
    this.wasRead[slot] = 0;
    this.leaseEndNs[slot] = this.context.nowNs;
    this.written.pushHead(slot);
  }

  onHit(slot: number): void {
    this.onRemove(slot);
    this.wasRead[slot] = 1;
    this.leaseEndNs[slot] = this.context.nowNs + this.leaseNs;
    this.read.pushHead(slot);
  }

  onRemove(slot: number): void {
    if (this.wasRead[slot] === 1) this.read.remove(slot);
    else this.written.remove(slot);
  }

  reclaim(count: number, pinned: Pinned): readonly number[] {
    const { nowNs, capacitySlots } = this.context;
    this.round.length = 0;
    const used = this.size() / capacitySlots;
    if (count === 0) {
      if (nowNs < this.nextTickNs) return this.round;
      this.nextTickNs = nowNs + TICK_NS;
      if (used <= this.watermark) return this.round;
    }
    const share = Math.max(this.ratio, used - this.watermark + this.ratio);
    this.collect(Math.max(count, Math.ceil(share * this.size())), pinned);
    return this.round;
  }

  victim(_incoming: number, pinned: Pinned): number {
    this.round.length = 0;
    this.collect(1, pinned);
    return this.round.length > 0 ? this.round[0] : REFUSE;
  }

  size(): number {
    return this.written.size + this.read.size;
  }

  /** The first `count` slots by the end of their leases, and all that tie with the last of them. */
  private collect(count: number, pinned: Pinned): void {
    const { written, read, leaseEndNs, round } = this;
    let a = written.tail;
    let b = read.tail;
    let lastEndNs = Number.NEGATIVE_INFINITY;
    while (a !== REFUSE || b !== REFUSE) {
      const fromWritten = b === REFUSE || (a !== REFUSE && leaseEndNs[a] <= leaseEndNs[b]);
      const slot = fromWritten ? a : b;
      const endNs = leaseEndNs[slot];
      if (endNs > this.context.nowNs || (round.length >= count && endNs > lastEndNs)) return;
      if (pinned.count === 0 || pinned.flags[slot] === 0) {
        round.push(slot);
        lastEndNs = endNs;
      }
      if (fromWritten) a = written.newerThan(a);
      else b = read.newerThan(b);
    }
  }
}

export default defineEviction({
  source: 'kvcache-ai/Mooncake master_service.cpp, 2026',
  params: {
    lease: { type: 'number', default: 10, min: 0, doc: 'seconds of a read lease' },
    watermark: { type: 'number', default: 0.9, min: 0, max: 1, doc: 'used share that evicts' },
    ratio: { type: 'number', default: 0.05, min: 0, max: 1, doc: 'least share evicted in a round' },
  },
  create: (context, params) => new MooncakeStore(context, params),
});
