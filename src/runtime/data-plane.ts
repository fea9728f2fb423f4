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
  PLANE_DEFAULTS,
  type PlaneSettings,
  RETRY,
  WRONG_KIND,
} from './move.ts';
import { engineNs, type MoveColumns, Moves, type RowsEnded } from './move-columns.ts';
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

export { type Move, type MoveEnd, PLANE_DEFAULTS, type PlaneSettings } from './move.ts';
export { RAIL_KINDS, type RailKind, Segment } from './segment.ts';

export interface RailSpec {
  readonly kind: RailKind;
  /** What the rail carries at best, bytes per ns; null: what its kind usually does. */
  readonly bytesPerNs: number | null;
  /** Of its kind: native/src/tcp-rail.h, local-rail.h, fabric-rail.h. */
  readonly options: Readonly<Record<string, string>>;
}

/** Rows that have started, and the only pair of rails that leads there. */
interface Run {
  readonly moves: Moves;
  from: number;
  count: number;
  readonly route: Route;
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
  private readonly jobs = new JobTable<Job>();
  private readonly idleJobs: Job[] = [];
  private readonly quarantine = new Map<number, { pool: Pool; slot: number }>();
  private readonly waiting = new Map<NodeJS.Timeout, Job>();
  /** Columns with rows under way or quarantined, by id. */
  private readonly moving = new Map<number, Moves>();
  /** Runs of rows that the engine has not taken yet: too much was open. */
  private backlog: Run[] = [];
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
    return new Moves(this.engine, this.settings, columns, ended);
  }

  /**
   * Starts `count` rows. Over a single pair of rails, as most are, the engine reads them from the
   * columns; others, and those that fail at first, go on as moves by themselves.
   */
  startMoves(moves: Moves, from = 0, count = moves.columns.slots.length): void {
    assert(!this.closed, 'the data plane is open');
    if (count === 0) return;
    const { columns, segment } = moves;
    const route = this.ownRails.routeTo(segment);
    this.moving.set(moves.id, moves);
    if (route !== null && isSinglePair(route) && columns.deadlineNs > 0) {
      this.startRun({ moves, from, count, route }, false);
      this.flushSoon();
      return;
    }
    for (let row = from; row < from + count; row++) {
      moves.started(row);
      this.move(moves.moveAt(row), (end) => this.rowMoved(moves, row, end));
    }
  }

  /** Gives the engine what has been collected, now. */
  flush(): void {
    this.queued = false;
    this.batch.submit(this.engine);
    const { backlog } = this;
    while (backlog.length > 0 && this.startRun(backlog[0], true)) backlog.shift();
    this.engine.kick();
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
      this.jobs.open(job);
    }
    for (const tag of this.jobs.openTags()) {
      const job = this.jobs.get(tag);
      if (job !== null) this.end(tag, job, Status.cancelled, null, false, false);
    }
    for (const moves of this.moving.values()) if (moves.cancel()) this.untold.push(moves);
    this.tell();
    return clean;
  }

  private flushSoon(): void {
    if (this.queued) return;
    this.queued = true;
    if (!this.draining) queueMicrotask(() => this.flush());
  }

  /** Answers whether the engine has taken it whole; the rest is kept. */
  private startRun(run: Run, again: boolean): boolean {
    const { moves, from, count, route } = run;
    const own = route.own.indices[0];
    const peer = route.peer.indices[0];
    const taken = this.engine.startRows(moves.id, from, count, own, peer, again);
    assert(taken >= 0, 'a row is moved again when it has ended');
    run.from += taken;
    run.count -= taken;
    if (run.count > 0 && !again) this.backlog.push(run);
    return run.count === 0;
  }

  /** The next attempt, or the end with `status`. */
  private attempt(job: Job, status: Status): void {
    const { move } = job;
    const route = this.ownRails.routeTo(move.segment);
    const leftNs = move.deadlineNs - (job.attempts === 0 ? 0 : nowNs() - job.startNs);
    const tag = this.jobs.open(job);
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
    this.draining = true;
    try {
      this.takeEvents();
      this.tell();
    } finally {
      this.draining = false;
    }
    // What the engine did not take before may fit now; what was started meanwhile goes at once.
    const waiting = this.queued || this.batch.transfers > 0 || this.backlog.length > 0;
    if (!this.closed && waiting) this.flush();
  }

  private takeEvents(): void {
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
  }

  private event(at: number): void {
    const { events } = this;
    const kind = events[at];
    const tag = events[at + 1];
    if (kind >= EventKind.rowsEnded) {
      const moves = this.moving.get(tag);
      if (moves !== undefined) this.rowsEvent(moves, at);
    } else if (kind === EventKind.rail) {
      this.railEvent(tag, events[at + 2] === Status.ok);
    } else if (kind === EventKind.released) {
      const held = this.quarantine.get(tag);
      this.quarantine.delete(tag);
      if (held !== undefined) this.onReleased(held.pool, held.slot);
    } else {
      const job = this.jobs.get(tag);
      if (job !== null) this.transferEvent(tag, job, at);
    }
  }

  private rowsEvent(moves: Moves, at: number): void {
    const kind = this.events[at];
    const row = this.events[at + 5];
    if (kind === EventKind.rowsEnded) {
      this.untold.push(moves);
    } else if (kind === EventKind.rowFailed) {
      if (moves.isOpen(row)) this.rowFailed(moves, row, at);
    } else {
      moves.held--;
      this.forget(moves);
      this.onReleased(moves.pool, moves.columns.slots[row]);
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

  /** Its first attempt has; others are made as of a move by itself. */
  private rowFailed(moves: Moves, row: number, at: number): void {
    const { events } = this;
    const status = events[at + 2] as Status;
    const quarantined = (events[at + 3] & QUARANTINED) !== 0;
    if (!RETRY.has(status) || quarantined) {
      if (moves.end(row, status, Number.NaN, quarantined)) this.untold.push(moves);
      return;
    }
    const move = moves.moveAt(row);
    const slices = Math.max(1, Math.ceil(move.bytes / this.settings.sliceBytes));
    const job = newJob(move, (end) => this.rowMoved(moves, row, end), slices);
    job.startNs = this.turnNs - (engineNs() - moves.durationsNs[row]);
    job.attempts = 1;
    if (WRONG_KIND.has(status)) moves.segment.exclude(this.ownRails.kindOf(events[at + 6]));
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

  /** A row that went as a move by itself has ended. */
  private rowMoved(moves: Moves, row: number, end: MoveEnd): void {
    const crc = end.crc ?? Number.NaN;
    if (!moves.end(row, end.status, crc, end.quarantined)) return;
    this.untold.push(moves);
    if (!this.draining) queueMicrotask(() => this.tell());
  }

  private tell(): void {
    for (let moves = this.untold.pop(); moves !== undefined; moves = this.untold.pop()) {
      moves.tell();
      this.forget(moves);
    }
  }

  private forget(moves: Moves): void {
    if (moves.open === 0 && moves.held === 0) this.moving.delete(moves.id);
  }
}
