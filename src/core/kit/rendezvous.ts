/**
 * Weighted rendezvous hashing: each key ranks the nodes. A node that comes or goes changes nothing
 * but its own place in each rank, so only its share of the keys gets another first node. Thaler
 * and Ravishankar, ToN '98; weights: Schindelhauer and Schomaker, SPAA '05 (logarithmic method).
 */
import { finish } from './hash128.ts';

export interface RankedNode {
  /** Of the node's name: what it is called elsewhere plays no part. */
  readonly hash: number;
  /** Above 0; the share of the keys that it is first for. */
  readonly weight: number;
}

/** Places of `nodes` in the order in which a key with this hash prefers them. */
export function rank(keyHash: number, nodes: readonly RankedNode[]): number[] {
  const mixed = finish(keyHash);
  const costs = nodes.map((node) => cost(mixed, node));
  return nodes.map((_, place) => place).sort((a, b) => costs[a] - costs[b] || a - b);
}

/** The first of `rank`; there is a node. */
export function best(keyHash: number, nodes: readonly RankedNode[]): number {
  if (nodes.length === 1) return 0;
  const mixed = finish(keyHash);
  let least = Number.POSITIVE_INFINITY;
  let place = 0;
  for (let i = 0; i < nodes.length; i++) {
    const own = cost(mixed, nodes[i]);
    if (own >= least) continue;
    least = own;
    place = i;
  }
  return place;
}

/** Exponential with the node's weight as its rate: the least is its with its share of chance. */
function cost(mixed: number, { hash, weight }: RankedNode): number {
  const share = ((finish(mixed ^ hash) >>> 0) + 0.5) / 2 ** 32;
  return -Math.log(share) / weight;
}
