/**
 * The fact logs of one process, on disk while it runs: a folder per life of the process, in it a
 * file per machine. Facts are encoded as they are handled, and given to the kernel at the end of
 * the machines' turn, before anything that they sent has left: whatever somebody has heard of a
 * process that is killed is in its logs. Serving comes first: a disk that is full ends the logs,
 * one that is slow makes a gap in them, and the cluster goes on.
 */
import { closeSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { encode } from '../../core/codec.ts';
import {
  type Command,
  type Log,
  type LoggedMachine,
  type LogHeader,
  SegmentWriter,
} from '../../core/log.ts';
import type { Fact } from '../../core/messages.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { FrameKind, FrameMaker } from './log-frames.ts';
import type { LogManifest } from './log-manifest.ts';
import { MANIFEST } from './log-manifest.ts';

export interface LogLimits {
  /** What has been encoded is written when it is so much, also within a turn. */
  readonly frameBytes: number;
  /**
   * A segment ends at the first of these, so that none takes long to replay; but never before its
   * facts take as many bytes as its snapshot.
   */
  readonly segmentBytes: number;
  readonly segmentMs: number;
  /** Taking a snapshot holds the machines up: for so much of a segment's time at the most. */
  readonly snapshotShare: number;
  /** The disk may hold the machines up for so long at once, and for HELD_SHARE of the time. */
  readonly heldMs: number;
}

const LIMITS: LogLimits = {
  frameBytes: 64 << 10,
  segmentBytes: 16 << 20,
  segmentMs: 60_000,
  snapshotShare: 0.001,
  heldMs: 1000,
};
const HELD_SHARE = 0.1;
/** Statistics are written anew so often. */
const STATS_MS = 1000;
const NO_BYTES = new Uint8Array();
const NO_FILE = -1;

export interface FactLogsOptions {
  readonly folder: string;
  /** The process, and which life of it. */
  readonly member: string;
  readonly incarnation: number;
  readonly manifest: LogManifest;
  /** Numbers of the process that lie beside its logs. */
  readonly stats: () => unknown;
  /** Why facts are missing, in one line. */
  readonly onWarning: (message: string) => void;
  readonly limits?: Partial<LogLimits>;
  /** Milliseconds, as they pass. */
  readonly clock?: () => number;
}

export class FactLogs {
  readonly limits: LogLimits;
  readonly clock: () => number;
  private readonly options: FactLogsOptions;
  private readonly folder: string;
  private readonly files: MachineFile[] = [];
  private readonly frames = new FrameMaker();
  private stopped = false;
  /** For how long the disk has held the machines up, less what it may since. */
  private heldMs = 0;
  /** When something was written last. */
  writtenAtMs: number;
  private isBehind = false;
  private statsText = '';
  private statsAtMs = 0;

  constructor(options: FactLogsOptions) {
    this.options = options;
    this.limits = { ...LIMITS, ...options.limits };
    this.clock = options.clock ?? (() => performance.now());
    this.writtenAtMs = this.clock();
    this.folder = join(options.folder, `${options.member}.${options.incarnation}`);
    try {
      mkdirSync(this.folder, { recursive: true });
      replace(join(options.folder, MANIFEST), JSON.stringify(options.manifest, null, 2));
    } catch (error) {
      this.stop(error);
    }
  }

  /** The log of a machine; `trace` is what it plays, if it is an ingress. */
  open(header: LogHeader, trace: TraceColumns | null = null): Log {
    const lives = this.files.filter(({ machine }) => machine === header.machine).length;
    const name = lives === 0 ? header.machine : `${header.machine}.${lives + 1}`;
    const file = new MachineFile(this, header, this.create(name));
    this.files.push(file);
    if (trace !== null) file.write(FrameKind.trace, encode(trace));
    return file;
  }

  /** A turn of the machines is over: what they handled is safe from a kill when this returns. */
  flush(): void {
    for (const file of this.files) file.flush();
    const nowMs = this.clock();
    if (nowMs - this.statsAtMs < STATS_MS || this.stopped) return;
    this.statsAtMs = nowMs;
    this.writeStats();
  }

  /** Writes a frame, all of it, unless that ends the logs. */
  put(file: number, kind: FrameKind, firstFact: number, payload: Uint8Array): void {
    if (this.stopped) return;
    const bytes = this.frames.frame(kind, firstFact, payload);
    const startMs = this.clock();
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
    } catch (error) {
      this.stop(error);
      return;
    }
    const nowMs = this.clock();
    const mayMs = HELD_SHARE * (nowMs - this.writtenAtMs);
    this.heldMs = Math.max(0, this.heldMs - mayMs) + nowMs - startMs;
    this.writtenAtMs = nowMs;
    if (this.heldMs > this.limits.heldMs) this.rest();
  }

  /** The disk has held the machines up for too long, and facts are left out for a while. */
  get isResting(): boolean {
    if (!this.isBehind) return false;
    const owedMs = this.heldMs - HELD_SHARE * (this.clock() - this.writtenAtMs);
    this.isBehind = owedMs > 0;
    return this.isBehind;
  }

  /** The logs end here; the machines go on. */
  stop(error: unknown): void {
    if (this.stopped) return;
    this.stopped = true;
    for (const file of this.files) file.abandon();
    const { member, onWarning } = this.options;
    const reason = error instanceof Error ? error.message : String(error);
    onWarning(`${member}: the fact logs end here, the machines go on: ${reason}`);
  }

  /** Once the machines have stopped: writes what is left. */
  close(): void {
    for (const file of this.files) file.close();
    if (!this.stopped) this.writeStats();
    this.stopped = true;
  }

  private rest(): void {
    if (this.isBehind) return;
    this.isBehind = true;
    for (const file of this.files) file.rest();
    const { member, onWarning } = this.options;
    onWarning(`${member}: the disk is too slow for the fact logs, facts are missing in them`);
  }

  private writeStats(): void {
    const text = JSON.stringify(this.options.stats());
    if (text === this.statsText) return;
    this.statsText = text;
    try {
      replace(join(this.folder, 'stats.json'), text);
    } catch (error) {
      this.stop(error);
    }
  }

  private create(name: string): number {
    if (this.stopped) return NO_FILE;
    try {
      return openSync(join(this.folder, `${name}.log`), 'wx');
    } catch (error) {
      this.stop(error);
      return NO_FILE;
    }
  }
}

/** The log of one machine. Whatever goes wrong here goes no further. */
class MachineFile implements Log {
  readonly machine: string;
  private readonly logs: FactLogs;
  private readonly header: LogHeader;
  private file: number;
  private segment: SegmentWriter | null = null;
  /** Bytes of its facts that were written; with how many, and when, it may end at the soonest. */
  private segmentBytes = 0;
  private segmentBytesLeast = 0;
  private segmentAtMs = 0;
  private segmentMayEndMs = 0;
  /** Facts of the machine's life, and those that the disk was given. */
  private facts = 0;
  private handedFacts = 0;
  private nextKind: FrameKind = FrameKind.segment;

  constructor(logs: FactLogs, header: LogHeader, file: number) {
    this.logs = logs;
    this.header = header;
    this.machine = header.machine;
    this.file = file;
  }

  fact(machine: LoggedMachine, fact: Fact): void {
    if (this.file === NO_FILE) return;
    try {
      const { frameBytes } = this.logs.limits;
      if (this.segment !== null && this.segment.pendingBytes >= frameBytes) this.flush();
      if (this.segment === null || this.isLong()) this.begin(machine);
      this.facts++;
      this.segment?.fact(fact);
    } catch (error) {
      this.logs.stop(error);
    }
  }

  command(command: Command): void {
    if (this.segment === null) return;
    try {
      this.segment.command(command);
    } catch (error) {
      this.logs.stop(error);
    }
  }

  write(kind: FrameKind, payload: Uint8Array): void {
    if (this.file !== NO_FILE) this.logs.put(this.file, kind, this.handedFacts, payload);
  }

  /** Between two facts: what is there is whole. */
  flush(): void {
    const { segment } = this;
    if (segment === null || segment.pendingBytes === 0) return;
    this.segmentBytes += segment.pendingBytes;
    this.write(this.nextKind, segment.drain());
    this.handedFacts = this.facts;
    this.nextKind = FrameKind.facts;
  }

  /** Goes on with a snapshot when the disk is free. */
  rest(): void {
    this.segment = null;
  }

  abandon(): void {
    this.segment = null;
    if (this.file !== NO_FILE) closeSync(this.file);
    this.file = NO_FILE;
  }

  close(): void {
    this.flush();
    this.handedFacts = this.facts;
    this.write(FrameKind.end, NO_BYTES);
    this.abandon();
  }

  private isLong(): boolean {
    const { segmentBytes, segmentAtMs } = this;
    const { writtenAtMs, limits } = this.logs;
    if (segmentBytes < this.segmentBytesLeast || writtenAtMs < this.segmentMayEndMs) return false;
    return segmentBytes >= limits.segmentBytes || writtenAtMs - segmentAtMs >= limits.segmentMs;
  }

  private begin(machine: LoggedMachine): void {
    this.flush();
    this.segment = null;
    if (this.logs.isResting) return;
    const { clock, limits } = this.logs;
    const startMs = clock();
    this.segment = new SegmentWriter(this.header, machine);
    this.segmentAtMs = clock();
    this.segmentMayEndMs = startMs + (this.segmentAtMs - startMs) / limits.snapshotShare;
    this.nextKind = FrameKind.segment;
    this.handedFacts = this.facts;
    const snapshotBytes = this.segment.pendingBytes;
    this.segmentBytes = -snapshotBytes;
    this.segmentBytesLeast = snapshotBytes;
  }
}

/** Whoever looks sees the old file or the new one. */
function replace(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.part`;
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}
