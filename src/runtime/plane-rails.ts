/**
 * The own rails of a data plane: which of them a move takes, as the rail policy says, and what its
 * slices teach.
 */
import { assert } from '../core/errors.ts';
import type { RailPolicy, RailTransfer } from '../core/policy.ts';
import { RailTable } from '../core/rail-table.ts';
import { Status } from './native.ts';
import type { Pool } from './native-pool.ts';
import {
  type RailKind,
  type Rails,
  type Route,
  type Segment,
  USUAL_BYTES_PER_NS,
} from './segment.ts';
import { type Location, railsFor, type TopologyMatrix } from './topology-matrix.ts';

/** What the rails have to know of a move. */
export interface RailMove {
  readonly write: boolean;
  readonly pool: Pool;
  readonly bytes: number;
}

/** One attempt of a move: its slices, and per slice its rails, as places in the route's tables. */
export interface Attempt {
  slices: readonly number[];
  ownRails: readonly number[];
  peerRails: readonly number[];
  /** Bytes that were before each on its rails. */
  readonly aheadOwn: number[];
  readonly aheadPeer: number[];
}

/** The only slice of a block, over the first rails. */
export const FIRST: readonly number[] = [0];

const OWN_FAULT: ReadonlySet<Status> = new Set([Status.railDown, Status.systemError]);
const PEER_FAULT: ReadonlySet<Status> = new Set([
  Status.peerUnreachable,
  Status.peerReset,
  Status.timedOut,
]);

export const nowNs = (): number => Math.round(performance.now() * 1e6);

export class PlaneRails {
  private readonly policy: RailPolicy;
  private readonly sliceBytes: number;
  /** A new map whenever a rail is added. */
  private own: ReadonlyMap<RailKind, Rails> = new Map();
  /** By the engine's index. */
  private readonly kinds: RailKind[] = [];
  private readonly bytesPerNs: number[] = [];
  /** What the topology matrix calls each rail, or null. */
  private readonly names: (string | null)[] = [];
  private matrix: TopologyMatrix | null = null;
  private pairs = new Int32Array(1);

  constructor(policy: RailPolicy, sliceBytes: number) {
    this.policy = policy;
    this.sliceBytes = sliceBytes;
  }

  /** How many the engine has. */
  get count(): number {
    return this.kinds.length;
  }

  /** By the engine's index. */
  kindOf(rail: number): RailKind {
    return this.kinds[rail];
  }

  setTopology(matrix: TopologyMatrix): void {
    this.matrix = matrix;
  }

  /** `index`: the engine's. */
  add(index: number, kind: RailKind, bytesPerNs: number | null, name: string | null): void {
    this.kinds[index] = kind;
    this.bytesPerNs[index] = bytesPerNs ?? USUAL_BYTES_PER_NS[kind];
    this.names[index] = name;
    const indices = [...(this.own.get(kind)?.indices ?? []), index];
    const table = new RailTable(indices.map((rail) => this.bytesPerNs[rail]));
    this.own = new Map(this.own).set(kind, { table, indices });
  }

  /** Null: no rail that is known to work leads there. */
  routeTo(segment: Segment): Route | null {
    return segment.routeOver(this.own);
  }

  /** A rail went down or is open again. */
  changed(rail: number, open: boolean): void {
    const own = this.own.get(this.kinds[rail]);
    const place = own?.indices.indexOf(rail) ?? -1;
    if (own === undefined || place < 0) return;
    if (open) own.table.wake(place);
    else own.table.rest(place, Number.POSITIVE_INFINITY);
  }

  /** Asks the policy for the slices that are not done, and deals them to the pairs in turn. */
  spread(move: RailMove, route: Route, done: readonly boolean[], attempt: Attempt): void {
    const { own, peer } = route;
    const pairCount = own.indices.length * peer.indices.length;
    if (done.length === 1 && pairCount === 1) {
      attempt.slices = attempt.ownRails = attempt.peerRails = FIRST;
      return;
    }
    const slices: number[] = [];
    for (let i = 0; i < done.length; i++) if (!done[i]) slices.push(i);
    const count = slices.length;
    const ownRails = new Array<number>(count).fill(0);
    const peerRails = new Array<number>(count).fill(0);
    attempt.slices = slices;
    attempt.ownRails = ownRails;
    attempt.peerRails = peerRails;
    if (pairCount === 1) return;
    const targets = move.write ? peer.indices.length : own.indices.length;
    if (this.pairs.length < pairCount) this.pairs = new Int32Array(pairCount);
    const pairs = this.pairs.fill(0);
    this.policy.spread(this.transferOf(move, route, count), pairs);
    let pair = 0;
    for (let i = 0; i < count; i++) {
      for (let step = 0; pairs[pair] === 0; step++) {
        assert(step < pairCount, 'the rail policy spreads all slices');
        pair = (pair + 1) % pairCount;
      }
      pairs[pair]--;
      const source = Math.floor(pair / targets);
      const target = pair % targets;
      ownRails[i] = move.write ? source : target;
      peerRails[i] = move.write ? target : source;
      pair = (pair + 1) % pairCount;
    }
  }

  private transferOf(move: RailMove, { own, peer }: Route, slices: number): RailTransfer {
    const atNs = nowNs();
    own.table.tick(atNs);
    peer.table.tick(atNs);
    const ownEnd = { rails: own.table, near: this.nearOf(own, move.pool) };
    // What a peer's memory is near to is the peer's knowledge.
    const peerEnd = { rails: peer.table, near: new Uint8Array(peer.table.count).fill(1) };
    const source = move.write ? ownEnd : peerEnd;
    const target = move.write ? peerEnd : ownEnd;
    return { source, target, bytes: move.bytes, sliceBytes: this.sliceBytes, slices };
  }

  /** 1 for each rail that the topology matrix prefers for the pool; all where nothing is known. */
  private nearOf({ indices }: Rails, pool: Pool): Uint8Array {
    const location: Location | null = pool.location;
    const near = new Uint8Array(indices.length).fill(1);
    if (this.matrix === null || location === null) return near;
    const [preferred] = railsFor(this.matrix, location);
    const isNear = (rail: number) => {
      const name = this.names[rail];
      return name === null || preferred.includes(name);
    };
    return indices.some(isNear) ? near.map((_, i) => (isNear(indices[i]) ? 1 : 0)) : near;
  }

  /** What the end of a slice says of its rails, and what the policy learns from it. */
  learn(
    { own, peer }: Route,
    write: boolean,
    ownRail: number,
    peerRail: number,
    aheadOwn: number,
    aheadPeer: number,
    bytes: number,
    status: Status,
    durationNs: number,
  ): void {
    const ok = status === Status.ok;
    own.table.ended(ownRail, bytes, aheadOwn, durationNs, ok);
    peer.table.ended(peerRail, bytes, aheadPeer, durationNs, ok);
    if (OWN_FAULT.has(status)) own.table.failed(ownRail, nowNs());
    if (PEER_FAULT.has(status)) peer.table.failed(peerRail, nowNs());
    if (this.policy.onSliceEnded === undefined) return;
    this.policy.onSliceEnded({
      source: write ? own.table : peer.table,
      target: write ? peer.table : own.table,
      sourceRail: write ? ownRail : peerRail,
      targetRail: write ? peerRail : ownRail,
      bytes,
      durationNs,
      ok,
    });
  }
}
