/** Links and buses: which of them a transfer crosses, and what those of a node can move. */
import type { Transfer } from '../core/host.ts';
import { type Node, Tier } from '../core/topology.ts';

/** Of one node, each direction apart; rails are striped evenly and count as one. */
export const NODE_LINKS = ['railsOut', 'railsIn', 'hostToDevice', 'deviceToHost'] as const;
export type NodeLink = (typeof NODE_LINKS)[number];

/** Bytes are counted on each of these that a transfer crosses. */
export const RESOURCE_KINDS = [...NODE_LINKS, 'fabric'] as const;
export type ResourceKind = (typeof RESOURCE_KINDS)[number];

export interface Crossing {
  readonly kind: ResourceKind;
  /** 0 for the fabric. */
  readonly node: number;
}

export function crossings({ source, target }: Transfer): readonly Crossing[] {
  if (source.node !== target.node) {
    return [
      { kind: 'railsOut', node: source.node },
      { kind: 'railsIn', node: target.node },
      { kind: 'fabric', node: 0 },
    ];
  }
  const crossed: Crossing[] = [];
  if (source.tier === Tier.hbm) crossed.push({ kind: 'deviceToHost', node: source.node });
  if (target.tier === Tier.hbm) crossed.push({ kind: 'hostToDevice', node: target.node });
  return crossed;
}

/** What each link of a node can move, bytes per ns. */
export function linkBytesPerNs(node: Node): Readonly<Record<NodeLink, number>> {
  const rails = node.rails.reduce((total, rail) => total + rail.bytesPerNs, 0);
  return {
    railsOut: rails * node.railEfficiency,
    railsIn: rails * node.railEfficiency,
    hostToDevice: node.hostToDeviceBytesPerNs,
    deviceToHost: node.hostToDeviceBytesPerNs,
  };
}
