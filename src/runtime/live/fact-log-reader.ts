/**
 * Reads what FactLogs wrote: files frame by frame, so that a log of any size takes little memory.
 * A file that a kill cut off ends with its last whole frame; damage before that is an error.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { decode } from '../../core/codec.ts';
import { InputError } from '../../core/errors.ts';
import { type LogEntry, type LogHeader, SegmentReader } from '../../core/log.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { crc32c } from '../crc32c.ts';
import { FrameKind, HEADER_BYTES, headerOf } from './log-frames.ts';

/** One file: a machine in one life of its process. */
export interface LogFile {
  readonly path: string;
  readonly member: string;
  readonly incarnation: number;
  /** Name of the machine's address. */
  readonly machine: string;
  /** Of the machine in that life of its process: a conductor leads again. From 1. */
  readonly life: number;
}

export type LogItem =
  | { readonly kind: 'trace'; readonly trace: TraceColumns }
  | {
      readonly kind: 'segment';
      readonly header: LogHeader;
      readonly snapshot: Uint8Array;
      /** Facts that are missing before it. */
      readonly missing: number;
    }
  /** Number of the fact in the machine's life, from 0. */
  | { readonly kind: 'fact'; readonly number: number; readonly entry: LogEntry }
  | {
      readonly kind: 'end';
      /** The machine was stopped; else its process was killed. */
      readonly closed: boolean;
      /** Of a frame that was not written to its end, and is left out. */
      readonly tornBytes: number;
      readonly missing: number;
    };

const LIFE = /^(.+)\.(\d+)$/;
const FILE = /^([a-z]+\d*)(?:\.(\d+))?\.log$/;

/** Logs in a folder, by machine, process and life. */
export function logFiles(folder: string): LogFile[] {
  const files: LogFile[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const life = entry.isDirectory() ? LIFE.exec(entry.name) : null;
    if (life === null) continue;
    for (const name of readdirSync(join(folder, entry.name))) {
      const match = FILE.exec(name);
      if (match === null) continue;
      files.push({
        path: join(folder, entry.name, name),
        member: life[1],
        incarnation: Number(life[2]),
        machine: match[1],
        life: Number(match[2] ?? 1),
      });
    }
  }
  if (files.length === 0) throw new InputError('found no logs, expected some', folder);
  return files.sort(
    (a, b) =>
      a.machine.localeCompare(b.machine, 'en', { numeric: true }) ||
      a.member.localeCompare(b.member, 'en', { numeric: true }) ||
      a.incarnation - b.incarnation ||
      a.life - b.life,
  );
}

/** @throws InputError for a file that is damaged before its end */
export function* readLog(path: string): Generator<LogItem> {
  const file = openSync(path, 'r');
  try {
    let facts = 0;
    let reader: SegmentReader | null = null;
    let closed = false;
    let missing = 0;
    const frames = framesOf(file, path);
    let next = frames.next();
    for (; !next.done; next = frames.next()) {
      const { kind, firstFact, payload } = next.value;
      missing = firstFact - facts;
      closed = kind === FrameKind.end;
      if (missing < 0 || (missing > 0 && kind === FrameKind.facts)) {
        throw new InputError(`found fact ${firstFact}, expected fact ${facts}`, path);
      }
      if (kind === FrameKind.trace) yield { kind: 'trace', trace: decode(payload) as TraceColumns };
      if (kind === FrameKind.segment) {
        reader = new SegmentReader(payload);
        const { header, snapshot } = reader;
        facts = firstFact;
        yield { kind: 'segment', header, snapshot, missing };
      } else if (kind === FrameKind.facts) reader?.feed(payload);
      if (kind !== FrameKind.segment && kind !== FrameKind.facts) continue;
      if (reader === null) throw new InputError('found facts, expected a segment', path);
      for (const entry of reader.entries()) yield { kind: 'fact', number: facts++, entry };
    }
    yield { kind: 'end', closed, tornBytes: next.value, missing: closed ? missing : 0 };
  } catch (error) {
    if (error instanceof InputError && error.place === '') {
      throw new InputError(error.message, path);
    }
    throw error;
  } finally {
    closeSync(file);
  }
}

interface Frame {
  readonly kind: FrameKind;
  readonly firstFact: number;
  readonly payload: Uint8Array;
}

/** Returns the bytes of a torn frame at the end. */
function* framesOf(file: number, path: string): Generator<Frame, number> {
  const { size } = fstatSync(file);
  const head = Buffer.alloc(HEADER_BYTES);
  for (let at = 0; at < size; ) {
    const left = size - at;
    if (left < HEADER_BYTES) return left;
    readSync(file, head, 0, HEADER_BYTES, at);
    const header = headerOf(head);
    if (header === null) {
      if (isZero(file, at, size)) return left;
      throw new InputError('found other bytes, expected a frame of a fact log', place(path, at));
    }
    const endsAt = at + HEADER_BYTES + header.payloadBytes;
    if (endsAt > size) return left;
    const payload = new Uint8Array(header.payloadBytes);
    readSync(file, payload, 0, payload.length, at + HEADER_BYTES);
    if (crc32c(payload) !== header.crc) {
      if (endsAt === size) return left;
      throw new InputError('found a wrong checksum, expected the right one', place(path, at));
    }
    yield { ...header, payload };
    at = endsAt;
  }
  return 0;
}

function place(path: string, at: number): string {
  return `${path}, byte ${at}`;
}

/** A file that grew before its bytes were written: the machine went down. */
function isZero(file: number, from: number, to: number): boolean {
  const bytes = Buffer.alloc(64 << 10);
  for (let at = from; at < to; ) {
    const count = readSync(file, bytes, 0, Math.min(bytes.length, to - at), at);
    if (count === 0) return false;
    if (bytes.subarray(0, count).some((byte) => byte !== 0)) return false;
    at += count;
  }
  return true;
}
