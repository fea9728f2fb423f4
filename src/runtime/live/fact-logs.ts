/**
 * The fact logs of one process, on disk while it runs: a folder per life of the process, in it a
 * file per machine. Facts are encoded as they are handled and written behind the machines' back, so
 * that a kill loses the last tenth of a second and nothing else. Serving comes first: a disk
 * that is full ends the logs, one that is slow makes a gap in them, and the cluster goes on.
 */
import {
  createWriteStream,
  mkdirSync,
  openSync,
  renameSync,
  type WriteStream,
  writeFileSync,
} from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
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
import { FrameKind, frameOf } from './log-frames.ts';
import type { LogManifest } from './log-manifest.ts';
import { MANIFEST } from './log-manifest.ts';

export interface LogLimits {
  /** What has been encoded is handed to the disk so often, or when it is so much. */
  readonly flushMs: number;
  readonly frameBytes: number;
  /**
   * A segment ends at the first of these, so that none takes long to replay; but never before its
   * facts take as many bytes as its snapshot.
   */
  readonly segmentBytes: number;
  readonly segmentMs: number;
  /** Bytes of all logs that wait for the disk. Beyond it facts are left out. */
  readonly backlogBytes: number;
}

const LIMITS: LogLimits = {
  flushMs: 100,
  frameBytes: 64 << 10,
  segmentBytes: 16 << 20,
  segmentMs: 60_000,
  backlogBytes: 64 << 20,
};
/** Statistics are written anew so often. */
const STATS_MS = 1000;
const NO_BYTES = new Uint8Array();

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
}

export class FactLogs {
  readonly limits: LogLimits;
  private readonly options: FactLogsOptions;
  private readonly folder: string;
  private readonly files: MachineFile[] = [];
  private timer: NodeJS.Timeout | null = null;
  private stopped = false;
  /** The disk is too slow, and has not caught up yet. */
  private isBehind = false;
  private statsText = '';
  private statsAtMs = 0;

  constructor(options: FactLogsOptions) {
    this.options = options;
    this.limits = { ...LIMITS, ...options.limits };
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
    const file = new MachineFile(this, header, this.stream(name));
    if (trace !== null) file.write(FrameKind.trace, encode(trace));
    this.files.push(file);
    return file;
  }

  /** Bytes that wait for the disk. */
  get backlogBytes(): number {
    return this.files.reduce((sum, { waitingBytes }) => sum + waitingBytes, 0);
  }

  /** Something is there to be written. */
  arm(): void {
    if (this.timer !== null || this.stopped) return;
    this.timer = setTimeout(() => this.tick(), this.limits.flushMs).unref();
  }

  /** More waits than may: facts are left out until the disk has caught up. */
  rest(): void {
    const { member, onWarning } = this.options;
    this.isBehind = true;
    for (const file of this.files) file.rest();
    onWarning(`${member}: the disk is too slow for the fact logs, facts are missing in them`);
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
  async close(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer);
    await Promise.all(this.files.map((file) => file.close()));
    if (this.stopped) return;
    this.stopped = true;
    try {
      replace(join(this.folder, 'stats.json'), JSON.stringify(this.options.stats()));
    } catch (error) {
      this.options.onWarning(`${this.options.member}: no statistics: ${String(error)}`);
    }
  }

  private tick(): void {
    this.timer = null;
    for (const file of this.files) file.tick();
    if (this.backlogBytes === 0) this.isBehind = false;
    else if (this.backlogBytes > this.limits.backlogBytes && !this.isBehind) this.rest();
    const nowMs = performance.now();
    if (nowMs - this.statsAtMs < STATS_MS || this.stopped) return;
    this.statsAtMs = nowMs;
    void this.writeStats();
  }

  private async writeStats(): Promise<void> {
    const text = JSON.stringify(this.options.stats());
    if (text === this.statsText) return;
    this.statsText = text;
    const path = join(this.folder, 'stats.json');
    try {
      await writeFile(`${path}.part`, text);
      if (!this.stopped) await rename(`${path}.part`, path);
    } catch (error) {
      this.stop(error);
    }
  }

  private stream(name: string): WriteStream | null {
    if (this.stopped) return null;
    const path = join(this.folder, `${name}.log`);
    try {
      const stream = createWriteStream(path, { fd: openSync(path, 'wx') });
      return stream.on('error', (error) => this.stop(error));
    } catch (error) {
      this.stop(error);
      return null;
    }
  }
}

/** The log of one machine. Whatever goes wrong here goes no further. */
class MachineFile implements Log {
  readonly machine: string;
  private readonly logs: FactLogs;
  private readonly header: LogHeader;
  private stream: WriteStream | null;
  private segment: SegmentWriter | null = null;
  /** Bytes of the facts that were handed over; when the segment ends, and may end for its age. */
  private segmentBytes = 0;
  private segmentBytesMost = 0;
  private segmentBytesLeast = 0;
  private segmentAtMs = 0;
  private isOld = false;
  private isResting = false;
  /** Facts of the machine's life, and those that the disk was given. */
  private facts = 0;
  private handedFacts = 0;
  private nextKind: FrameKind = FrameKind.segment;

  constructor(logs: FactLogs, header: LogHeader, stream: WriteStream | null) {
    this.logs = logs;
    this.header = header;
    this.machine = header.machine;
    this.stream = stream;
  }

  get waitingBytes(): number {
    return this.stream?.writableLength ?? 0;
  }

  fact(machine: LoggedMachine, fact: Fact): void {
    if (this.stream === null) return;
    try {
      const { limits } = this.logs;
      if (this.segment !== null && this.segment.pendingBytes >= limits.frameBytes) this.flush();
      if (this.segment === null || this.isLong()) this.begin(machine);
      this.facts++;
      this.segment?.fact(fact);
      this.logs.arm();
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
    this.stream?.write(frameOf(kind, this.handedFacts, payload));
  }

  tick(): void {
    this.flush();
    this.isOld = performance.now() - this.segmentAtMs > this.logs.limits.segmentMs;
  }

  /** Leaves out what is not written yet, and goes on with a snapshot when the disk is free. */
  rest(): void {
    this.segment = null;
    this.isResting = true;
  }

  abandon(): void {
    this.segment = null;
    this.stream?.destroy();
    this.stream = null;
  }

  async close(): Promise<void> {
    const { stream } = this;
    if (stream === null) return;
    this.flush();
    this.handedFacts = this.facts;
    this.write(FrameKind.end, NO_BYTES);
    this.segment = null;
    this.stream = null;
    await new Promise<void>((done) => {
      // Also when it fails: then the logs have been stopped.
      stream.once('close', done).end();
    });
  }

  private isLong(): boolean {
    const old = this.isOld && this.segmentBytes >= this.segmentBytesLeast;
    return old || this.segmentBytes >= this.segmentBytesMost;
  }

  private begin(machine: LoggedMachine): void {
    this.flush();
    this.segment = null;
    if (this.isResting && this.logs.backlogBytes > 0) return;
    this.isResting = false;
    this.segment = new SegmentWriter(this.header, machine);
    this.nextKind = FrameKind.segment;
    this.handedFacts = this.facts;
    const snapshotBytes = this.segment.pendingBytes;
    this.segmentBytes = -snapshotBytes;
    this.segmentBytesLeast = snapshotBytes;
    this.segmentBytesMost = Math.max(this.logs.limits.segmentBytes, snapshotBytes);
    this.segmentAtMs = performance.now();
    this.isOld = false;
  }

  /** Between two facts: what is there is whole. */
  private flush(): void {
    const { segment } = this;
    if (segment === null || segment.pendingBytes === 0) return;
    this.segmentBytes += segment.pendingBytes;
    this.write(this.nextKind, segment.drain());
    this.handedFacts = this.facts;
    this.nextKind = FrameKind.facts;
  }
}

/** Whoever looks sees the old file or the new one. */
function replace(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.part`;
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}
