/**
 * Reading objects: a lease from the store that a key prefers, one-sided reads into the client's
 * pool, each checked by its checksum, then the lease goes back. What a store does not have, or
 * cannot give, is asked of the next one.
 *
 * What was read before is read at once from where it was, while the lease is on its way: if that
 * names the same slots in the same generations with the same checksums, those are the bytes.
 */
import { type ObjectsFound, type ObjectsLeased, STUCK_SIZE } from '../../core/object-messages.ts';
import { slotsOf } from '../../core/object-store.ts';
import type { DataPlane, MoveEnd } from '../data-plane.ts';
import { Status } from '../native.ts';
import type { Pool } from '../native-pool.ts';
import type { Buffers, StoreBuffer } from './buffers.ts';
import { StoreError, type StoreFailure } from './errors.ts';
import { groups, keysOf, pick } from './keys.ts';
import { KEYS_MAX } from './spec.ts';
import type { Store, Stores } from './stores.ts';
import { monotonicNs } from './time.ts';

export interface TransferParts {
  readonly plane: DataPlane;
  readonly pool: Pool;
  readonly buffers: Buffers;
  readonly stores: Stores;
  readonly hints: Hints;
  /** Resolves when a slot of the pool is free of operations that outlived their move. */
  readonly released: (slot: number) => Promise<void>;
}

/** An object that was read; the buffer is the caller's. */
export interface Found {
  readonly sizeBytes: number;
  readonly buffer: StoreBuffer;
}

export type ReadEnd = Found | StoreError | null;

/** The slots of an object, as a lease names them. */
interface Range {
  readonly sizeBytes: number;
  readonly slots: Int32Array;
  readonly generations: Int32Array;
  readonly checksums: Int32Array;
}

interface Hint {
  readonly store: Store;
  readonly range: Range;
}

/** What was begun on a hint. */
interface Early extends Hint {
  readonly buffer: StoreBuffer;
  readonly ends: Promise<MoveEnd[]>;
}

interface Reading {
  readonly name: string;
  early: Early | null;
  order: readonly Store[];
  /** Place in the order of the store that is asked next. */
  next: number;
  late: number;
  into: StoreBuffer | null;
  error: StoreError | null;
  end: ReadEnd;
  over: boolean;
}

/** Keys of one lease: its answer comes in one message, and it is held until all are read. */
const LEASE_KEYS = 128;
/** All attempts of one block's read. */
const DEADLINE_NS = 5e9;
/** A lease that ran out while the client waited for its own memory is asked for again. */
const LATE_MAX = 3;
const HINTS_MAX = 4096;

const FAILURES: Partial<Record<Status, StoreFailure>> = {
  [Status.checksumMismatch]: 'checksum',
  [Status.staleSlot]: 'checksum',
  [Status.timedOut]: 'timeout',
  [Status.cancelled]: 'closed',
};

/** Where objects were when they were read last. */
export class Hints {
  private readonly hints = new Map<string, Hint>();

  of(name: string): Hint | null {
    return this.hints.get(name) ?? null;
  }

  /** The newest comes last, the oldest goes. */
  note(name: string, hint: Hint): void {
    this.hints.delete(name);
    this.hints.set(name, hint);
    if (this.hints.size <= HINTS_MAX) return;
    for (const [oldest] of this.hints) {
      this.hints.delete(oldest);
      return;
    }
  }

  drop(name: string): void {
    this.hints.delete(name);
  }
}

/** `hops`: stores that are asked one after the other before all others are asked at once. */
export async function readObjects(
  parts: TransferParts,
  names: readonly string[],
  into: readonly (StoreBuffer | null)[],
  hops: number,
): Promise<ReadEnd[]> {
  const words = keysOf(names);
  const readings = names.map((name, i): Reading => {
    const order = parts.stores.ranked(words, i);
    const own = { into: into[i] ?? null, error: null, end: null };
    return { name, early: null, order, next: 0, late: 0, ...own, over: false };
  });
  for (let round = 0; ; round++) {
    const open = [...readings.keys()].filter((i) => !readings[i].over);
    if (open.length === 0) break;
    if (round === hops) await locate(parts.stores, words, readings, open);
    const left = open.filter((i) => !isExhausted(readings[i]));
    const asks = groups(left, LEASE_KEYS, (i) => readings[i].order[readings[i].next]);
    await Promise.all(asks.map(([store, some]) => readFrom(parts, store, words, readings, some)));
  }
  return readings.map(({ end }) => end);
}

/** It was asked for everywhere: it is not there, or cannot be had. */
function isExhausted(reading: Reading): boolean {
  if (reading.next < reading.order.length) return false;
  reading.over = true;
  reading.end = reading.error;
  return true;
}

/** Leaves the stores that say they have it in the orders of what is still sought. */
async function locate(
  stores: Stores,
  words: Int32Array,
  readings: readonly Reading[],
  open: readonly number[],
): Promise<void> {
  const has = new Map<number, Store[]>(open.map((i) => [i, []]));
  const asks = stores.all.map(async (store) => {
    const some = open.filter((i) => readings[i].order.indexOf(store) >= readings[i].next);
    for (const [, group] of groups(some, KEYS_MAX, () => 0)) {
      try {
        const keys = pick(words, group);
        const found = await stores.ask<ObjectsFound>(store, (ask) => ({
          kind: 'objectsFind',
          ask,
          keys,
        }));
        for (const [at, i] of group.entries()) if (found.sizes[at] >= 0) has.get(i)?.push(store);
      } catch (error) {
        for (const i of group) readings[i].error = error as StoreError;
      }
    }
  });
  await Promise.all(asks);
  for (const [i, order] of has) {
    readings[i].order = order;
    readings[i].next = 0;
  }
}

async function readFrom(
  parts: TransferParts,
  store: Store,
  words: Int32Array,
  readings: readonly Reading[],
  some: readonly number[],
): Promise<void> {
  const { stores } = parts;
  const sentNs = monotonicNs();
  let leased: ObjectsLeased;
  try {
    const keys = pick(words, some);
    const asked = stores.ask<ObjectsLeased>(store, (lease) => ({
      kind: 'objectsRead',
      lease,
      keys,
    }));
    for (const i of some) readEarly(parts, store, readings[i]);
    leased = await asked;
  } catch (error) {
    for (const i of some) {
      await dropEarly(parts, readings[i]);
      fail(readings[i], error as StoreError);
    }
    return;
  }
  const validUntilNs = sentNs + leased.ttlNs - Math.min(1e9, leased.ttlNs / 4);
  const reads: Promise<void>[] = [];
  let at = 0;
  for (const [place, i] of some.entries()) {
    const sizeBytes = leased.sizes[place];
    if (sizeBytes >= 0) {
      const range = rangeOf(leased, at, sizeBytes, store.entry.slotBytes);
      reads.push(readOne(parts, store, range, validUntilNs, readings[i]));
      at += range.slots.length;
    } else {
      if (sizeBytes === STUCK_SIZE) {
        const why = `store ${store.name} has no room to bring ${readings[i].name} up from its SSD`;
        fail(readings[i], new StoreError('noSpace', why));
      } else readings[i].next++;
      await dropEarly(parts, readings[i]);
    }
  }
  if (reads.length === 0) return;
  await Promise.all(reads);
  stores.release(store, leased.lease);
  const damaged = some.filter((i) => readings[i].error?.failure === 'checksum');
  if (damaged.length > 0) {
    stores.tell(store, { kind: 'objectsSuspect', keys: pick(words, damaged) });
  }
}

function fail(reading: Reading, error: StoreError): void {
  reading.error = error;
  reading.next++;
}

/** Reads one object, or takes what was read of it before the lease was there. */
async function readOne(
  parts: TransferParts,
  store: Store,
  range: Range,
  validUntilNs: number,
  reading: Reading,
): Promise<void> {
  const early = reading.early;
  const inTime = early !== null && early.store === store && isSame(early.range, range);
  if (!inTime) await dropEarly(parts, reading);
  const { sizeBytes } = range;
  if (sizeBytes > (reading.into?.bytes.length ?? parts.buffers.sizeBytes)) {
    reading.over = true;
    const most = reading.into === null ? "the client's pool" : 'the buffer';
    reading.end = new StoreError('tooLarge', `found ${sizeBytes} bytes, more than ${most} has`);
    return;
  }
  const own = inTime ? early.buffer : (reading.into ?? (await parts.buffers.take(sizeBytes)));
  const isLate = () => monotonicNs() > validUntilNs;
  const reads = inTime ? early.ends : isLate() ? null : readSlots(parts, store, range, own);
  const ends = await reads;
  reading.early = null;
  const failure = ends === null || isLate() ? 'late' : failureOf(ends);
  if (failure === null) {
    reading.over = true;
    reading.end = { sizeBytes, buffer: own };
    parts.hints.note(reading.name, { store, range });
    return;
  }
  await settled(parts, own, ends ?? []);
  if (reading.into === null) own.free();
  if (failure === 'late') {
    fail(reading, new StoreError('timeout', 'the lease ran out'));
    if (reading.late++ < LATE_MAX) reading.next--;
  } else fail(reading, new StoreError(failure, `store ${store.name}: ${failure}`));
}

/** Starts to read what was there the last time: the lease will say whether it still is. */
function readEarly(parts: TransferParts, store: Store, reading: Reading): void {
  const hint = parts.hints.of(reading.name);
  if (hint === null || hint.store !== store || hint.range.sizeBytes === 0) return;
  const { sizeBytes } = hint.range;
  const buffer = reading.into ?? parts.buffers.tryTake(sizeBytes);
  if (buffer === null || buffer.bytes.length < sizeBytes) return;
  const ends = readSlots(parts, store, hint.range, buffer);
  reading.early = { ...hint, buffer, ends };
}

/** It was in vain. */
async function dropEarly(parts: TransferParts, reading: Reading): Promise<void> {
  const { early } = reading;
  if (early === null) return;
  reading.early = null;
  parts.hints.drop(reading.name);
  await settled(parts, early.buffer, await early.ends);
  if (reading.into === null) early.buffer.free();
}

/** Resolves when nothing writes to a buffer any more. */
async function settled(
  { released }: TransferParts,
  buffer: StoreBuffer,
  ends: readonly MoveEnd[],
): Promise<void> {
  for (const [i, { quarantined }] of ends.entries()) {
    if (quarantined) await released(buffer.slot + i);
  }
}

function failureOf(ends: readonly MoveEnd[]): StoreFailure | null {
  const bad = ends.find(({ status }) => status !== Status.ok);
  return bad === undefined ? null : (FAILURES[bad.status] ?? 'unreachable');
}

function rangeOf(leased: ObjectsLeased, at: number, sizeBytes: number, slotBytes: number): Range {
  const to = at + slotsOf(sizeBytes, slotBytes);
  const { slots, generations, checksums } = leased;
  return {
    sizeBytes,
    slots: slots.subarray(at, to),
    generations: generations.subarray(at, to),
    checksums: checksums.subarray(at, to),
  };
}

function isSame(a: Range, b: Range): boolean {
  if (a.sizeBytes !== b.sizeBytes || a.slots.length !== b.slots.length) return false;
  return a.slots.every(
    (slot, i) =>
      slot === b.slots[i] &&
      a.generations[i] === b.generations[i] &&
      a.checksums[i] === b.checksums[i],
  );
}

function readSlots(
  { plane, pool }: TransferParts,
  { segment, entry }: Store,
  { sizeBytes, slots, generations, checksums }: Range,
  into: StoreBuffer,
): Promise<MoveEnd[]> {
  const { slotBytes } = entry;
  const moves: Promise<MoveEnd>[] = [];
  for (let from = 0; from < sizeBytes; from += slotBytes) {
    const i = from / slotBytes;
    const move = {
      write: false,
      pool,
      slot: into.slot + i,
      offset: 0,
      segment,
      remoteSlot: slots[i],
      generation: generations[i],
      remoteOffset: 0,
      bytes: Math.min(slotBytes, sizeBytes - from),
      crc: checksums[i] >>> 0,
      sum: true,
      urgent: false,
      deadlineNs: DEADLINE_NS,
    };
    moves.push(new Promise((ended) => plane.move(move, ended)));
  }
  return Promise.all(moves);
}
