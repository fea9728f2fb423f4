/**
 * A block's hash names a bucket, the bucket map its node: every node finds a block without asking
 * anyone, and a node that joins or leaves moves as few buckets as balance allows. Nodes own buckets
 * by their DRAM.
 */
import {
  BucketMap,
  definePlacement,
  type PlacementContext,
  type PlacementPolicy,
} from '../../core/policy-kit.ts';

class ByBucket implements PlacementPolicy {
  readonly spreads = true;
  private readonly map: BucketMap;

  constructor({ nodes }: PlacementContext, buckets: number) {
    this.map = BucketMap.of(
      buckets,
      nodes.map(({ id, dramSlots }) => ({ id, weight: dramSlots })),
    );
  }

  place(block: number): number {
    return this.map.nodeOf(block);
  }
}

export default definePlacement({
  source: 'slots of Redis Cluster, moved by largest remainders',
  params: {
    buckets: { type: 'integer', default: 4096, min: 1, max: 1_048_576, doc: 'in the map' },
  },
  create: (context, { buckets }) => new ByBucket(context, buckets),
});
