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
import type { TraceSource } from './source.ts';
import { textLines } from './text-lines.ts';

/** Tokens per block of the published traces (Mooncake, FAST25-release/README.md). */
export const MOONCAKE_BLOCK_TOKENS = 512;

export interface ReadOptions {
  /** Read this many requests; the checksum is that of the whole. */
  readonly limit?: number;
  /** Tokens per block, where the format does not say. */
  readonly blockTokens?: number;
  /** Seed of a generator, instead of its spec's. */
  readonly seed?: number;
}

/** A line that JSON.parse accepts; nothing is sure about its fields. */
interface Line {
  readonly timestamp?: unknown;
  readonly input_length?: unknown;
  readonly output_length?: unknown;
  readonly hash_ids?: unknown;
  readonly session_id?: unknown;
  readonly delay?: unknown;
  readonly priority?: unknown;
}

const TOKENS_MAX = 2 ** 31 - 1;
const EXCERPT_CHARS = 40;

/** Reads a whole trace. Bad lines throw InputError with `file:line`. */
export function readMooncake(source: TraceSource, options: ReadOptions = {}): TraceColumns {
  return new MooncakeReader(source, options).read();
}

/** Whether a file that begins like this is probably a Mooncake trace. */
export function looksLikeMooncake(head: string): boolean {
  return /^\s*\{/.test(head) && head.includes('"hash_ids"');
}

/**
 * JSON.parse of every line: a scanner of our own is faster warm, but a cold run is over before
 * the compiler has made it so.
 */
class MooncakeReader {
  private readonly source: TraceSource;
  private readonly limit: number;
  private readonly blockTokens: number;
  private readonly builder: TraceBuilder;
  private readonly sessions = new Map<string, number>();
  /** Last row of each session. */
  private readonly lastTurn: number[] = [];
  private line = 0;
  private firstMs = 0;
  private lastMs = 0;

  constructor(source: TraceSource, options: ReadOptions) {
    this.source = source;
    this.limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.blockTokens = options.blockTokens ?? MOONCAKE_BLOCK_TOKENS;
    this.builder = new TraceBuilder(this.blockTokens, source.bytes.length);
  }

  read(): TraceColumns {
    const { bytes, place, sha256 } = this.source;
    for (const lines of textLines(bytes)) {
      for (let index = 0; index < lines.length && this.builder.rows < this.limit; index++) {
        this.line++;
        this.addLine(lines[index]);
      }
      if (this.builder.rows === this.limit) break;
    }
    if (this.builder.rows === 0) {
      throw new InputError('found no requests, expected one JSON object a line', place);
    }
    return this.builder.finish(sha256);
  }

  private addLine(text: string): void {
    let line: Line;
    try {
      line = JSON.parse(text);
    } catch {
      if (text.trim() === '') return;
      const found = `${cut(text)}, which is no JSON`;
      throw this.bad(found, 'a whole object with timestamp, input_length, …');
    }
    if (typeof line !== 'object' || line === null || Array.isArray(line)) {
      throw this.bad(cut(text), 'an object with timestamp, input_length, …');
    }
    const { input_length: input, output_length: output, session_id: session, delay } = line;
    if (!isTokens(input) || input === 0) throw this.badTokens('input_length', input, 1);
    if (!isTokens(output)) throw this.badTokens('output_length', output, 0);
    // Prefill makes the first token whatever comes after it, so a request that was logged without
    // output (its client left) costs its prefill all the same: it is read as one of one token.
    const row = this.builder.addRow(this.arrivalNs(line), input, output === 0 ? 1 : output);
    this.addBlocks(line.hash_ids, input);
    if (session !== undefined || delay !== undefined) this.addTurn(row, session, delay);
    if (line.priority !== undefined) this.addPriority(row, line.priority);
  }

  /** Ns since the first request. */
  private arrivalNs(line: Line): number {
    const ms = typeof line.timestamp === 'number' ? line.timestamp : this.impliedMs(line);
    if (ms < 0) throw this.bad(`timestamp ${ms}`, 'at least 0 ms');
    if (ms < this.lastMs) {
      throw this.bad(`timestamp ${ms} after ${this.lastMs}`, 'timestamps that never decrease');
    }
    if (this.builder.rows === 0) this.firstMs = ms;
    this.lastMs = ms;
    const arrivalNs = Math.round((ms - this.firstMs) * NS_PER_MS);
    if (arrivalNs <= Number.MAX_SAFE_INTEGER) return arrivalNs;
    throw this.bad(`timestamp ${ms}`, `less than 100 days after the first, ${this.firstMs}`);
  }

  /** A later turn of a closed loop needs no time of its own: it stands where its line does. */
  private impliedMs(line: Line): number {
    const { timestamp, delay, session_id: session } = line;
    if (isGiven(timestamp)) throw this.bad(`timestamp ${shown(timestamp)}`, 'a number of ms');
    if (isGiven(delay) && this.sessions.has(String(session))) return this.lastMs;
    throw this.bad('no timestamp', 'ms since the start of the trace');
  }

  private addBlocks(hashes: unknown, inputTokens: number): void {
    if (!isGiven(hashes)) throw this.bad('no hash_ids', 'an array of integers');
    if (!Array.isArray(hashes)) throw this.bad(`hash_ids ${shown(hashes)}`, 'an array');
    const taken = this.builder.addBlocks(hashes);
    if (taken < hashes.length) {
      throw this.bad(`${shown(hashes[taken])} at hash_ids[${taken}]`, 'an integer below 2^53');
    }
    const expected = Math.ceil(inputTokens / this.blockTokens);
    if (taken !== expected) {
      const found = `${taken} hash_ids for ${inputTokens} input tokens`;
      throw this.bad(found, `${expected} (blocks of ${this.blockTokens} tokens)`);
    }
  }

  private addTurn(row: number, name: unknown, delayMs: unknown): void {
    if (!isGiven(name)) {
      if (isGiven(delayMs)) throw this.bad('a delay', 'a session_id with it');
      return;
    }
    if (typeof name !== 'string' && typeof name !== 'number') {
      throw this.bad(`session_id ${shown(name)}`, 'a string or a number');
    }
    let session = this.sessions.get(String(name));
    if (session === undefined) {
      session = this.sessions.size;
      this.sessions.set(String(name), session);
    } else if (isGiven(delayMs)) {
      if (typeof delayMs !== 'number' || delayMs < 0) {
        throw this.bad(`delay ${shown(delayMs)}`, 'at least 0 ms');
      }
      this.builder.setParent(row, this.lastTurn[session], Math.round(delayMs * NS_PER_MS));
    }
    this.builder.setSession(row, session);
    this.lastTurn[session] = row;
  }

  private addPriority(row: number, priority: unknown): void {
    if (priority === null) return;
    if (typeof priority !== 'number' || (priority | 0) !== priority) {
      throw this.bad(`priority ${shown(priority)}`, 'a 32-bit integer');
    }
    this.builder.setPriority(row, priority);
  }

  private badTokens(name: string, value: unknown, least: number): InputError {
    const found = isGiven(value) ? `${name} ${shown(value)}` : `no ${name}`;
    return this.bad(found, `an integer from ${least} to ${TOKENS_MAX}`);
  }

  private bad(found: string, expected: string): InputError {
    return new InputError(
      `found ${found}, expected ${expected}`,
      `${this.source.place}:${this.line}`,
    );
  }
}

function isTokens(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= TOKENS_MAX && Number.isInteger(value);
}

/** Python writes null for what it has not. */
function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** A value as JSON writes it, cut to what fits an error line. */
function shown(value: unknown): string {
  return cut(JSON.stringify(value));
}

/** A line as it is, but for the characters that would tear the message apart. */
function cut(text: string): string {
  const plain = text.replace(/\p{Cc}/gu, ' ');
  return plain.length > EXCERPT_CHARS ? `${plain.slice(0, EXCERPT_CHARS)}…` : plain;
}
