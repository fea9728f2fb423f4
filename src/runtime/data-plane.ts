/**
 * The data plane of one process: moves blocks between own pools and peers' segments. The rail
 * policy says which slices go over which pair of rails; here are slicing, retries, deadlines and
 * what the policy learns. Bytes never pass through JavaScript.
 */
import { assert, InputError } from '../core/errors.ts';
import type { RailPolicy, RailTransfer } from '../core/policy.ts';
import { RailTable } from '../core/rail-table.ts';
import { JobTable } from './job-table.ts';
import {
  EVENT_DOUBLES,
  EventKind,
  type NativeAddon,
  type NativeEngine,
  type NativeRailInfo,
  type NativeSegmentInfo,
  QUARANTINED,
  RESULT_DOUBLES,
  Status,
  SUM,
  UNVERIFIED,
  VERIFY,
} from './native.ts';
import { Batch } from './native-batch.ts';
import { Pool, type PoolSettings } from './native-pool.ts';
import { type Location, railsFor, type TopologyMatrix } from './topology-matrix.ts';

export interface PlaneSettings {
  /** Transfers open at once; more wait in the batch. */
  readonly transfersMax: number;
  /** Larger blocks are cut into slices of this size. */
  readonly sliceBytes: number;
  /** What one attempt of a transfer may take. */
  readonly attemptNs: number;
  /** Attempts, the first included; each asks the policy anew for what is left. */
  readonly attemptsMax: number;
}

/** Slices of Mooncake's size suit RDMA; sockets and copies like 1 MiB. Attempts: as Mooncake's. */
export const PLANE_DEFAULTS: PlaneSettings = {
  transfersMax: 65_536,
  sliceBytes: 1 << 20,
  attemptNs: 2e9,
  attemptsMax: 9,
};

export const RAIL_KINDS = ['local', 'fabric', 'tcp'] as const;
export type RailKind = (typeof RAIL_KINDS)[number];

export interface RailSpec {
  readonly kind: RailKind;
  /** What the rail carries at best, bytes per ns; null: what its kind usually does. */
  readonly bytesPerNs: number | null;
  /** Of its kind: native/src/tcp-rail.h, local-rail.h, fabric-rail.h. */
  readonly options: Readonly<Record<string, string>>;
}

/** Bytes per ns where nothing is known: a copy, 100 Gb/s, a socket. Only ratios matter. */
const USUAL_BYTES_PER_NS: Record<RailKind, number> = { local: 10, fabric: 12.5, tcp: 3 };

/** A block, or a part of one, between an own slot and a peer's. */
export interface Move {
  readonly write: boolean;
  readonly pool: Pool;
  readonly slot: number;
  readonly offset: number;
  readonly segment: Segment;
  readonly remoteSlot: number;
  readonly generation: number;
  readonly remoteOffset: number;
  readonly bytes: number;
  /** The checksum that the bytes must have where they arrive; null: not checked. */
  readonly crc: number | null;
  /** Report the checksum. */
  readonly sum: boolean;
  /** Before what is not. */
  readonly urgent: boolean;
  /** For all attempts together. */
  readonly deadlineNs: number;
}

export interface MoveEnd {
  readonly status: Status;
  /** Of the bytes where they arrived; null: not asked for, or the rail could not tell. */
  readonly crc: number | null;
  /** Asked for, but the rail could not tell (a WRITE over a fabric). */
  readonly unverified: boolean;
  readonly durationNs: number;
  readonly attempts: number;
  /** Per slice, in order: whether it has arrived. */
  readonly slices: readonly boolean[];
  /** Operations are still open on the slot: it must not be reused before `onReleased`. */
  readonly quarantined: boolean;
}

/** A peer's pool. */
export class Segment {
  readonly info: NativeSegmentInfo;
  /** What is known of the peer's rails, by kind. */
  readonly rails = new Map<RailKind, { table: RailTable; indices: readonly number[] }>();
  /** Kinds that turned out not to reach it. */
  readonly unreachable = new Set<RailKind>();

  constructor(info: NativeSegmentInfo) {
    this.info = info;
    for (const kind of RAIL_KINDS) {
      const indices = info.rails.filter((rail) => rail.kind === kind).map(({ index }) => index);
      if (indices.length === 0) continue;
      const table = new RailTable(indices.map(() => USUAL_BYTES_PER_NS[kind]));
      this.rails.set(kind, { table, indices });
    }
  }
}

interface OwnRails {
  table: RailTable;
  readonly indices: number[];
  readonly bytesPerNs: number[];
}

/** Kept for the next move when it has ended, if it is of one slice: most are. */
interface Job {
  move: Move;
  ended: (end: MoveEnd) => void;
  startNs: number;
  readonly done: boolean[];
  attempts: number;
  kind: RailKind;
  /** Of the attempt under way: which slice, its rails (places in the tables), bytes before it. */
  slices: readonly number[];
  ownRails: readonly number[];
  peerRails: readonly number[];
  aheadOwn: number[];
  aheadPeer: number[];
}

/** The only slice of a block, over the first rails. */
const FIRST: readonly number[] = [0];

/** Errors that another attempt may mend. */
const RETRY: ReadonlySet<Status> = new Set([
  Status.peerUnreachable,
  Status.peerReset,
  Status.timedOut,
  Status.cancelled,
  Status.railDown,
  Status.systemError,
  Status.unsupported,
  Status.notRegistered,
  Status.notPermitted,
]);
const OWN_FAULT: ReadonlySet<Status> = new Set([Status.railDown, Status.systemError]);
const PEER_FAULT: ReadonlySet<Status> = new Set([
  Status.peerUnreachable,
  Status.peerReset,
  Status.timedOut,
]);
/** The kind does not reach the peer at all. */
const WRONG_KIND: ReadonlySet<Status> = new Set([
  Status.unsupported,
  Status.notPermitted,
  Status.notRegistered,
]);

/** Ends of moves of one slice. */
const ARRIVED: readonly boolean[] = [true];
const NOT_ARRIVED: readonly boolean[] = [false];
const IDLE_JOBS_MAX = 4096;

function newJob(move: Move, ended: (end: MoveEnd) => void, slices: number): Job {
  return {
    move,
    ended,
    startNs: 0,
    done: new Array<boolean>(slices).fill(false),
    attempts: 0,
    kind: 'tcp',
    slices: NONE,
    ownRails: NONE,
    peerRails: NONE,
    aheadOwn: [0],
    aheadPeer: [0],
  };
}

const nowNs = (): number => Math.round(performance.now() * 1e6);
const NONE: readonly number[] = [];

export class DataPlane {
  private readonly addon: NativeAddon;
  private readonly engine: NativeEngine;
  private readonly settings: PlaneSettings;
  private readonly policy: RailPolicy;
  private readonly own = new Map<RailKind, OwnRails>();
  private readonly kinds: RailKind[] = [];
  /** What the topology matrix calls each rail, or null. */
  private readonly names: (string | null)[] = [];
  private matrix: TopologyMatrix | null = null;
  private readonly batch = new Batch();
  private readonly events = new Float64Array(1 << 16);
  private readonly jobs = new JobTable<Job>();
  private readonly idleJobs: Job[] = [];
  private readonly quarantine = new Map<number, Move>();
  private readonly waiting = new Map<NodeJS.Timeout, Job>();
  private nextTag = 1;
  private pairs = new Int32Array(1);
  private queued = false;
  /** When the moves collected in this turn of the event loop began. */
  private turnNs = 0;
  private closed = false;
  /** A slot whose move ended with `quarantined` may be reused. */
  onReleased: (pool: Pool, slot: number) => void = () => {};
  /** A rail went down (false) or is open (true): descriptors of pools have changed. */
  onRail: (rail: number, open: boolean) => void = () => {};

  constructor(addon: NativeAddon, policy: RailPolicy, settings: PlaneSettings = PLANE_DEFAULTS) {
    this.addon = addon;
    this.settings = settings;
    this.policy = policy;
    const engineSettings = Float64Array.of(settings.transfersMax, 50e6, 5e9, 200e6, 500e6);
    this.engine = new addon.Engine(engineSettings, () => this.drain());
  }

  /** Which rails serve which memory; without it every rail is near to all. */
  setTopology(matrix: TopologyMatrix): void {
    this.matrix = matrix;
  }

  /** Opens a rail; its index. `name` is its own in the matrix. Throws InputError with the cause. */
  addRail(spec: RailSpec, name: string | null = null): number {
    const options = Object.entries({ ...spec.options, kind: spec.kind }).flat();
    let index: number;
    try {
      index = this.engine.addRail(options);
    } catch (error) {
      throw new InputError((error as Error).message);
    }
    const known = this.own.get(spec.kind);
    const indices = [...(known?.indices ?? []), index];
    const rate = spec.bytesPerNs ?? USUAL_BYTES_PER_NS[spec.kind];
    const bytesPerNs = [...(known?.bytesPerNs ?? []), rate];
    this.own.set(spec.kind, { table: new RailTable(bytesPerNs), indices, bytesPerNs });
    this.kinds[index] = spec.kind;
    this.names[index] = name;
    return index;
  }

  /** All rails, in the order in which they were added; none once it is closed. */
  rails(): NativeRailInfo[] {
    return this.kinds.flatMap((_, rail) => this.engine.railInfo(rail) ?? []);
  }

  /** `location`: where its memory lies, as the matrix calls it. */
  createPool(settings: PoolSettings, location: Location | null = null): Pool {
    return new Pool(this.engine, settings, location);
  }

  /** A peer's pool by what its `describe` gave; null: not that, or of another version. */
  importSegment(blob: Uint8Array): Segment | null {
    const info = this.engine.importSegment(blob);
    return info === null ? null : new Segment(info);
  }

  dropSegment(segment: Segment): void {
    this.engine.dropSegment(segment.info.id);
  }

  /** Moves it; `ended` is called once, later. Moves of one turn of the event loop go together. */
  move(move: Move, ended: (end: MoveEnd) => void): void {
    assert(!this.closed, 'the data plane is open');
    const slices = Math.max(1, Math.ceil(move.bytes / this.settings.sliceBytes));
    if (!this.queued) this.turnNs = nowNs();
    const kept = slices === 1 ? this.idleJobs.pop() : undefined;
    const job = kept ?? newJob(move, ended, slices);
    job.move = move;
    job.ended = ended;
    job.startNs = this.turnNs;
    job.attempts = 0;
    job.done.fill(false);
    this.attempt(job, Status.unsupported);
  }

  /** Gives the engine what has been collected, now. */
  flush(): void {
    this.queued = false;
    this.batch.submit(this.engine);
  }

  /** Ends all moves, rails and pools (their bytes are empty then). False: a rail's thread hangs. */
  close(): boolean {
    if (this.closed) return true;
    this.flush();
    this.closed = true;
    const clean = this.engine.close();
    this.drain();
    this.turnNs = nowNs();
    for (const [waiting, job] of this.waiting) {
      clearTimeout(waiting);
      this.jobs.set(this.nextTag++, job);
    }
    for (const [tag, job] of this.jobs.entries())
      this.end(tag, job, Status.cancelled, null, false, false);
    return clean;
  }

  private flushSoon(): void {
    if (this.queued) return;
    this.queued = true;
    queueMicrotask(() => this.flush());
  }

  /** The next attempt, or the end with `status`. */
  private attempt(job: Job, status: Status): void {
    const { move } = job;
    const kind = this.chooseKind(move.segment);
    const leftNs = move.deadlineNs - (job.attempts === 0 ? 0 : nowNs() - job.startNs);
    const tag = this.nextTag++;
    if (this.closed || kind === null || job.attempts >= this.settings.attemptsMax || leftNs <= 0) {
      const why = leftNs <= 0 ? Status.timedOut : status;
      this.jobs.set(tag, job);
      queueMicrotask(() => {
        this.turnNs = nowNs();
        this.end(tag, job, why, null, false, false);
      });
      return;
    }
    job.attempts++;
    job.kind = kind;
    // A WRITE is summed as a whole by the rails: a part of it can't be.
    if (job.attempts > 1 && move.write && (move.crc !== null || move.sum)) job.done.fill(false);
    this.spread(job);
    const flags = this.flagsOf(job);
    const deadlineNs = Math.min(leftNs, this.settings.attemptNs);
    this.jobs.set(tag, job);
    const crc = move.crc ?? 0;
    this.batch.transfer(tag, move.write, move.urgent, flags, crc, deadlineNs, job.slices.length);
    for (let i = 0; i < job.slices.length; i++) this.addSlice(job, i);
    this.flushSoon();
  }

  /** Soon the first time, then after 2, 4, … ms: a rail takes a while to be reopened. */
  private retry(job: Job, status: Status): void {
    const delayMs = job.attempts < 2 ? 0 : 2 ** (job.attempts - 1);
    if (delayMs === 0) {
      this.attempt(job, status);
      return;
    }
    const waiting = setTimeout(() => {
      this.waiting.delete(waiting);
      this.attempt(job, status);
    }, delayMs);
    this.waiting.set(waiting, job);
  }

  private flagsOf({ move, slices, done }: Job): number {
    if (slices.length < done.length) return 0;
    return (move.crc === null ? 0 : VERIFY) | (move.sum ? SUM : 0);
  }

  private addSlice(job: Job, i: number): void {
    const { move, kind } = job;
    const { sliceBytes } = this.settings;
    const own = this.own.get(kind)!;
    const peer = move.segment.rails.get(kind)!;
    const from = job.slices[i] * sliceBytes;
    const bytes = Math.min(sliceBytes, move.bytes - from);
    job.aheadOwn[i] = own.table.posted(job.ownRails[i], bytes);
    job.aheadPeer[i] = peer.table.posted(job.peerRails[i], bytes);
    this.batch.slice(
      move.pool.id,
      move.slot,
      move.offset + from,
      move.segment.info.id,
      move.remoteSlot,
      move.generation,
      move.remoteOffset + from,
      bytes,
      own.indices[job.ownRails[i]],
      peer.indices[job.peerRails[i]],
    );
  }

  /** The first kind that both have and that is not known to fail; null: none. */
  private chooseKind(segment: Segment): RailKind | null {
    for (const kind of RAIL_KINDS) {
      if (this.own.has(kind) && segment.rails.has(kind) && !segment.unreachable.has(kind)) {
        return kind;
      }
    }
    return null;
  }

  /** Asks the policy for the slices that have not arrived, and deals them to the pairs in turn. */
  private spread(job: Job): void {
    const { move, done } = job;
    const own = this.own.get(job.kind)!;
    const peer = move.segment.rails.get(job.kind)!;
    const pairCount = own.indices.length * peer.indices.length;
    if (done.length === 1 && pairCount === 1) {
      job.slices = job.ownRails = job.peerRails = FIRST;
      return;
    }
    const slices: number[] = [];
    for (let i = 0; i < done.length; i++) if (!done[i]) slices.push(i);
    const count = slices.length;
    job.slices = slices;
    const targets = move.write ? peer.indices.length : own.indices.length;
    const ownRails = new Array<number>(count).fill(0);
    const peerRails = new Array<number>(count).fill(0);
    job.ownRails = ownRails;
    job.peerRails = peerRails;
    if (pairCount === 1) return;
    if (this.pairs.length < pairCount) this.pairs = new Int32Array(pairCount);
    const pairs = this.pairs.fill(0);
    this.policy.spread(this.transferOf(move, own, peer.table, count), pairs);
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

  private transferOf(move: Move, own: OwnRails, peer: RailTable, slices: number): RailTransfer {
    const atNs = nowNs();
    own.table.tick(atNs);
    peer.tick(atNs);
    const ownEnd = { rails: own.table, near: this.nearOf(own, move.pool) };
    // What a peer's memory is near to is the peer's knowledge.
    const peerEnd = { rails: peer, near: new Uint8Array(peer.count).fill(1) };
    const source = move.write ? ownEnd : peerEnd;
    const target = move.write ? peerEnd : ownEnd;
    return { source, target, bytes: move.bytes, sliceBytes: this.settings.sliceBytes, slices };
  }

  /** 1 for each rail that the topology matrix prefers for the pool; all where nothing is known. */
  private nearOf({ indices }: OwnRails, pool: Pool): Uint8Array {
    const { location } = pool;
    const near = new Uint8Array(indices.length).fill(1);
    if (this.matrix === null || location === null) return near;
    const [preferred] = railsFor(this.matrix, location);
    const isNear = (rail: number) => {
      const name = this.names[rail];
      return name === null || preferred.includes(name);
    };
    return indices.some(isNear) ? near.map((_, i) => (isNear(indices[i]) ? 1 : 0)) : near;
  }

  /** The one callback: everything that has ended since the last time. */
  private drain(): void {
    const { events, engine } = this;
    for (let more = true; more; ) {
      const written = engine.drain(events);
      this.turnNs = nowNs();
      more = written < 0;
      const end = Math.abs(written);
      for (let at = 0; at < end; at += EVENT_DOUBLES + events[at + 7] * RESULT_DOUBLES) {
        this.event(at);
      }
    }
    // What the engine did not take before may fit now; retries go at once.
    if (!this.closed && this.batch.transfers > 0) this.flush();
  }

  private event(at: number): void {
    const { events } = this;
    const tag = events[at + 1];
    if (events[at] === EventKind.rail) {
      this.railEvent(tag, events[at + 2] === Status.ok);
    } else if (events[at] === EventKind.released) {
      const move = this.quarantine.get(tag);
      this.quarantine.delete(tag);
      if (move !== undefined) this.onReleased(move.pool, move.slot);
    } else {
      const job = this.jobs.get(tag);
      if (job !== undefined) this.transferEvent(tag, job, at);
    }
  }

  private railEvent(rail: number, open: boolean): void {
    const own = this.own.get(this.kinds[rail]);
    const place = own?.indices.indexOf(rail) ?? -1;
    if (own !== undefined && place >= 0) {
      if (open) own.table.wake(place);
      else own.table.rest(place, Number.POSITIVE_INFINITY);
    }
    this.onRail(rail, open);
  }

  private transferEvent(tag: number, job: Job, at: number): void {
    const { events } = this;
    const status = events[at + 2] as Status;
    const flags = events[at + 3];
    const quarantined = (flags & QUARANTINED) !== 0;
    this.learn(job, at);
    if (status === Status.ok || !RETRY.has(status) || quarantined) {
      this.settle(tag, job, status, flags, events[at + 4]);
      return;
    }
    this.jobs.delete(tag);
    if (WRONG_KIND.has(status)) job.move.segment.unreachable.add(job.kind);
    this.retry(job, status);
  }

  /** The end of a move whose last attempt ended so. */
  private settle(tag: number, job: Job, status: Status, flags: number, crc: number): void {
    const { move } = job;
    const quarantined = (flags & QUARANTINED) !== 0;
    if (status !== Status.ok || (move.crc === null && !move.sum)) {
      this.end(tag, job, status, null, false, quarantined);
    } else if (job.slices.length === job.done.length) {
      const unverified = (flags & UNVERIFIED) !== 0;
      this.end(tag, job, status, unverified ? null : crc, unverified, quarantined);
    } else {
      // A READ that came in several attempts: its bytes are here, so they are summed here.
      const bytes = move.pool.bytes(move.slot).subarray(move.offset, move.offset + move.bytes);
      const sum = this.addon.crc32c(bytes, 0);
      const good = move.crc === null || move.crc === sum;
      this.end(tag, job, good ? status : Status.checksumMismatch, sum, false, quarantined);
    }
  }

  /** Which slices have arrived, and what that says of the rails. */
  private learn(job: Job, at: number): void {
    const { events } = this;
    const own = this.own.get(job.kind)!.table;
    const peer = job.move.segment.rails.get(job.kind)!.table;
    const source = job.move.write ? own : peer;
    const target = job.move.write ? peer : own;
    for (let i = 0; i < job.slices.length; i++) {
      const result = at + EVENT_DOUBLES + i * RESULT_DOUBLES;
      const status = events[result] as Status;
      const durationNs = events[result + 1];
      const ok = status === Status.ok;
      const { sliceBytes } = this.settings;
      const bytes = Math.min(sliceBytes, job.move.bytes - job.slices[i] * sliceBytes);
      job.done[job.slices[i]] = ok;
      own.ended(job.ownRails[i], bytes, job.aheadOwn[i], durationNs, ok);
      peer.ended(job.peerRails[i], bytes, job.aheadPeer[i], durationNs, ok);
      if (OWN_FAULT.has(status)) own.failed(job.ownRails[i], nowNs());
      if (PEER_FAULT.has(status)) peer.failed(job.peerRails[i], nowNs());
      const sourceRail = job.move.write ? job.ownRails[i] : job.peerRails[i];
      const targetRail = job.move.write ? job.peerRails[i] : job.ownRails[i];
      this.policy.onSliceEnded?.({
        source,
        target,
        sourceRail,
        targetRail,
        bytes,
        durationNs,
        ok,
      });
    }
  }

  private end(
    tag: number,
    job: Job,
    status: Status,
    crc: number | null,
    unverified: boolean,
    quarantined: boolean,
  ): void {
    if (!this.jobs.delete(tag)) return;
    if (quarantined) this.quarantine.set(tag, job.move);
    const { ended, startNs, attempts, done } = job;
    const slices = done.length > 1 ? done : done[0] ? ARRIVED : NOT_ARRIVED;
    if (done.length === 1 && this.idleJobs.length < IDLE_JOBS_MAX) this.idleJobs.push(job);
    const durationNs = this.turnNs - startNs;
    ended({ status, crc, unverified, durationNs, attempts, slices, quarantined });
  }
}
