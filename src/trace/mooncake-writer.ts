/**
 * Writes Mooncake's JSONL exactly as the published files are written, so that reading one and
 * writing it gives the same bytes. A generated trace is named by the checksum of these bytes.
 */
import { createHash } from 'node:crypto';
import type { Writable } from 'node:stream';
import { InputError } from '../core/errors.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { NS_PER_MS } from '../core/units.ts';
import { replaceFile, writeAll } from './output.ts';

/** Bytes of a chunk at which it is passed on. */
const CHUNK_BYTES = 1 << 20;
/** More than a line takes besides its blocks, and than a block takes. */
const LINE_BYTES = 256;
const BLOCK_BYTES = 12;

const ZERO = 0x30;
const COMMA = 0x2c;
const SPACE = 0x20;

const TIMESTAMP = Buffer.from('{"timestamp": ');
const INPUT_LENGTH = Buffer.from(', "input_length": ');
const OUTPUT_LENGTH = Buffer.from(', "output_length": ');
const HASH_IDS = Buffer.from(', "hash_ids": [');
const HASH_IDS_END = Buffer.from(']');
const SESSION_ID = Buffer.from(', "session_id": "');
const SESSION_ID_END = Buffer.from('"');
const LINE_END = Buffer.from('}\n');

/**
 * Writes the trace to a file, which appears whole or not at all, or to a stream, which stays open.
 * The format has no tenants, SLO classes and namespaces; blocks are written as their dense ids.
 */
export async function writeMooncake(trace: TraceColumns, target: string | Writable): Promise<void> {
  checkParents(trace);
  if (typeof target === 'string') await replaceFile(target, mooncakeChunks(trace));
  else await writeAll(target, mooncakeChunks(trace));
}

/** Hex sha256 of what `writeMooncake` would write. */
export function mooncakeSha256(trace: TraceColumns): string {
  const hash = createHash('sha256');
  for (const chunk of mooncakeChunks(trace)) hash.update(chunk);
  return hash.digest('hex');
}

function* mooncakeChunks(trace: TraceColumns): Generator<Uint8Array> {
  const { requests, blockStart } = trace;
  let chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let length = 0;
  for (let row = 0; row < requests; row++) {
    const needed = LINE_BYTES + (blockStart[row + 1] - blockStart[row]) * BLOCK_BYTES;
    if (length + needed > chunk.length) {
      yield chunk.subarray(0, length);
      chunk = Buffer.allocUnsafe(Math.max(CHUNK_BYTES, needed));
      length = 0;
    }
    length = putLine(chunk, length, trace, row);
  }
  yield chunk.subarray(0, length);
}

function putLine(chunk: Buffer, at: number, trace: TraceColumns, row: number): number {
  const { arrivalNs, inputTokens, outputTokens, blockStart, blocks } = trace;
  at = putNumber(chunk, putBytes(chunk, at, TIMESTAMP), arrivalNs[row] / NS_PER_MS);
  at = putNumber(chunk, putBytes(chunk, at, INPUT_LENGTH), inputTokens[row]);
  at = putNumber(chunk, putBytes(chunk, at, OUTPUT_LENGTH), outputTokens[row]);
  at = putBytes(chunk, at, HASH_IDS);
  at = putBlocks(chunk, at, blocks, blockStart[row], blockStart[row + 1]);
  return putTail(chunk, at, trace, row);
}

function putBlocks(chunk: Buffer, at: number, ids: Int32Array, from: number, to: number): number {
  for (let index = from; index < to; index++) {
    if (index > from) {
      chunk[at++] = COMMA;
      chunk[at++] = SPACE;
    }
    at = putInteger(chunk, at, ids[index]);
  }
  return at;
}

function putNumber(chunk: Buffer, at: number, value: number): number {
  if ((value | 0) === value) return putInteger(chunk, at, value);
  return at + chunk.write(String(value), at, 'latin1');
}

/** What follows the blocks. Sessions are strings in aiperf's schema. */
function putTail(chunk: Buffer, at: number, trace: TraceColumns, row: number): number {
  const { session, parent, thinkNs, priority } = trace;
  at = putBytes(chunk, at, HASH_IDS_END);
  if (session !== null && session[row] >= 0) {
    at = putBytes(chunk, at, SESSION_ID);
    at = putInteger(chunk, at, session[row]);
    at = putBytes(chunk, at, SESSION_ID_END);
  }
  let rest = '';
  if (parent !== null && parent[row] >= 0) rest += `, "delay": ${thinkNs![row] / NS_PER_MS}`;
  if (priority !== null) rest += `, "priority": ${priority[row]}`;
  if (rest !== '') at += chunk.write(rest, at, 'latin1');
  return putBytes(chunk, at, LINE_END);
}

/** A loop: for so few bytes, a call of `set` would take longer. */
function putBytes(chunk: Buffer, at: number, bytes: Buffer): number {
  for (let index = 0; index < bytes.length; index++) chunk[at++] = bytes[index];
  return at;
}

/** An integer of 32 bits from 0 on, in decimal digits. `| 0` keeps the division an integer one. */
function putInteger(chunk: Buffer, at: number, value: number): number {
  let end = at + 1;
  for (let rest = value | 0; rest > 9; rest = (rest / 10) | 0) end++;
  let rest = value | 0;
  for (let digit = end - 1; digit >= at; digit--) {
    const tenth = (rest / 10) | 0;
    chunk[digit] = ZERO + rest - 10 * tenth;
    rest = tenth;
  }
  return end;
}

/** The format knows a parent only as the turn before in the same session. */
function checkParents({ parent, session, requests }: TraceColumns): void {
  if (parent === null) return;
  const lastTurn = new Map<number, number>();
  for (let row = 0; row < requests; row++) {
    const name = session === null ? -1 : session[row];
    if (parent[row] >= 0 && (name < 0 || lastTurn.get(name) !== parent[row])) {
      const found = `a request that waits for another than the turn before (row ${row})`;
      throw new InputError(`found ${found}, expected what Mooncake's format can say`);
    }
    lastTurn.set(name, row);
  }
}
