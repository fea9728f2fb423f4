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
  type PlacementView,
  type WeightedNode,
} from '../../core/policy-kit.ts';

class ByBucket implements PlacementPolicy {
  readonly spreads = true;
  private map: BucketMap;
  private readonly all: readonly WeightedNode[];
  /** Whom the map is for; null: unknown. */
  private nodes: readonly number[] | null = null;

  constructor({ nodes }: PlacementContext, buckets: number) {
    this.all = nodes.map(({ id, dramSlots }) => ({ id, weight: dramSlots }));
    this.map = BucketMap.of(buckets, this.all);
  }

  place(block: number, _ownNode: number, { nodes }: PlacementView): number {
    return this.mapFor(nodes).nodeOf(block);
  }

  mapFor(nodes: readonly number[]): BucketMap {
    if (nodes !== this.nodes) {
      this.nodes = nodes;
      const next = this.map.withNodes(this.all.filter(({ id }) => nodes.includes(id)));
      if (this.map.moved(next).length > 0) this.map = next;
    }
    return this.map;
  }

  adopt(map: BucketMap): void {
    if (map.buckets !== this.map.buckets) return;
    this.map = map;
    this.nodes = null;
  }
}

export default definePlacement({
  source: 'slots of Redis Cluster, moved by largest remainders',
  params: {
    buckets: { type: 'integer', default: 4096, min: 1, max: 1_048_576, doc: 'in the map' },
  },
  create: (context, { buckets }) => new ByBucket(context, buckets),
});
