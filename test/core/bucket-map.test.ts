/** The bucket map: shares to within one bucket, and as few moves as that allows. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BucketMap, type WeightedNode } from '../../src/core/bucket-map.ts';

const equal = (...ids: number[]): WeightedNode[] => ids.map((id) => ({ id, weight: 1 }));

function counts(map: BucketMap): Map<number, number> {
  const owned = new Map<number, number>();
  for (let b = 0; b < map.buckets; b++) {
    owned.set(map.owner(b), (owned.get(map.owner(b)) ?? 0) + 1);
  }
  return owned;
}

/** Each node has its share, rounded down or up. */
function expectBalanced(map: BucketMap, nodes: readonly WeightedNode[]): void {
  const total = nodes.reduce((sum, { weight }) => sum + weight, 0);
  const owned = counts(map);
  for (const { id, weight } of nodes) {
    const share = (map.buckets * weight) / total;
    const has = owned.get(id) ?? 0;
    expect(Math.abs(has - share)).toBeLessThan(1);
    owned.delete(id);
  }
  expect(owned.size).toBe(0);
}

/** Fewest moves of any balanced map, by trying every way to hand out the rest. */
function fewestMoves(map: BucketMap, nodes: readonly WeightedNode[]): number {
  const total = nodes.reduce((sum, { weight }) => sum + weight, 0);
  const owned = counts(map);
  const shares = nodes.map(({ weight }) => (map.buckets * weight) / total);
  const floors = shares.map(Math.floor);
  const rest = map.buckets - floors.reduce((sum, n) => sum + n, 0);
  let fewest = Number.POSITIVE_INFINITY;
  for (let pick = 0; pick < 1 << nodes.length; pick++) {
    const extra = nodes.map((_, i) => (pick >> i) & 1);
    const legal = extra.every((more, i) => more === 0 || shares[i] > floors[i]);
    if (!legal || extra.reduce((sum, n) => sum + n, 0) !== rest) continue;
    let stay = 0;
    for (const [i, { id }] of nodes.entries()) {
      stay += Math.min(owned.get(id) ?? 0, floors[i] + extra[i]);
    }
    fewest = Math.min(fewest, map.buckets - stay);
  }
  return fewest;
}

const nodesOf = (most: number) =>
  fc
    .uniqueArray(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: most })
    .chain((ids) =>
      fc
        .array(fc.integer({ min: 1, max: 5 }), { minLength: ids.length, maxLength: ids.length })
        .map((weights) => ids.map((id, i) => ({ id, weight: weights[i] }))),
    );

describe('a bucket map', () => {
  it('gives every node its share and moves the fewest buckets, whatever changes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 }),
        fc.array(nodesOf(6), { minLength: 1, maxLength: 5 }),
        (buckets, changes) => {
          let map = BucketMap.of(buckets, changes[0]);
          expectBalanced(map, changes[0]);
          for (const nodes of changes.slice(1)) {
            const next = map.withNodes(nodes);
            expectBalanced(next, nodes);
            expect(map.moved(next).length).toBe(fewestMoves(map, nodes));
            expect(next.version).toBe(map.version + 1);
            map = next;
          }
        },
      ),
    );
  });

  it('moves to a node that joins, from one that leaves, and nothing else', () => {
    const four = BucketMap.of(4096, equal(0, 1, 2, 3));
    const five = four.withNodes(equal(0, 1, 2, 3, 4));
    const joined = four.moved(five);
    expect(joined.length).toBeLessThanOrEqual(Math.ceil(4096 / 5));
    expect(joined.every((bucket) => five.owner(bucket) === 4)).toBe(true);
    const left = five.withNodes(equal(0, 1, 3, 4));
    const moved = five.moved(left);
    expect(moved.length).toBeLessThanOrEqual(Math.ceil(4096 / 5));
    expect(moved.every((bucket) => five.owner(bucket) === 2)).toBe(true);
  });

  it('follows weights', () => {
    const map = BucketMap.of(100, [
      { id: 7, weight: 3 },
      { id: 8, weight: 1 },
    ]);
    expect([...counts(map)]).toEqual([
      [7, 75],
      [8, 25],
    ]);
  });

  it('spreads ids that follow each other', () => {
    const map = BucketMap.of(4096, equal(0, 1, 2, 3, 4, 5, 6, 7));
    const hits = new Array(8).fill(0);
    for (let id = 0; id < 80_000; id++) hits[map.nodeOf(id)]++;
    for (const hit of hits) expect(Math.abs(hit / 10_000 - 1)).toBeLessThan(0.1);
  });

  it('is plain data and back', () => {
    const map = BucketMap.of(12, equal(3, 5));
    const data = JSON.parse(JSON.stringify(map.toData()));
    const again = BucketMap.from(data);
    expect(again.toData()).toEqual(map.toData());
    expect(again.moved(map)).toEqual([]);
  });

  it.each([null, {}, { version: 1 }, { version: 1, owners: [] }, { version: -1, owners: [1] }])(
    'is not %j',
    (data) => {
      expect(() => BucketMap.from(data)).toThrow('found no bucket map, expected');
    },
  );

  it('of no nodes is a mistake', () => {
    expect(() => BucketMap.of(4, [])).toThrow('a map without nodes');
    expect(() => BucketMap.of(4, [{ id: 0, weight: 0 }])).toThrow('a node without weight');
  });
});
