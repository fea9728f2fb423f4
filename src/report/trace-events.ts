/**
 * A file in the Trace Event Format (JSON; "Trace Event Format", the Chromium authors, 2016),
 * written as it comes: complete slices, counters, instants, and flows that bind to slices. Times
 * are ns here and microseconds in the file.
 */
import {
  closeSync,
  createReadStream,
  createWriteStream,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { temporaryName, writeProblem } from './files.ts';

export interface Slice {
  readonly process: number;
  readonly thread: number;
  readonly name: string;
  readonly startNs: number;
  readonly endNs: number;
}

type Args = Readonly<Record<string, number | boolean>>;

/** Where a flow passes. */
interface Point {
  readonly process: number;
  readonly thread: number;
  readonly atNs: number;
}

interface Flow {
  /** Its last point is not written: it may be the end. */
  pending: Point;
  started: boolean;
}

interface Counter {
  readonly head: string;
  atNs: number;
  value: number;
  written: boolean;
}

/** Characters that are gathered before they are written. */
const CHUNK = 1 << 18;

export class TraceEvents {
  private readonly path: string;
  private readonly file: number;
  private open = true;
  private first = true;
  private parts: string[] = [];
  private size = 0;
  private readonly flows = new Map<number, Flow>();
  private readonly counters = new Map<string, Counter>();

  constructor(path: string) {
    this.path = path;
    try {
      this.file = openSync(temporaryName(path), 'w');
    } catch (error) {
      throw writeProblem(path, error);
    }
    this.put('{"displayTimeUnit":"ms","traceEvents":[');
  }

  process(process: number, name: string): void {
    this.metadata('process_name', process, 0, `"name":${JSON.stringify(name)}`);
    this.metadata('process_sort_index', process, 0, `"sort_index":${process}`);
  }

  thread(process: number, thread: number, name: string): void {
    this.metadata('thread_name', process, thread, `"name":${JSON.stringify(name)}`);
    this.metadata('thread_sort_index', process, thread, `"sort_index":${thread}`);
  }

  slice({ process, thread, name, startNs, endNs }: Slice, args: Args): void {
    const place = `"pid":${process},"tid":${thread}`;
    const time = `"ts":${us(startNs)},"dur":${us(endNs - startNs)}`;
    const what = `"name":${JSON.stringify(name)},"args":${JSON.stringify(args)}`;
    this.event(`"ph":"X",${place},${time},${what}`);
  }

  instant(process: number, thread: number, name: string, atNs: number, args: Args): void {
    const place = `"pid":${process},"tid":${thread},"ts":${us(atNs)}`;
    this.event(`"ph":"i","s":"t",${place},"name":"${name}","args":${JSON.stringify(args)}`);
  }

  /** The value from now on. Of several values at one time the last one counts. */
  counter(process: number, name: string, atNs: number, value: number): void {
    const key = `${process} ${name}`;
    const known = this.counters.get(key);
    if (known === undefined) {
      const head = `"ph":"C","pid":${process},"name":${JSON.stringify(name)}`;
      this.counters.set(key, { head, atNs, value, written: false });
      return;
    }
    if (atNs > known.atNs) this.writeCounter(known);
    known.atNs = atNs;
    known.value = value;
    known.written = false;
  }

  /** The flow passes through a slice, no earlier than where it passed before. */
  flow(id: number, { process, thread, startNs, endNs }: Slice): void {
    const flow = this.flows.get(id);
    const middleNs = startNs + Math.floor((endNs - startNs) / 2);
    const atNs = flow === undefined ? middleNs : Math.max(middleNs, flow.pending.atNs);
    // Over before the flow's last point: the arrow would run backwards.
    if (atNs >= endNs) return;
    const pending = { process, thread, atNs };
    if (flow === undefined) this.flows.set(id, { pending, started: false });
    else {
      this.writeFlow(id, flow, flow.started ? 't' : 's');
      flow.pending = pending;
      flow.started = true;
    }
  }

  /** The flow is over; one that passed through a single slice is none. */
  endFlow(id: number): void {
    const flow = this.flows.get(id);
    if (flow?.started) this.writeFlow(id, flow, 'f');
    this.flows.delete(id);
  }

  /** Completes the file and moves it to its place. */
  async finish(): Promise<void> {
    for (const id of [...this.flows.keys()]) this.endFlow(id);
    for (const counter of this.counters.values()) if (!counter.written) this.writeCounter(counter);
    this.put('\n]}\n');
    this.flush();
    this.close();
    const { path } = this;
    const plain = temporaryName(path);
    try {
      if (path.endsWith('.gz')) {
        const packed = temporaryName(`${path}.packed`);
        await pipeline(createReadStream(plain), createGzip(), createWriteStream(packed));
        renameSync(packed, path);
        rmSync(plain);
      } else renameSync(plain, path);
    } catch (error) {
      this.discard();
      throw writeProblem(path, error);
    }
  }

  discard(): void {
    this.close();
    rmSync(temporaryName(this.path), { force: true });
    rmSync(temporaryName(`${this.path}.packed`), { force: true });
  }

  private close(): void {
    if (this.open) closeSync(this.file);
    this.open = false;
  }

  private metadata(what: string, process: number, thread: number, args: string): void {
    this.event(`"ph":"M","pid":${process},"tid":${thread},"name":"${what}","args":{${args}}`);
  }

  private writeCounter(counter: Counter): void {
    counter.written = true;
    this.event(`${counter.head},"ts":${us(counter.atNs)},"args":{"value":${counter.value}}`);
  }

  private writeFlow(id: number, { pending }: Flow, phase: 's' | 't' | 'f'): void {
    const { process, thread, atNs } = pending;
    const bind = phase === 's' ? '' : ',"bp":"e"';
    const place = `"pid":${process},"tid":${thread},"ts":${us(atNs)}`;
    this.event(`"ph":"${phase}","id":${id},${place},"cat":"request","name":"request"${bind}`);
  }

  private event(body: string): void {
    this.put(`${this.first ? '' : ','}\n{${body}}`);
    this.first = false;
  }

  private put(text: string): void {
    this.parts.push(text);
    this.size += text.length;
    if (this.size >= CHUNK) this.flush();
  }

  private flush(): void {
    const bytes = Buffer.from(this.parts.join(''));
    this.parts = [];
    this.size = 0;
    for (let at = 0; at < bytes.length; ) at += writeSync(this.file, bytes, at);
  }
}

function us(ns: number): number {
  return ns / 1000;
}
