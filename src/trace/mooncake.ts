/**
 * Mooncake's JSONL: one request a line, {timestamp (ms), input_length, output_length, hash_ids},
 * blocks of 512 tokens unless told otherwise. Of aiperf's extension it takes session_id, delay
 * (ms after the end of the session's turn before) and priority; a line describes its whole prompt,
 * never only what is new in it. Other fields are ignored.
 */
import { InputError } from '../core/errors.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { NS_PER_MS } from '../core/units.ts';
import { TraceBuilder } from './builder.ts';
import { BATCH_LINES, LineBatch, type LineFields, LineTemplate } from './line-template.ts';
import type { TraceSource } from './source.ts';

/** Tokens per block of the published traces (Mooncake, FAST25-release/README.md). */
export const MOONCAKE_BLOCK_TOKENS = 512;

export interface ReadOptions {
  /** Read this many requests; the checksum is that of the whole. */
  readonly limit?: number;
  /** Tokens per block, where the format does not say. */
  readonly blockTokens?: number;
}

const FIELDS: LineFields = {
  numbers: ['timestamp', 'input_length', 'output_length', 'delay', 'priority'],
  array: 'hash_ids',
  text: 'session_id',
};
const TIMESTAMP = 0;
const INPUT_LENGTH = 1;
const OUTPUT_LENGTH = 2;
const DELAY = 3;
const PRIORITY = 4;

const TOKENS_MAX = 2 ** 31 - 1;
/** Lines that may differ from the one before in more than values before templates are given up. */
const TEMPLATES_MAX = 256;
const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
const EXCERPT_CHARS = 40;

/** Reads a whole trace. Bad lines throw InputError with `file:line`. */
export function readMooncake(source: TraceSource, options: ReadOptions = {}): TraceColumns {
  return new MooncakeReader(source, options).read();
}

/** Whether a file that begins like this is probably a Mooncake trace. */
export function looksLikeMooncake(head: string): boolean {
  return /^\s*\{/.test(head) && head.includes('"hash_ids"');
}

class MooncakeReader {
  private readonly source: TraceSource;
  private readonly limit: number;
  private readonly blockTokens: number;
  private readonly builder: TraceBuilder;
  private readonly batch = new LineBatch(FIELDS);
  private template: LineTemplate | null = null;
  private templates = 0;
  private readonly sessions = new Map<string, number>();
  /** Last row of each session. */
  private readonly lastTurn: number[] = [];
  private line = 0;
  private originMs = 0;
  private lastMs = 0;

  constructor(source: TraceSource, options: ReadOptions) {
    this.source = source;
    this.limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.blockTokens = options.blockTokens ?? MOONCAKE_BLOCK_TOKENS;
    this.builder = new TraceBuilder(this.blockTokens);
  }

  read(): TraceColumns {
    const { bytes, place, sha256 } = this.source;
    const marked = BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte);
    let at = marked ? BYTE_ORDER_MARK.length : 0;
    while (at < bytes.length && this.builder.rows < this.limit) {
      const next = this.readAlike(at);
      at = next === at ? this.readOther(at) : next;
    }
    if (this.builder.rows === 0) {
      throw new InputError('found no requests, expected one JSON object a line', place);
    }
    return this.builder.finish(sha256);
  }

  /** Reads lines that are like the one before, maybe none. Returns the offset after them. */
  private readAlike(from: number): number {
    if (this.template === null) return from;
    const batch = this.batch;
    const lines = Math.min(BATCH_LINES, this.limit - this.builder.rows);
    const at = this.template.scan(this.source.bytes, from, batch, lines);
    let hashes = 0;
    for (let line = 0; line < batch.lines; line++) {
      this.line++;
      this.addRow(batch, line, batch.hashEnd[line] - hashes);
      hashes = batch.hashEnd[line];
    }
    this.builder.addBlocks(batch.hashes, hashes);
    return at;
  }

  /** Reads a line that is not like the one before. Returns the offset of the next. */
  private readOther(from: number): number {
    this.line++;
    const bytes = this.source.bytes;
    const newline = bytes.indexOf(NEWLINE, from);
    const end = newline === -1 ? bytes.length : newline;
    const text = bytes.toString('utf8', from, end);
    if (text.trim() !== '') {
      const hashes = this.parse(text, newline === -1);
      this.addRow(this.batch, 0, hashes?.length ?? -1);
      for (const hash of hashes ?? []) this.builder.addBlock(hash);
      this.batch.reset();
      if (this.templates < TEMPLATES_MAX) {
        this.templates++;
        this.template = LineTemplate.learn(text, FIELDS);
      }
    }
    return end + 1;
  }

  /** Fills line 0 of the batch; returns its hashes, which may be wider than the batch's. */
  private parse(text: string, last: boolean): number[] | null {
    let line: unknown;
    try {
      line = JSON.parse(text);
    } catch {
      const what = last ? 'a truncated line or no JSON' : 'no JSON';
      throw this.bad(`${what} (${excerpt(text)})`, 'an object with timestamp, input_length, …');
    }
    if (typeof line !== 'object' || line === null || Array.isArray(line)) {
      throw this.bad(excerpt(text), 'an object with timestamp, input_length, …');
    }
    const fields = line as Record<string, unknown>;
    this.batch.reset();
    for (let index = 0; index < FIELDS.numbers.length; index++) {
      const name = FIELDS.numbers[index];
      const value = fields[name] ?? Number.NaN;
      if (typeof value !== 'number') throw this.bad(`${name} ${excerpt(value)}`, 'a number');
      this.batch.numbers[index * BATCH_LINES] = value;
    }
    const session = fields.session_id ?? null;
    if (session !== null) {
      if (typeof session !== 'string' && typeof session !== 'number') {
        throw this.bad(`session_id ${excerpt(session)}`, 'a string or a number');
      }
      this.batch.texts[0] = String(session);
    }
    return this.hashesOf(fields.hash_ids ?? null);
  }

  private hashesOf(hashes: unknown): number[] | null {
    if (hashes === null) return null;
    if (!Array.isArray(hashes)) throw this.bad(`hash_ids ${excerpt(hashes)}`, 'an array');
    const odd = hashes.findIndex((hash) => !Number.isSafeInteger(hash));
    if (odd === -1) return hashes;
    throw this.bad(`${excerpt(hashes[odd])} at hash_ids[${odd}]`, 'an integer below 2^53');
  }

  /** Checks a line and appends it; its blocks follow. */
  private addRow(batch: LineBatch, line: number, hashCount: number): void {
    const numbers = batch.numbers;
    const input = numbers[INPUT_LENGTH * BATCH_LINES + line];
    const output = numbers[OUTPUT_LENGTH * BATCH_LINES + line];
    const delayMs = numbers[DELAY * BATCH_LINES + line];
    const priority = numbers[PRIORITY * BATCH_LINES + line];
    if (!(input >= 1 && isTokens(input))) throw this.badTokens(INPUT_LENGTH, input, 1);
    if (!(output >= 0 && isTokens(output))) throw this.badTokens(OUTPUT_LENGTH, output, 0);
    if (hashCount !== Math.ceil(input / this.blockTokens)) throw this.badHashes(hashCount, input);
    let ms = numbers[TIMESTAMP * BATCH_LINES + line];
    if (!(ms >= this.lastMs)) ms = this.impliedMs(ms, batch.texts[line], delayMs);
    if (this.builder.rows === 0) this.originMs = ms;
    this.lastMs = ms;
    const arrivalNs = Math.round((ms - this.originMs) * NS_PER_MS);
    if (arrivalNs > Number.MAX_SAFE_INTEGER) {
      throw this.bad(`timestamp ${ms}`, `less than 100 days after the first, ${this.originMs}`);
    }
    // Prefill makes the first token whatever comes after it, so a request that was logged without
    // output (its client left) costs its prefill all the same: it is read as one of one token.
    const row = this.builder.addRow(arrivalNs, input, output === 0 ? 1 : output, hashCount);
    if (batch.texts.length > 0) this.addTurn(row, batch.texts[line], delayMs);
    else if (delayMs === delayMs) throw this.bad('a delay', 'a session_id with it');
    if (priority === priority) this.addPriority(row, priority);
  }

  /** The time of a line whose timestamp is missing or too low, if that is allowed. */
  private impliedMs(timestampMs: number, session: string | undefined, delayMs: number): number {
    if (timestampMs < 0) throw this.bad(`timestamp ${timestampMs}`, 'at least 0 ms');
    if (timestampMs < this.lastMs) {
      const found = `timestamp ${timestampMs} after ${this.lastMs}`;
      throw this.bad(found, 'timestamps that never decrease');
    }
    // A later turn of a closed loop needs no time of its own: it stands where its line does.
    if (delayMs >= 0 && session !== undefined && this.sessions.has(session)) return this.lastMs;
    throw this.bad('no timestamp', 'ms since the start of the trace');
  }

  private addTurn(row: number, name: string, delayMs: number): void {
    let session = this.sessions.get(name);
    if (session === undefined) {
      session = this.sessions.size;
      this.sessions.set(name, session);
    } else if (!Number.isNaN(delayMs)) {
      if (delayMs < 0) throw this.bad(`delay ${delayMs}`, 'at least 0 ms');
      this.builder.setParent(row, this.lastTurn[session], Math.round(delayMs * NS_PER_MS));
    }
    this.builder.setSession(row, session);
    this.lastTurn[session] = row;
  }

  private addPriority(row: number, priority: number): void {
    if ((priority | 0) !== priority) throw this.bad(`priority ${priority}`, 'a 32-bit integer');
    this.builder.setPriority(row, priority);
  }

  private badTokens(field: number, tokens: number, least: number): InputError {
    const name = FIELDS.numbers[field];
    const found = Number.isNaN(tokens) ? `no ${name}` : `${name} ${tokens}`;
    return this.bad(found, `an integer from ${least} to ${TOKENS_MAX}`);
  }

  private badHashes(count: number, inputTokens: number): InputError {
    if (count === -1) return this.bad('no hash_ids', 'an array of integers');
    const expected = Math.ceil(inputTokens / this.blockTokens);
    const blocks = `${expected} (blocks of ${this.blockTokens} tokens)`;
    return this.bad(`${count} hash_ids for ${inputTokens} input tokens`, blocks);
  }

  private bad(found: string, expected: string): InputError {
    const place = `${this.source.place}:${this.line}`;
    return new InputError(`found ${found}, expected ${expected}`, place);
  }
}

function isTokens(value: number): boolean {
  return value <= TOKENS_MAX && Number.isInteger(value);
}

/** A value as it stands in the file, cut to what fits an error line. */
function excerpt(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const short = text.length > EXCERPT_CHARS ? `${text.slice(0, EXCERPT_CHARS)}…` : text;
  return JSON.stringify(short).slice(1, -1).replaceAll('\\"', '"');
}
