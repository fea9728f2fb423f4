/** One tier of a node that its peers may read: its slots, and what the directory is to hear. */
import { DeltaBuffer } from './delta-buffer.ts';
import type { EvictionPolicy } from './policy.ts';
import type { StoreSettings } from './settings.ts';
import { type Demoter, TierPool } from './tier-pool.ts';
import type { KvLayout, Node, Tier } from './topology.ts';

export interface TierWorld {
  readonly node: Node;
  readonly kv: KvLayout;
  readonly settings: StoreSettings;
  /** Makes the order of one tier; `instance` is the owner of an hbm tier, else -1. */
  readonly eviction: (tier: Tier, instance: number, capacitySlots: number) => EvictionPolicy;
}

export class SharedTier {
  readonly tier: Tier;
  readonly pool: TierPool;
  readonly delta: DeltaBuffer;

  constructor(
    world: TierWorld,
    tier: Tier,
    capacityBytes: number,
    blocks: number,
    demoter: Demoter | null,
  ) {
    const { kv, node, settings, eviction } = world;
    const slots = Math.floor(capacityBytes / (kv.blockTokens * kv.bytesPerToken[tier]));
    this.tier = tier;
    this.delta = new DeltaBuffer(node.id, tier, -1, settings.deltaLimitBlocks);
    this.pool = new TierPool(slots, blocks, eviction(tier, -1, slots), this.delta, demoter);
  }
}
