/**
 * Time to live: a block leaves when it was not used (or, with `refresh=false`, not written) for
 * `ttl` seconds. When room is needed earlier, the block that would leave first goes: LRU, or FIFO.
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

class Ttl implements EvictionPolicy {
  private readonly context: EvictionContext;
  private readonly ttlNs: number;
  private readonly refresh: boolean;
  /** In order of expiry. */
  private readonly order: SlotList;
  private readonly expiryNs: Float64Array;
  private readonly expired: number[] = [];

  constructor(context: EvictionContext, ttlSeconds: number, refresh: boolean) {
    this.context = context;
    this.ttlNs = ttlSeconds * NS_PER_S;
    this.refresh = refresh;
    this.order = new SlotList(new SlotLinks(context.capacitySlots));
    this.expiryNs = new Float64Array(context.capacitySlots);
  }

  onInsert(slot: number): void {
    this.expiryNs[slot] = this.context.nowNs + this.ttlNs;
    this.order.pushHead(slot);
  }

  onHit(slot: number): void {
    if (!this.refresh) return;
    this.expiryNs[slot] = this.context.nowNs + this.ttlNs;
    this.order.moveToHead(slot);
  }

  onRemove(slot: number): void {
    this.order.remove(slot);
  }

  reclaim(_count: number, pinned: Pinned): readonly number[] {
    const { order, expired } = this;
    expired.length = 0;
    let slot = order.tail;
    while (slot !== REFUSE && this.expiryNs[slot] <= this.context.nowNs) {
      if (pinned.flags[slot] === 0) expired.push(slot);
      slot = order.newerThan(slot);
    }
    return expired;
  }

  victim(_incoming: number, pinned: Pinned): number {
    return pinned.count === 0 ? this.order.tail : this.order.oldestClear(pinned.flags);
  }

  size(): number {
    return this.order.size;
  }
}

export default defineEviction({
  source: "textbook; the default is five minutes, as hosted models' prompt caches have it",
  params: {
    ttl: { type: 'number', default: 300, min: 0, doc: 'seconds to live' },
    refresh: { type: 'boolean', default: true, doc: 'a hit starts the time anew' },
  },
  create: (context, params) => new Ttl(context, params.ttl, params.refresh),
});
