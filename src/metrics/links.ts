/** Links and buses: which of them a transfer crosses, and what those of a node can move. */
import type { Place, Transfer } from '../core/host.ts';
import { type Node, Tier } from '../core/topology.ts';

/** Of one node, each direction apart; rails are striped evenly and count as one. */
export const NODE_LINKS = [
  'railsOut',
  'railsIn',
  'hostToDevice',
  'deviceToHost',
  'ssdRead',
  'ssdWrite',
] as const;
export type NodeLink = (typeof NODE_LINKS)[number];
export type SsdLink = 'ssdRead' | 'ssdWrite';

/** Bytes are counted on each of these that a transfer crosses. */
export const RESOURCE_KINDS = [...NODE_LINKS, 'fabric'] as const;
export type ResourceKind = (typeof RESOURCE_KINDS)[number];

export interface Crossing {
  readonly kind: ResourceKind;
  /** Place of the kind in RESOURCE_KINDS. */
  readonly row: number;
  /** 0 for the fabric. */
  readonly node: number;
}

const TIERS = 3;
/** Answers so far, by the four numbers that decide. */
const known = new Map<number, readonly Crossing[]>();

/** The links on a transfer's way; the same list for equal ways. */
export function crossings({ source, target }: Transfer): readonly Crossing[] {
  const ends = (source.node * TIERS + source.tier) * 2 ** 20 + target.node * TIERS + target.tier;
  let crossed = known.get(ends);
  if (crossed === undefined) {
    crossed = crossingsOf(source, target);
    known.set(ends, crossed);
  }
  return crossed;
}

function crossingsOf(source: Place, target: Place): Crossing[] {
  const crossed: Crossing[] = [];
  const add = (kind: ResourceKind, node: number) =>
    crossed.push({ kind, row: RESOURCE_KINDS.indexOf(kind), node });
  const remote = source.node !== target.node;
  if (source.tier === Tier.ssd) add('ssdRead', source.node);
  if (remote) {
    add('railsOut', source.node);
    add('railsIn', target.node);
    add('fabric', 0);
  } else {
    if (source.tier === Tier.hbm) add('deviceToHost', source.node);
    if (target.tier === Tier.hbm) add('hostToDevice', target.node);
  }
  if (target.tier === Tier.ssd) add('ssdWrite', target.node);
  return crossed;
}

/** The links that a node has: without SSD, none of theirs. */
export function linksOf(node: Node): readonly NodeLink[] {
  return node.ssdCapacityBytes > 0 ? NODE_LINKS : MEMORY_LINKS;
}

const MEMORY_LINKS = NODE_LINKS.filter((link) => !link.startsWith('ssd'));

/** What each link of a node can move, bytes per ns. */
export function linkBytesPerNs(node: Node): Readonly<Record<NodeLink, number>> {
  const rails = node.rails.reduce((total, rail) => total + rail.bytesPerNs, 0);
  return {
    railsOut: rails * node.railEfficiency,
    railsIn: rails * node.railEfficiency,
    hostToDevice: node.hostToDeviceBytesPerNs,
    deviceToHost: node.hostToDeviceBytesPerNs,
    ssdRead: node.ssdReadBytesPerNs,
    ssdWrite: node.ssdWriteBytesPerNs,
  };
}
