/**
 * Spreads blocks over nodes: a block's hash names a bucket, the map names the bucket's node. Nodes
 * own buckets in proportion to their weights, to within one bucket, and a change of nodes moves as
 * few buckets as that allows. Versioned and plain: the live cluster keeps it in its registry.
 */
import { assert, InputError } from './errors.ts';

export interface WeightedNode {
  readonly id: number;
  /** Above 0; the share of the buckets, such as the node's capacity. */
  readonly weight: number;
}

/** A map as plain data; `owners[bucket]` is a node. */
export interface BucketMapData {
  readonly version: number;
  readonly owners: readonly number[];
}

const NOBODY = -1;

export class BucketMap {
  readonly version: number;
  private readonly owners: Int32Array;

  private constructor(version: number, owners: Int32Array) {
    this.version = version;
    this.owners = owners;
  }

  /** A first map, version 1. There must be a node. */
  static of(buckets: number, nodes: readonly WeightedNode[]): BucketMap {
    assert(Number.isSafeInteger(buckets) && buckets > 0, 'a map without buckets');
    const empty = new BucketMap(0, new Int32Array(buckets).fill(NOBODY));
    return empty.withNodes(nodes);
  }

  /** @throws InputError when `data` is not what `toData` gave */
  static from(data: unknown): BucketMap {
    const { version, owners } = (data ?? {}) as Partial<BucketMapData>;
    const whole = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
    if (!whole(version) || !Array.isArray(owners) || owners.length === 0 || !owners.every(whole)) {
      throw new InputError('found no bucket map, expected {version, owners: [node, …]}');
    }
    return new BucketMap(version as number, Int32Array.from(owners));
  }

  toData(): BucketMapData {
    return { version: this.version, owners: [...this.owners] };
  }

  get buckets(): number {
    return this.owners.length;
  }

  /** Node of a bucket. */
  owner(bucket: number): number {
    return this.owners[bucket];
  }

  /** Node of a block, by 32 bits of its hash (the simulator's ids do as well). */
  nodeOf(hash: number): number {
    return this.owners[this.bucketOf(hash)];
  }

  bucketOf(hash: number): number {
    return bucketOf(hash, this.owners.length);
  }

  /**
   * The map for these nodes, one version later: of all maps that give each node its share to within
   * one bucket, one that moves the fewest.
   */
  withNodes(nodes: readonly WeightedNode[]): BucketMap {
    const targets = this.targets(nodes);
    const owners = this.owners.slice();
    const left = new Map(targets);
    const homeless: number[] = [];
    for (const [bucket, node] of owners.entries()) {
      const more = left.get(node) ?? 0;
      if (more > 0) left.set(node, more - 1);
      else homeless.push(bucket);
    }
    let next = 0;
    for (const [node, more] of left) {
      for (let i = 0; i < more; i++) owners[homeless[next++]] = node;
    }
    return new BucketMap(this.version + 1, owners);
  }

  /** Buckets that another map gives to another node. */
  moved(to: BucketMap): number[] {
    const moved: number[] = [];
    for (const [bucket, node] of this.owners.entries()) {
      if (to.owners[bucket] !== node) moved.push(bucket);
    }
    return moved;
  }

  /**
   * Buckets that each node is to own: its share rounded down, and the rest one each, first to those
   * that own more now (each saves a move), then by the larger fraction, then by id.
   */
  private targets(nodes: readonly WeightedNode[]): Map<number, number> {
    assert(nodes.length > 0, 'a map without nodes');
    const total = nodes.reduce((sum, { weight }) => sum + weight, 0);
    const owned = new Map<number, number>();
    for (const node of this.owners) owned.set(node, (owned.get(node) ?? 0) + 1);
    let rest = this.owners.length;
    const shares = nodes.map(({ id, weight }) => {
      assert(weight > 0, 'a node without weight');
      const exact = (this.owners.length * weight) / total;
      const whole = Math.floor(exact);
      rest -= whole;
      return { id, whole, fraction: exact - whole, saves: (owned.get(id) ?? 0) > whole };
    });
    const order = [...shares].sort(
      (a, b) =>
        Number(b.fraction > 0) - Number(a.fraction > 0) ||
        Number(b.saves) - Number(a.saves) ||
        b.fraction - a.fraction ||
        a.id - b.id,
    );
    const extra = new Set(order.slice(0, rest).map(({ id }) => id));
    const byId = shares.sort((a, b) => a.id - b.id);
    return new Map(byId.map(({ id, whole }) => [id, whole + (extra.has(id) ? 1 : 0)]));
  }
}

/** The bucket of a block, by 32 bits of its hash, among so many. */
export function bucketOf(hash: number, buckets: number): number {
  return Math.floor((mix(hash) / 2 ** 32) * buckets);
}

/** 32 well mixed bits (MurmurHash3's finaliser). */
function mix(hash: number): number {
  let bits = hash | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
