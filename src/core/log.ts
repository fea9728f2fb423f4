/**
 * Fact logs: what one machine was told and what it did, as bytes. A log is a list of segments; each
 * starts with a header and a snapshot, so that it can be replayed by itself: restore, feed the
 * facts, compare every command. The first difference is a bug, or a change of the code, and is
 * named.
 */
import { Decoder, Encoder } from './codec.ts';
import { InputError } from './errors.ts';
import type { Count, Host, Machine, Mark, Run, Step, Transfer } from './host.ts';
import type { Body, Fact, Message } from './messages.ts';
import { BlockSpan } from './request.ts';
import type { Address } from './topology.ts';

const MAGIC = 'moontide log';
const VERSION = 1;
const DEFAULT_SEGMENT_FACTS = 65_536;

/** What a log is of. A replay needs a machine that was made from the same. */
export interface LogHeader {
  /** Name of the machine's address. */
  readonly machine: string;
  readonly incarnation: number;
  readonly seed: number;
  /** Hash of the policies' names, parameters and sources. */
  readonly policies: string;
  /** The resolved configuration: plain values. */
  readonly configuration: unknown;
}

/** A call of the host: the verb, then its arguments. */
export type Command = readonly [verb: keyof Host, ...given: unknown[]];

/** One fact, and what it caused. */
export interface LogEntry {
  readonly fact: Fact;
  readonly commands: readonly Command[];
}

/** A machine that a log can start from. */
export interface LoggedMachine extends Machine {
  snapshot(): Uint8Array;
  restore(bytes: Uint8Array): void;
}

export interface Difference {
  /** Number of the fact in its segment, from 0. */
  readonly fact: number;
  /** Number of the command of that fact, from 0. */
  readonly command: number;
  readonly expected: Command | null;
  readonly found: Command | null;
  /** All of it in words. */
  readonly message: string;
}

// --- recording ----------------------------------------------------------------------------------

/** Where the facts of a machine go, and what each of them causes. */
export interface Log {
  /** Before the machine handles it. */
  fact(machine: LoggedMachine, fact: Fact): void;
  /** Of the fact before. */
  command(command: Command): void;
}

/** One segment as bytes, to be taken as a whole or drained piece by piece. */
export class SegmentWriter {
  facts = 0;
  private readonly encoder = new Encoder();

  constructor(header: LogHeader, machine: LoggedMachine) {
    this.encoder.value([MAGIC, VERSION, header]);
    this.encoder.value(machine.snapshot());
  }

  get pendingBytes(): number {
    return this.encoder.pendingBytes;
  }

  fact(fact: Fact): void {
    this.facts++;
    this.encoder.value([fact.atNs, fact.from, ownBody(fact.body)]);
  }

  command(command: Command): void {
    this.encoder.value(command);
  }

  take(): Uint8Array {
    return this.encoder.take();
  }

  /** What came since the last time: until the next fact. */
  drain(): Uint8Array {
    return this.encoder.drain();
  }
}

/** A log in memory. */
export class FactLog implements Log {
  readonly header: LogHeader;
  private readonly segmentFacts: number;
  private readonly closed: Uint8Array[] = [];
  private segment: SegmentWriter | null = null;

  constructor(header: LogHeader, segmentFacts = DEFAULT_SEGMENT_FACTS) {
    this.header = header;
    this.segmentFacts = segmentFacts;
  }

  /** The segments so far; the last one may go on. */
  segments(): Uint8Array[] {
    return this.segment === null ? [...this.closed] : [...this.closed, this.segment.take()];
  }

  fact(machine: LoggedMachine, fact: Fact): void {
    if (this.segment === null || this.segment.facts === this.segmentFacts) {
      if (this.segment !== null) this.closed.push(this.segment.take());
      this.segment = new SegmentWriter(this.header, machine);
    }
    this.segment.fact(fact);
  }

  command(command: Command): void {
    if (this.segment === null) throw new Error('invariant broken: a command before any fact');
    this.segment.command(command);
  }
}

/** Of what is borrowed, the part that the fact is about. */
function ownBody(body: Body): Body {
  if (body.kind !== 'runEnded') return body;
  const { from, steps, gapsNs } = body;
  return { ...body, from: 0, gapsNs: gapsNs.slice(from, from + steps) };
}

/** A machine whose facts go into the log first. */
export function recordMachine(machine: LoggedMachine, log: Log): Machine {
  return {
    handle(fact) {
      log.fact(machine, fact);
      machine.handle(fact);
    },
  };
}

/** A host whose commands go into the log first. */
export function recordHost(host: Host, log: Log): Host {
  return new RecordingHost(host, log);
}

/** Verb by verb: a list of arguments for each of its calls would cost more than the call. */
class RecordingHost implements Host {
  private readonly host: Host;
  private readonly log: Log;

  constructor(host: Host, log: Log) {
    this.host = host;
    this.log = log;
  }

  send(to: Address, message: Message): void {
    this.log.command(['send', to, message]);
    this.host.send(to, message);
  }

  wakeAt(atNs: number, token: number): void {
    this.log.command(['wakeAt', atNs, token]);
    this.host.wakeAt(atNs, token);
  }

  startTransfer(transfer: Transfer): void {
    this.log.command(['startTransfer', transfer]);
    this.host.startTransfer(transfer);
  }

  startStep(step: Step): void {
    this.log.command(['startStep', step]);
    this.host.startStep(step);
  }

  startRun(run: Run): void {
    this.log.command(['startRun', run]);
    this.host.startRun(run);
  }

  cutRun(run: number): void {
    this.log.command(['cutRun', run]);
    this.host.cutRun(run);
  }

  mark(request: number, mark: Mark, value: number): void {
    this.log.command(['mark', request, mark, value]);
    this.host.mark(request, mark, value);
  }

  count(what: Count, by: number): void {
    this.log.command(['count', what, by]);
    this.host.count(what, by);
  }
}

// --- reading ------------------------------------------------------------------------------------

export interface Segment {
  readonly header: LogHeader;
  readonly snapshot: Uint8Array;
  readonly entries: readonly LogEntry[];
}

/** @throws InputError for bytes that no FactLog made */
export function readSegment(bytes: Uint8Array): Segment {
  const reader = new SegmentReader(bytes);
  return { header: reader.header, snapshot: reader.snapshot, entries: reader.entries() };
}

/** A segment piece by piece: every piece holds whole facts, each with all its commands. */
export class SegmentReader {
  readonly header: LogHeader;
  readonly snapshot: Uint8Array;
  private readonly decoder: Decoder;

  /** @throws InputError for bytes that no segment begins with */
  constructor(bytes: Uint8Array) {
    this.decoder = new Decoder(bytes);
    this.header = readHeader(this.decoder.value());
    const snapshot = this.decoder.value();
    if (!(snapshot instanceof Uint8Array)) {
      throw new InputError(`found ${describe(snapshot)}, expected the snapshot of a log segment`);
    }
    this.snapshot = snapshot;
  }

  /** More bytes, once the entries of those before are read. */
  feed(bytes: Uint8Array): void {
    this.decoder.feed(bytes);
  }

  /** What the bytes hold that are there. */
  entries(): LogEntry[] {
    const { decoder } = this;
    const entries: { fact: Fact; commands: Command[] }[] = [];
    while (!decoder.done) {
      const item = decoder.value();
      if (!Array.isArray(item)) {
        throw new InputError(`found ${describe(item)}, expected a fact or a command`);
      }
      if (typeof item[0] === 'number') {
        const [atNs, from, body] = item as [number, Address, Body];
        entries.push({ fact: { atNs, from, body }, commands: [] });
      } else if (entries.length > 0) {
        entries[entries.length - 1].commands.push(item as unknown as Command);
      } else throw new InputError(`found ${describe(item)}, expected a fact`);
    }
    return entries;
  }
}

function readHeader(value: unknown): LogHeader {
  if (!Array.isArray(value) || value[0] !== MAGIC) {
    throw new InputError('found other bytes, expected a segment of a fact log');
  }
  if (value[1] !== VERSION) {
    throw new InputError(`found a log of version ${value[1]}, expected version ${VERSION}`);
  }
  return value[2] as LogHeader;
}

// --- replay -------------------------------------------------------------------------------------

/** The host of a machine that is replayed: it keeps what is called and starts nothing. */
export class ReplayHost implements Host {
  private readonly commands: Command[] = [];

  /** The commands since the last time. */
  take(): Command[] {
    return this.commands.splice(0);
  }

  send(to: Address, message: Message): void {
    this.commands.push(['send', to, message]);
  }

  wakeAt(atNs: number, token: number): void {
    this.commands.push(['wakeAt', atNs, token]);
  }

  startTransfer(transfer: Transfer): void {
    this.commands.push(['startTransfer', transfer]);
  }

  startStep(step: Step): void {
    this.commands.push(['startStep', step]);
  }

  startRun(run: Run): void {
    this.commands.push(['startRun', run]);
  }

  cutRun(run: number): void {
    this.commands.push(['cutRun', run]);
  }

  mark(request: number, mark: Mark, value: number): void {
    this.commands.push(['mark', request, mark, value]);
  }

  count(what: Count, by: number): void {
    this.commands.push(['count', what, by]);
  }
}

/**
 * Restores the segment's snapshot into a machine that was constructed on `host`, feeds it the facts
 * and compares its commands with the recorded ones. Answers the first difference; null when all are
 * equal. What the machine throws counts as a difference.
 *
 * @throws InputError when `header` is not the log's
 */
export function replaySegment(
  bytes: Uint8Array,
  header: LogHeader,
  machine: LoggedMachine,
  host: ReplayHost,
): Difference | null {
  const segment = readSegment(bytes);
  for (const key of Object.keys(header) as (keyof LogHeader)[]) {
    if (same(segment.header[key], header[key])) continue;
    const found = describe(segment.header[key]);
    throw new InputError(`found a log with ${key} ${found}, expected ${describe(header[key])}`);
  }
  machine.restore(segment.snapshot);
  for (const [number, entry] of segment.entries.entries()) {
    const difference = replayEntry(machine, host, entry, number);
    if (difference !== null) return difference;
  }
  return null;
}

/** Feeds one fact, and compares what the machine does with what it did; null when it is equal. */
export function replayEntry(
  machine: Machine,
  host: ReplayHost,
  entry: LogEntry,
  number: number,
): Difference | null {
  const failure = handleCaught(machine, entry.fact);
  return compare(number, entry, host.take(), failure);
}

function handleCaught(machine: Machine, fact: Fact): string {
  try {
    machine.handle(fact);
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function compare(
  number: number,
  { fact, commands }: LogEntry,
  found: readonly Command[],
  failure: string,
): Difference | null {
  const count = Math.max(commands.length, found.length);
  for (let i = 0; i < count; i++) {
    if (!same(commands[i], found[i]))
      return difference(number, fact, i, commands[i], found[i], failure);
  }
  return failure === '' ? null : difference(number, fact, count, undefined, undefined, failure);
}

function difference(
  number: number,
  fact: Fact,
  command: number,
  expected: Command | undefined,
  found: Command | undefined,
  failure: string,
): Difference {
  const place = `fact ${number} (${fact.body.kind} at ${fact.atNs} ns), command ${command}`;
  const instead = failure === '' ? describe(found ?? 'no more commands') : `error ${failure}`;
  const wanted = describe(expected ?? 'no more commands');
  const message = `${place}: found ${instead}, expected ${wanted}`;
  return { fact: number, command, expected: expected ?? null, found: found ?? null, message };
}

// --- values -------------------------------------------------------------------------------------

/** Equal plain values: a BlockSpan by its ids, a typed array by its elements. */
export function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a instanceof BlockSpan) return b instanceof BlockSpan && sameItems(idsOf(a), idsOf(b));
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (Array.isArray(a) || ArrayBuffer.isView(a)) {
    return sameItems(a as ArrayLike<unknown>, b as ArrayLike<unknown>);
  }
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => {
    const other = b as Record<string, unknown>;
    return Object.hasOwn(other, key) && same((a as Record<string, unknown>)[key], other[key]);
  });
}

function sameItems(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!same(a[i], b[i])) return false;
  return true;
}

function idsOf(span: BlockSpan): Int32Array {
  return span.ids.subarray(span.from, span.to);
}

/** Characters of a value in a message. */
const DESCRIPTION_LIMIT = 400;

export function describe(value: unknown): string {
  const text = JSON.stringify(value, (_key, item) => {
    if (item instanceof BlockSpan) return [...idsOf(item)];
    return ArrayBuffer.isView(item) ? [...(item as Int32Array)] : item;
  });
  if (text === undefined) return String(value);
  return text.length > DESCRIPTION_LIMIT ? `${text.slice(0, DESCRIPTION_LIMIT)}…` : text;
}
