/** Plain text: one key a line. Whole numbers below 10^15 are interned as such, others as text. */
import { InputError } from '../../core/errors.ts';
import type { ByteChunks, KeyChunk } from './foreign.ts';
import { KeyTable } from './key-table.ts';

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
/** So many digits fit a number exactly. */
const DIGITS_MAX = 15;
const CHUNK_KEYS = 65_536;
const HALF = 2 ** 32;

/** @throws InputError for an empty line, and for a file without keys */
export function* textChunks(bytes: ByteChunks, place: string): Generator<KeyChunk> {
  const reader = new KeyLines(place);
  for (const piece of bytes) {
    let from = 0;
    for (;;) {
      const end = piece.indexOf(NEWLINE, from);
      if (end < 0) break;
      reader.addLine(piece, from, end);
      from = end + 1;
      if (reader.full) yield reader.take();
    }
    reader.keepRest(piece, from);
  }
  reader.end();
  if (reader.line === 0) throw new InputError('found no keys, expected one a line', place);
  yield reader.take();
}

class KeyLines {
  line = 0;
  private readonly place: string;
  private readonly table = new KeyTable();
  private readonly keys = new Int32Array(CHUNK_KEYS);
  private count = 0;
  /** Beginning of a line whose end is in the next piece. */
  private rest = Buffer.alloc(0);

  constructor(place: string) {
    this.place = place;
  }

  get full(): boolean {
    return this.count === CHUNK_KEYS;
  }

  take(): KeyChunk {
    const keys = this.keys.subarray(0, this.count);
    this.count = 0;
    return { keys, timeNs: null, distinct: this.table.size };
  }

  addLine(piece: Uint8Array, from: number, end: number): void {
    if (this.rest.length > 0) {
      const whole = Buffer.concat([this.rest, piece.subarray(from, end)]);
      this.rest = Buffer.alloc(0);
      this.add(whole, 0, whole.length);
    } else {
      this.add(piece, from, end);
    }
  }

  keepRest(piece: Uint8Array, from: number): void {
    if (from < piece.length) this.rest = Buffer.concat([this.rest, piece.subarray(from)]);
  }

  /** The last line may lack its newline. */
  end(): void {
    if (this.rest.length > 0) this.add(this.rest, 0, this.rest.length);
  }

  private add(bytes: Uint8Array, from: number, lineEnd: number): void {
    this.line++;
    const end = bytes[lineEnd - 1] === RETURN && lineEnd > from ? lineEnd - 1 : lineEnd;
    if (end === from) {
      throw new InputError('found an empty line, expected a key', `${this.place}:${this.line}`);
    }
    const value = wholeNumber(bytes, from, end);
    if (value >= 0) {
      this.keys[this.count++] = this.table.internNumber(value >>> 0, Math.floor(value / HALF));
    } else {
      const text = Buffer.from(bytes.buffer, bytes.byteOffset + from, end - from).toString('utf8');
      this.keys[this.count++] = this.table.internText(text);
    }
  }
}

/** The number that the bytes spell in its usual form, or -1. */
function wholeNumber(bytes: Uint8Array, from: number, end: number): number {
  if (end - from > DIGITS_MAX || (bytes[from] === DIGIT_0 && end - from > 1)) return -1;
  let value = 0;
  for (let i = from; i < end; i++) {
    const digit = bytes[i];
    if (digit < DIGIT_0 || digit > DIGIT_9) return -1;
    value = value * 10 + (digit - DIGIT_0);
  }
  return value;
}
