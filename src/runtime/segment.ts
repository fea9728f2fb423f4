/** Peers' pools, and what is known of the rails that lead there. */
import { RailTable } from '../core/rail-table.ts';
import type { NativeSegmentInfo } from './native.ts';

/** In the order of preference. */
export const RAIL_KINDS = ['local', 'fabric', 'tcp'] as const;
export type RailKind = (typeof RAIL_KINDS)[number];

/** Bytes per ns where nothing is known: a copy, 100 Gb/s, a socket. Only ratios matter. */
export const USUAL_BYTES_PER_NS: Record<RailKind, number> = { local: 10, fabric: 12.5, tcp: 3 };

/** The rails of one kind of one node; `indices` are the engine's. */
export interface Rails {
  readonly table: RailTable;
  readonly indices: readonly number[];
}

/** The rails over which moves to a segment go now. */
export interface Route {
  readonly kind: RailKind;
  readonly own: Rails;
  readonly peer: Rails;
}

/** A peer's pool. */
export class Segment {
  readonly info: NativeSegmentInfo;
  /** What is known of the peer's rails, by kind. */
  readonly rails = new Map<RailKind, Rails>();
  /** Kinds that turned out not to reach it. */
  private readonly unreachable = new Set<RailKind>();
  /** Over which own rails `route` was found. */
  private routedOver: ReadonlyMap<RailKind, Rails> | null = null;
  private route: Route | null = null;

  constructor(info: NativeSegmentInfo) {
    this.info = info;
    for (const kind of RAIL_KINDS) {
      const indices = info.rails.filter((rail) => rail.kind === kind).map(({ index }) => index);
      if (indices.length === 0) continue;
      const table = new RailTable(indices.map(() => USUAL_BYTES_PER_NS[kind]));
      this.rails.set(kind, { table, indices });
    }
  }

  /** The first kind that both have and that is not known to fail; null: none. */
  routeOver(own: ReadonlyMap<RailKind, Rails>): Route | null {
    if (this.routedOver === own) return this.route;
    this.routedOver = own;
    this.route = null;
    for (const kind of RAIL_KINDS) {
      const ours = own.get(kind);
      const theirs = this.rails.get(kind);
      if (ours === undefined || theirs === undefined || this.unreachable.has(kind)) continue;
      this.route = { kind, own: ours, peer: theirs };
      break;
    }
    return this.route;
  }

  /** Rails of the kind do not reach it at all. */
  exclude(kind: RailKind): void {
    this.unreachable.add(kind);
    this.routedOver = null;
  }
}
