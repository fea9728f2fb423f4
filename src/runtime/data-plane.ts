/**
 * The data plane of one process: moves blocks between own pools and peers' segments. The rail
 * policy says which slices go over which pair of rails; here are slicing, retries, deadlines and
 * what the policy learns. Bytes never pass through JavaScript.
 */
import { assert, InputError } from '../core/errors.ts';
import type { RailPolicy } from '../core/policy.ts';
import { JobTable } from './job-table.ts';
import {
  ARRIVED,
  type Job,
  type Move,
  type MoveEnd,
  NOT_ARRIVED,
  newJob,
  RETRY,
  WRONG_KIND,
} from './move.ts';
import { type MoveColumns, Moves, type RowsEnded } from './move-columns.ts';
import {
  EVENT_DOUBLES,
  EventKind,
  type NativeAddon,
  type NativeEngine,
  type NativeRailInfo,
  QUARANTINED,
  RESULT_DOUBLES,
  Status,
  SUM,
  UNVERIFIED,
  VERIFY,
} from './native.ts';
import { Batch } from './native-batch.ts';
import { Pool, type PoolSettings } from './native-pool.ts';
import { nowNs, PlaneRails } from './plane-rails.ts';
import { type RailKind, type Route, Segment } from './segment.ts';
import type { Location, TopologyMatrix } from './topology-matrix.ts';

export type { Move, MoveEnd } from './move.ts';
export { RAIL_KINDS, type RailKind, Segment } from './segment.ts';

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

export interface RailSpec {
  readonly kind: RailKind;
  /** What the rail carries at best, bytes per ns; null: what its kind usually does. */
  readonly bytesPerNs: number | null;
  /** Of its kind: native/src/tcp-rail.h, local-rail.h, fabric-rail.h. */
  readonly options: Readonly<Record<string, string>>;
}

const isSinglePair = ({ own, peer }: Route): boolean =>
  own.indices.length === 1 && peer.indices.length === 1;

const IDLE_JOBS_MAX = 4096;

export class DataPlane {
  private readonly addon: NativeAddon;
  private readonly engine: NativeEngine;
  private readonly settings: PlaneSettings;
  private readonly ownRails: PlaneRails;
  private readonly batch = new Batch();
  private readonly events = new Float64Array(1 << 16);
  private readonly jobs = new JobTable<Job | Moves>();
  private readonly idleJobs: Job[] = [];
  private readonly quarantine = new Map<number, { pool: Pool; slot: number }>();
  private readonly waiting = new Map<NodeJS.Timeout, Job>();
  /** Columns of which rows have ended, to be told so. */
  private untold: Moves[] = [];
  private draining = false;
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
    this.ownRails = new PlaneRails(policy, settings.sliceBytes);
    const engineSettings = Float64Array.of(settings.transfersMax, 50e6, 5e9, 200e6, 500e6);
    this.engine = new addon.Engine(engineSettings, () => this.drain());
  }

  /** Which rails serve which memory; without it every rail is near to all. */
  setTopology(matrix: TopologyMatrix): void {
    this.ownRails.setTopology(matrix);
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
    this.ownRails.add(index, spec.kind, spec.bytesPerNs, name);
    return index;
  }

  /** All rails, in the order in which they were added; none once it is closed. */
  rails(): NativeRailInfo[] {
    return Array.from({ length: this.ownRails.count }, (_, rail) =>
      this.engine.railInfo(rail),
    ).filter((info) => info !== null);
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

  /** Moves alike, to be started by `startMoves`; `ended` is told their ends, many at a time. */
  moves(columns: MoveColumns, ended: RowsEnded): Moves {
    return new Moves(columns, ended);
  }

  /**
   * Starts `count` rows. One of a single slice over a single pair of rails, as most are, costs no
   * object; others, and those that fail at first, go on as moves by themselves.
   */
  startMoves(moves: Moves, from = 0, count = moves.columns.slots.length): void {
    assert(!this.closed, 'the data plane is open');
    if (!this.queued) this.turnNs = nowNs();
    const { columns, segment } = moves;
    const route = this.ownRails.routeTo(segment);
    const simple = route !== null && isSinglePair(route) && columns.deadlineNs > 0;
    for (let row = from; row < from + count; row++) {
      moves.started(row, this.turnNs);
      if (simple && columns.bytes[row] <= this.settings.sliceBytes) this.post(moves, row, route);
      else this.move(moves.moveAt(row), (end) => this.rowMoved(moves, row, end));
    }
    if (simple) this.flushSoon();
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
      this.jobs.open(job, 0);
    }
    for (const tag of this.jobs.openTags()) {
      const job = this.jobs.get(tag);
      if (job instanceof Moves) this.endRow(tag, job, Status.cancelled, Number.NaN, false);
      else if (job !== null) this.end(tag, job, Status.cancelled, null, false, false);
    }
    this.tell();
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
    const route = this.ownRails.routeTo(move.segment);
    const leftNs = move.deadlineNs - (job.attempts === 0 ? 0 : nowNs() - job.startNs);
    const tag = this.jobs.open(job, 0);
    if (this.closed || route === null || job.attempts >= this.settings.attemptsMax || leftNs <= 0) {
      const why = leftNs <= 0 ? Status.timedOut : status;
      queueMicrotask(() => {
        this.turnNs = nowNs();
        this.end(tag, job, why, null, false, false);
      });
      return;
    }
    job.attempts++;
    job.route = route;
    // A WRITE is summed as a whole by the rails: a part of it can't be.
    if (job.attempts > 1 && move.write && (move.crc !== null || move.sum)) job.done.fill(false);
    this.ownRails.spread(move, route, job.done, job);
    const flags = this.flagsOf(job);
    const deadlineNs = Math.min(leftNs, this.settings.attemptNs);
    const crc = move.crc ?? 0;
    this.batch.transfer(tag, move.write, move.urgent, flags, crc, deadlineNs, job.slices.length);
    for (let i = 0; i < job.slices.length; i++) this.addSlice(job, route, i);
    this.flushSoon();
  }

  /** A row as one transfer of one slice. */
  private post(moves: Moves, row: number, route: Route): void {
    const { own, peer } = route;
    const { columns } = moves;
    moves.routes[row] = route;
    const bytes = columns.bytes[row];
    moves.aheadOwn[row] = own.table.posted(0, bytes);
    moves.aheadPeer[row] = peer.table.posted(0, bytes);
    const { crcs } = columns;
    const flags = (crcs === null ? 0 : VERIFY) | (columns.sum ? SUM : 0);
    const crc = crcs === null ? 0 : crcs[row];
    const deadlineNs = Math.min(columns.deadlineNs, this.settings.attemptNs);
    const tag = this.jobs.open(moves, row);
    this.batch.transfer(tag, columns.write, columns.urgent, flags, crc, deadlineNs, 1);
    this.batch.slice(
      moves.pool.id,
      columns.slots[row],
      columns.offsets[row],
      moves.segment.info.id,
      columns.remoteSlots[row],
      columns.generations[row],
      columns.remoteOffsets[row],
      bytes,
      own.indices[0],
      peer.indices[0],
    );
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

  private addSlice(job: Job, { own, peer }: Route, i: number): void {
    const { move } = job;
    const { sliceBytes } = this.settings;
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

  /** The one callback: everything that has ended since the last time. */
  private drain(): void {
    const { events, engine } = this;
    this.draining = true;
    for (let more = true; more; ) {
      const written = engine.drain(events);
      this.turnNs = nowNs();
      more = written < 0;
      const end = Math.abs(written);
      for (let at = 0; at < end; at += EVENT_DOUBLES + events[at + 7] * RESULT_DOUBLES) {
        this.event(at);
      }
    }
    this.draining = false;
    this.tell();
    // What the engine did not take before may fit now; retries go at once.
    if (!this.closed && this.batch.transfers > 0) this.flush();
  }

  private event(at: number): void {
    const { events } = this;
    const tag = events[at + 1];
    if (events[at] === EventKind.rail) {
      this.railEvent(tag, events[at + 2] === Status.ok);
    } else if (events[at] === EventKind.released) {
      const held = this.quarantine.get(tag);
      this.quarantine.delete(tag);
      if (held !== undefined) this.onReleased(held.pool, held.slot);
    } else {
      const job = this.jobs.get(tag);
      if (job instanceof Moves) this.rowEvent(tag, job, at);
      else if (job !== null) this.transferEvent(tag, job, at);
    }
  }

  private railEvent(rail: number, open: boolean): void {
    this.ownRails.changed(rail, open);
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
    if (WRONG_KIND.has(status)) job.move.segment.exclude(job.route!.kind);
    this.retry(job, status);
  }

  /** Of the first attempt of a row: `post`. */
  private rowEvent(tag: number, moves: Moves, at: number): void {
    const { events } = this;
    const row = this.jobs.moveOf(tag);
    const status = events[at + 2] as Status;
    const flags = events[at + 3];
    const quarantined = (flags & QUARANTINED) !== 0;
    const { columns } = moves;
    const route = moves.routes[row]!;
    this.ownRails.learn(
      route,
      columns.write,
      0,
      0,
      moves.aheadOwn[row],
      moves.aheadPeer[row],
      columns.bytes[row],
      events[at + EVENT_DOUBLES] as Status,
      events[at + EVENT_DOUBLES + 1],
    );
    if (status === Status.ok || !RETRY.has(status) || quarantined) {
      const asked = status === Status.ok && (columns.crcs !== null || columns.sum);
      const crc = asked && (flags & UNVERIFIED) === 0 ? events[at + 4] : Number.NaN;
      this.endRow(tag, moves, status, crc, quarantined);
      return;
    }
    const move = moves.moveAt(row);
    const job = newJob(move, (end) => this.rowMoved(moves, row, end), 1);
    job.startNs = moves.durationsNs[row];
    job.attempts = 1;
    this.jobs.delete(tag);
    if (WRONG_KIND.has(status)) moves.segment.exclude(route.kind);
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
    const { move, slices } = job;
    const { sliceBytes } = this.settings;
    for (let i = 0; i < slices.length; i++) {
      const result = at + EVENT_DOUBLES + i * RESULT_DOUBLES;
      const status = events[result] as Status;
      job.done[slices[i]] = status === Status.ok;
      this.ownRails.learn(
        job.route!,
        move.write,
        job.ownRails[i],
        job.peerRails[i],
        job.aheadOwn[i],
        job.aheadPeer[i],
        Math.min(sliceBytes, move.bytes - slices[i] * sliceBytes),
        status,
        events[result + 1],
      );
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

  /** A row has ended in its first attempt. */
  private endRow(
    tag: number,
    moves: Moves,
    status: Status,
    crc: number,
    quarantined: boolean,
  ): void {
    const row = this.jobs.moveOf(tag);
    this.jobs.delete(tag);
    if (quarantined) this.quarantine.set(tag, { pool: moves.pool, slot: moves.columns.slots[row] });
    if (moves.end(row, status, crc, quarantined, this.turnNs)) this.untold.push(moves);
  }

  /** A row that went as a move by itself has ended. */
  private rowMoved(moves: Moves, row: number, end: MoveEnd): void {
    const crc = end.crc ?? Number.NaN;
    if (!moves.end(row, end.status, crc, end.quarantined, this.turnNs)) return;
    this.untold.push(moves);
    if (!this.draining) queueMicrotask(() => this.tell());
  }

  private tell(): void {
    while (this.untold.length > 0) this.untold.pop()?.tell();
  }
}
