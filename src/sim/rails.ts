/**
 * Transfers spread over single rails: asks the rail policy of the node that starts a transfer, and
 * keeps what each node knows of rails, its own and its peers'.
 */
import { RandomStream } from '../config/streams.ts';
import type { ClusterPlan } from '../config/wire.ts';
import type { Place, Transfer } from '../core/host.ts';
import type { RailEnd, RailPolicy, Rails, SliceEnd } from '../core/policy.ts';
import { RAIL_REST_NS, RailTable } from '../core/rail-table.ts';
import { Tier, type Topology } from '../core/topology.ts';

/** What one transfer sends over one pair of rails. */
export interface Share {
  readonly viewer: number;
  readonly sourceNode: number;
  readonly sourceRail: number;
  readonly targetNode: number;
  readonly targetRail: number;
  readonly bytes: number;
  readonly startNs: number;
  /** What the viewer knows of the rails of either node. */
  readonly source: RailTable;
  readonly target: RailTable;
  /** Bytes that the viewer had given to either rail before. */
  sourceAhead: number;
  targetAhead: number;
  /** Place among the viewer's live shares. */
  place: number;
  flow: number;
}

/** Answers the bytes that a share has left to send. */
export type RemainingBytes = (share: Share) => number;

export class RailSpread {
  /** Slices per (source rail, target rail) of the last `spread`, and the rails of its target. */
  pairs = new Int32Array(0);
  targets = 0;
  private readonly topology: Topology;
  private readonly policies: readonly RailPolicy[];
  private readonly remaining: RemainingBytes;
  /** By viewing node, then by node; made when first asked for. */
  private readonly tables: (RailTable | undefined)[][];
  private readonly live: Share[][];
  /** Near rails by node, then by NUMA domain; and by instance. */
  private readonly nearDomain: Uint8Array[][];
  private readonly nearInstance: Uint8Array[];

  constructor(topology: Topology, policies: readonly RailPolicy[], remaining: RemainingBytes) {
    this.topology = topology;
    this.policies = policies;
    this.remaining = remaining;
    const { nodes, instances } = topology;
    this.tables = nodes.map(() => []);
    this.live = nodes.map(() => []);
    this.nearDomain = nodes.map(({ numaDomains, rails }) =>
      Array.from({ length: numaDomains }, (_, domain) =>
        Uint8Array.from(rails, ({ numa }) => (numa === domain ? 1 : 0)),
      ),
    );
    this.nearInstance = instances.map(({ node, gpus }) =>
      Uint8Array.from(nodes[node].rails, (rail) =>
        rail.gpus.some((gpu) => gpus.includes(gpu)) ? 1 : 0,
      ),
    );
  }

  /** Fills `pairs` with `slices` slices in all. */
  spread(nowNs: number, viewer: number, transfer: Transfer, bytes: number, slices: number): void {
    const { sliceBytes } = this.topology;
    const policy = this.policies[viewer];
    const source = this.end(nowNs, viewer, transfer.source, transfer);
    const target = this.end(nowNs, viewer, transfer.target, transfer);
    if (policy.even !== true) this.refresh(viewer, source.rails, target.rails);
    this.targets = target.rails.count;
    const size = source.rails.count * this.targets;
    if (this.pairs.length === size) this.pairs.fill(0);
    else this.pairs = new Int32Array(size);
    policy.spread({ source, target, bytes, sliceBytes, slices }, this.pairs);
  }

  /** What `viewer` knows of the rails of `node`. */
  table(viewer: number, node: number): RailTable {
    const row = this.tables[viewer];
    let table = row[node];
    if (table === undefined) {
      const { rails, railEfficiency } = this.topology.nodes[node];
      table = new RailTable(rails.map(({ bytesPerNs }) => bytesPerNs * railEfficiency));
      row[node] = table;
    }
    return table;
  }

  /** 1 for each rail that is near the memory of this end. */
  nearOf(place: Place, transfer: Transfer): Uint8Array {
    if (place.tier === Tier.hbm) return this.nearInstance[place.instance];
    const domains = this.nearDomain[place.node];
    const key = place.slots === null || place.slots.slots.length === 0 ? -1 : place.slots.slots[0];
    return domains[(key < 0 ? transfer.request : key) % domains.length];
  }

  started(share: Share): void {
    const { source, sourceRail, target, targetRail, bytes } = share;
    share.sourceAhead = source.posted(sourceRail, bytes);
    share.targetAhead = target.posted(targetRail, bytes);
    const live = this.live[share.viewer];
    share.place = live.length;
    live.push(share);
  }

  ended(nowNs: number, share: Share, ok: boolean): void {
    const { viewer, source, sourceRail, target, targetRail, bytes, startNs } = share;
    const live = this.live[viewer];
    const last = live.pop()!;
    if (last !== share) {
      live[share.place] = last;
      last.place = share.place;
    }
    const durationNs = nowNs - startNs;
    source.ended(sourceRail, bytes, share.sourceAhead, durationNs, ok);
    target.ended(targetRail, bytes, share.targetAhead, durationNs, ok);
    const policy = this.policies[viewer];
    if (policy.onSliceEnded === undefined) return;
    const end: SliceEnd = { source, target, sourceRail, targetRail, bytes, durationNs, ok };
    policy.onSliceEnded(end);
  }

  /** Live shares over a rail, of all viewers. */
  over(node: number, rail: number): Share[] {
    return this.live.flat().filter((share) => {
      const out = share.sourceNode === node && share.sourceRail === rail;
      return out || (share.targetNode === node && share.targetRail === rail);
    });
  }

  /** The viewer has found the rail dead: its own rests until it is back, a peer's for a while. */
  found(nowNs: number, viewer: number, node: number, rail: number): void {
    const untilNs = viewer === node ? Number.POSITIVE_INFINITY : nowNs + RAIL_REST_NS;
    this.table(viewer, node).rest(rail, untilNs);
  }

  /** It works again: endpoints are reopened in the background, and everybody finds out. */
  back(node: number, rail: number): void {
    for (const row of this.tables) row[node]?.wake(rail);
  }

  private end(nowNs: number, viewer: number, place: Place, transfer: Transfer): RailEnd {
    const rails = this.table(viewer, place.node);
    rails.tick(nowNs);
    return { rails, near: this.nearOf(place, transfer) };
  }

  /** Sets what is queued on the rails of two nodes to what the viewer's own shares have left. */
  private refresh(viewer: number, from: Rails, to: Rails): void {
    from.queuedBytes.fill(0);
    to.queuedBytes.fill(0);
    const live = this.live[viewer];
    for (let i = 0; i < live.length; i++) {
      const { source, sourceRail, target, targetRail } = live[i];
      const fromSource = source === from || source === to;
      const toTarget = target === from || target === to;
      if (!fromSource && !toTarget) continue;
      const left = this.remaining(live[i]);
      if (fromSource) source.queuedBytes[sourceRail] += left;
      if (toTarget) target.queuedBytes[targetRail] += left;
    }
  }
}

/**
 * A rail policy for each node, or null where the rails of a node are as good as one: they are
 * alike, the policy stripes evenly, and nothing will happen to one of them (`apart`).
 */
export function railPolicies(
  { topology, policies, seed }: Pick<ClusterPlan, 'topology' | 'policies' | 'seed'>,
  apart: boolean,
): RailPolicy[] | null {
  const made = topology.nodes.map(({ id }) => {
    const stream = new RandomStream(seed, `rail/${id}`);
    return policies.rail.create({ random: () => stream.next() });
  });
  const alike = topology.nodes.every(({ rails }) =>
    rails.every(({ bytesPerNs }) => bytesPerNs === rails[0].bytesPerNs),
  );
  const even = made.every((policy) => policy.even === true);
  return even && alike && !apart ? null : made;
}
