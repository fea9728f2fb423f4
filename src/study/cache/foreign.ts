/**
 * Traces of other tools, as chunks of interned keys: the laboratory can be checked against anyone,
 * and a trace of any length passes through in constant memory, the table of keys aside. Plain
 * files are read piece by piece; compressed ones and stdin are held whole.
 */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { InputError } from '../../core/errors.ts';
import { loadSource } from '../../trace/source.ts';
import { type AccessStream, streamOfKeys } from './access-stream.ts';
import { oracleGeneralChunks } from './foreign-oracle-general.ts';
import { textChunks } from './foreign-text.ts';

/** A piece of a stream of independent accesses. Borrowed: valid until the next one is asked for. */
export interface KeyChunk {
  /** Dense ids in order of first appearance. */
  readonly keys: Int32Array;
  /** Of each access, or null where the trace has no clock. */
  readonly timeNs: Float64Array | null;
  /** Distinct keys up to the end of this chunk. */
  readonly distinct: number;
}

/** Bytes of a file, in order; each piece is borrowed. */
export type ByteChunks = Iterable<Uint8Array>;

export const FOREIGN_FORMATS = ['keys', 'oracle-general'] as const;
export type ForeignFormat = (typeof FOREIGN_FORMATS)[number];

const READ_BYTES = 1 << 20;
/** gzip and zstd begin with these. */
const COMPRESSED = ['1f8b', '28b5'];

/** `keys:path` or `oracle-general:path`, or null when `name` is no foreign trace. */
export function foreignTrace(name: string): { format: ForeignFormat; path: string } | null {
  for (const format of FOREIGN_FORMATS) {
    if (name.startsWith(`${format}:`)) return { format, path: name.slice(format.length + 1) };
  }
  return null;
}

/** @throws InputError for a missing file; the chunks throw it for bad content */
export async function openForeign(
  format: ForeignFormat,
  path: string,
): Promise<Iterable<KeyChunk>> {
  const place = path === '-' ? 'stdin' : path;
  const bytes = isPlainFile(path) ? fileChunks(path) : [(await loadSource(path)).bytes];
  return format === 'keys' ? textChunks(bytes, place) : oracleGeneralChunks(bytes, place);
}

/** All of a trace at once, for what needs the whole of it. */
export function collectForeign(chunks: Iterable<KeyChunk>): AccessStream {
  let keys = new Int32Array(READ_BYTES);
  let timeNs: Float64Array | null = null;
  let length = 0;
  let distinct = 0;
  for (const chunk of chunks) {
    const end = length + chunk.keys.length;
    if (end > keys.length) {
      const room = 2 * end;
      const grown = new Int32Array(room);
      grown.set(keys);
      keys = grown;
    }
    keys.set(chunk.keys, length);
    if (chunk.timeNs !== null) {
      if (timeNs === null || end > timeNs.length) {
        const grown: Float64Array = new Float64Array(keys.length);
        if (timeNs !== null) grown.set(timeNs.subarray(0, length));
        timeNs = grown;
      }
      timeNs.set(chunk.timeNs, length);
    }
    length = end;
    distinct = chunk.distinct;
  }
  return streamOfKeys(keys.slice(0, length), distinct, timeNs?.slice(0, length) ?? null);
}

function isPlainFile(path: string): boolean {
  if (path === '-' || !existsSync(path)) return false;
  const head = Buffer.alloc(2);
  const file = openSync(path, 'r');
  try {
    return !COMPRESSED.includes(head.toString('hex', 0, readSync(file, head)));
  } catch {
    return false;
  } finally {
    closeSync(file);
  }
}

function* fileChunks(path: string): Generator<Uint8Array> {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(READ_BYTES);
    for (;;) {
      const length = readSync(file, buffer);
      if (length === 0) return;
      yield buffer.subarray(0, length);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new InputError(`found a file error (${code}), expected a readable file`, path);
  } finally {
    closeSync(file);
  }
}
