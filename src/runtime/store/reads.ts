/**
 * Reading objects: a lease from the store that a key prefers, one-sided reads into the client's
 * pool, each checked by its checksum, then the lease goes back. What a store does not have, or
 * cannot give, is asked of the next one.
 */
import type { ObjectsFound, ObjectsLeased } from '../../core/object-messages.ts';
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
}

/** An object that was read; the buffer is the caller's. */
export interface Found {
  readonly sizeBytes: number;
  readonly buffer: StoreBuffer;
}

export type ReadEnd = Found | StoreError | null;

interface Reading {
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

const FAILURES: Partial<Record<Status, StoreFailure>> = {
  [Status.checksumMismatch]: 'checksum',
  [Status.staleSlot]: 'checksum',
  [Status.timedOut]: 'timeout',
  [Status.cancelled]: 'closed',
};

/** `hops`: stores that are asked one after the other before all others are asked at once. */
export async function readObjects(
  parts: TransferParts,
  names: readonly string[],
  into: readonly (StoreBuffer | null)[],
  hops: number,
): Promise<ReadEnd[]> {
  const words = keysOf(names);
  const readings = names.map((_, i): Reading => {
    const order = parts.stores.ranked(words, i);
    const own = { into: into[i] ?? null, error: null, end: null };
    return { order, next: 0, late: 0, ...own, over: false };
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
    leased = await stores.ask(store, (lease) => ({ kind: 'objectsRead', lease, keys }));
  } catch (error) {
    for (const i of some) fail(readings[i], error as StoreError);
    return;
  }
  const validUntilNs = sentNs + leased.ttlNs - Math.min(1e9, leased.ttlNs / 4);
  const reads: Promise<void>[] = [];
  let at = 0;
  for (const [place, i] of some.entries()) {
    const sizeBytes = leased.sizes[place];
    if (sizeBytes >= 0) {
      reads.push(readOne(parts, store, leased, at, sizeBytes, validUntilNs, readings[i]));
      at += slotsOf(sizeBytes, store.entry.slotBytes);
    } else readings[i].next++;
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

/** Reads the slots of one object, from `at` in the lease on. */
async function readOne(
  parts: TransferParts,
  store: Store,
  leased: ObjectsLeased,
  at: number,
  sizeBytes: number,
  validUntilNs: number,
  reading: Reading,
): Promise<void> {
  const own = reading.into ?? (await parts.buffers.take(sizeBytes));
  const giveUp = (error: StoreError) => {
    if (reading.into === null) own.free();
    fail(reading, error);
  };
  if (own.bytes.length < sizeBytes) {
    reading.over = true;
    reading.end = new StoreError('tooLarge', `found ${sizeBytes} bytes, more than the buffer has`);
    return;
  }
  const isLate = () => monotonicNs() > validUntilNs;
  const ends = isLate() ? null : await readSlots(parts, store, leased, at, sizeBytes, own);
  if (ends === null || isLate()) {
    giveUp(new StoreError('timeout', 'the lease ran out'));
    if (reading.late++ < LATE_MAX) reading.next--;
    return;
  }
  const bad = ends.find(({ status }) => status !== Status.ok);
  if (bad !== undefined) {
    const failure = FAILURES[bad.status] ?? 'unreachable';
    giveUp(new StoreError(failure, `store ${store.name}: ${failure}`));
    return;
  }
  reading.over = true;
  reading.end = { sizeBytes, buffer: own };
}

function readSlots(
  { plane, pool }: TransferParts,
  { segment, entry }: Store,
  { slots, generations, checksums }: ObjectsLeased,
  at: number,
  sizeBytes: number,
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
      remoteSlot: slots[at + i],
      generation: generations[at + i],
      remoteOffset: 0,
      bytes: Math.min(slotBytes, sizeBytes - from),
      crc: checksums[at + i] >>> 0,
      sum: true,
      urgent: false,
      deadlineNs: DEADLINE_NS,
    };
    moves.push(new Promise((ended) => plane.move(move, ended)));
  }
  return Promise.all(moves);
}
