/** Fields of what the two ends of a stream say to each other (live/live-transfers.ts). */
import type { Topology } from '../../core/topology.ts';
import {
  CHECKSUM_MAX,
  type Fields,
  id,
  LIST_MAX,
  list,
  object,
  oneOf,
  SLOTS_MAX,
  whole,
} from './checks.ts';

export function wordFields({ nodes, instances }: Topology, blocks: number) {
  const slots = list(whole(0, SLOTS_MAX), LIST_MAX);
  const generations = list(whole(0, CHECKSUM_MAX), LIST_MAX);
  const node = ['node', whole(0, nodes.length - 1)] as const;
  const targets = [
    object([
      ['kind', oneOf('pages')],
      ['instance', whole(0, instances.length - 1)],
      ['request', id],
      ['indices', list(whole(0, LIST_MAX), LIST_MAX)],
    ]),
    object([
      ['kind', oneOf('slots')],
      ['segment', id],
      ['slots', slots],
      ['generations', generations],
    ]),
    object([
      ['kind', oneOf('wanted')],
      ['id', id],
    ]),
  ];
  const offer: Fields = [
    ['id', id],
    node,
    ['to', (value) => targets.some((isTarget) => isTarget(value))],
    ['blocks', list(whole(0, blocks - 1), LIST_MAX)],
    ['slots', slots],
    ['generations', generations],
  ];
  const wanted: Fields = [
    ['id', id],
    node,
    ['segment', id],
    ['slots', slots],
    ['generations', generations],
  ];
  return { offer, wanted };
}
