/**
 * Writing objects. The store that a key prefers decides between two writers of one name; once it
 * holds the object the others get theirs. A store grants slots, the client writes them one-sided
 * and says what arrived, and only then the object can be read. It is acknowledged when as many
 * stores hold it as were wanted. What an unacknowledged put has written stays: another client may
 * have been told that it exists.
 */
import type { ObjectsGranted, ObjectsStored } from '../../core/object-messages.ts';
import { PutVerdict } from '../../core/object-messages.ts';
import type { Pin } from '../../core/topology.ts';
import type { MoveEnd } from '../data-plane.ts';
import { type NativeAddon, Status } from '../native.ts';
import type { StoreBuffer } from './buffers.ts';
import { StoreError } from './errors.ts';
import { groups, keysOf } from './keys.ts';
import type { TransferParts } from './reads.ts';
import type { Store } from './stores.ts';

export interface WriteParts extends TransferParts {
  readonly addon: NativeAddon;
}

/** What became of a put. */
export type WriteEnd = 'stored' | 'exists' | StoreError;

export interface Writing {
  readonly name: string;
  readonly buffer: StoreBuffer;
}

interface Task extends Writing {
  readonly order: readonly Store[];
  /** CRC-32C of each slot. */
  readonly sums: readonly number[];
  next: number;
  /** Stores that hold it. */
  stored: number;
  error: StoreError | null;
  /** The store that it is at is to be asked again. */
  waits: boolean;
  end: WriteEnd | null;
}

/** Objects of one grant. */
const GRANT_OBJECTS = 128;
const DEADLINE_NS = 5e9;
/** Between two looks at an object that somebody else writes. */
const BUSY_MS = 5;

export async function writeObjects(
  parts: WriteParts,
  objects: readonly Writing[],
  replicas: number,
  pin: Pin,
): Promise<WriteEnd[]> {
  const words = keysOf(objects.map(({ name }) => name));
  const { slotBytes } = parts.pool.info;
  const tasks = objects.map((object, i): Task => {
    const sums: number[] = [];
    const { bytes } = object.buffer;
    for (let from = 0; from === 0 || from < bytes.length; from += slotBytes) {
      sums.push(parts.addon.crc32c(bytes.subarray(from, from + slotBytes), 0));
    }
    const order = parts.stores.ranked(words, i);
    return { ...object, order, sums, next: 0, stored: 0, error: null, waits: false, end: null };
  });
  const untilMs = performance.now() + parts.stores.timeoutMs;
  for (;;) {
    const open = [...tasks.keys()].filter((i) => tasks[i].end === null);
    if (open.length === 0) break;
    const left = open.filter((i) => !isOver(tasks[i], replicas));
    const asks = groups(left, GRANT_OBJECTS, (i) => tasks[i].order[tasks[i].next]);
    await Promise.all(
      asks.map(([store, some]) => {
        const own = some.map((i) => tasks[i]);
        return writeTo(parts, store, pin, own);
      }),
    );
    if (!tasks.some(({ waits }) => waits)) continue;
    if (performance.now() > untilMs) giveUpWaiting(tasks);
    else await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
  }
  return tasks.map(({ end }) => end ?? 'stored');
}

/** Enough stores hold it, or none is left to be asked. */
function isOver(task: Task, replicas: number): boolean {
  if (task.stored >= replicas) task.end = 'stored';
  else if (task.next >= task.order.length) {
    const held = `${task.stored} of ${replicas} stores hold ${task.name}`;
    task.end = task.error ?? new StoreError('noSpace', `${held}, and there are no more`);
  }
  return task.end !== null;
}

function giveUpWaiting(tasks: readonly Task[]): void {
  for (const task of tasks) if (task.waits) task.end = task.error;
}

async function writeTo(
  parts: WriteParts,
  store: Store,
  pin: Pin,
  tasks: readonly Task[],
): Promise<void> {
  const { stores } = parts;
  const names = tasks.map(({ name }) => name);
  const sizes = Float64Array.from(tasks, ({ buffer }) => buffer.bytes.length);
  try {
    const granted = await stores.ask<ObjectsGranted>(store, (put) => ({
      kind: 'objectsPut',
      put,
      names,
      sizes,
      pin,
    }));
    const mine = tasks.filter((_, i) => granted.verdicts[i] === PutVerdict.granted);
    const done = await writeAll(parts, store, granted, mine);
    if (mine.length > 0) {
      const stored = await stores.askAs<ObjectsStored>(store, granted.put, {
        kind: 'objectsWritten',
        put: granted.put,
        done,
        checksums: Int32Array.from(mine.flatMap(({ sums }) => sums)),
      });
      for (const [i, task] of mine.entries()) {
        if (stored.ok && done[i] === 1) take(task);
        else pass(task, task.error ?? new StoreError('timeout', 'the grant ran out'));
      }
    }
    for (const [i, task] of tasks.entries()) {
      settle(task, store, granted.verdicts[i] as PutVerdict);
    }
  } catch (error) {
    for (const task of tasks) pass(task, error as StoreError);
  }
}

function take(task: Task): void {
  task.stored++;
  task.waits = false;
  task.next++;
}

function pass(task: Task, error: StoreError): void {
  task.error = error;
  task.waits = false;
  task.next++;
}

/** What a store said that did not grant it. */
function settle(task: Task, store: Store, verdict: PutVerdict): void {
  const where = `store ${store.name}`;
  const full = () => new StoreError('noSpace', `${where} has no room for ${task.name}`);
  task.waits = verdict === PutVerdict.busy || verdict === PutVerdict.later;
  switch (verdict) {
    case PutVerdict.granted:
      return;
    case PutVerdict.exists:
      if (task.stored === 0) task.end = 'exists';
      else take(task);
      return;
    case PutVerdict.busy:
      task.error = new StoreError('busy', `${where}: somebody else writes ${task.name}`);
      return;
    case PutVerdict.later:
      task.error = full();
      return;
    case PutVerdict.noSpace:
      return pass(task, full());
    default: {
      const bytes = task.buffer.bytes.length;
      task.end = new StoreError('tooLarge', `${where} takes no object of ${bytes} bytes`);
    }
  }
}

/** Writes what was granted. For each object 1 if all of it arrived. */
async function writeAll(
  parts: WriteParts,
  { segment, entry, name }: Store,
  { slots, generations }: ObjectsGranted,
  tasks: readonly Task[],
): Promise<Uint8Array> {
  const { plane, pool, released } = parts;
  const { slotBytes } = entry;
  const done = new Uint8Array(tasks.length);
  let at = 0;
  const writes = tasks.map(async ({ buffer, sums }, i) => {
    const first = at;
    at += sums.length;
    const moves: Promise<MoveEnd>[] = [];
    for (let from = 0; from < buffer.bytes.length; from += slotBytes) {
      const slot = from / slotBytes;
      const move = {
        write: true,
        pool,
        slot: buffer.slot + slot,
        offset: 0,
        segment,
        remoteSlot: slots[first + slot],
        generation: generations[first + slot],
        remoteOffset: 0,
        bytes: Math.min(slotBytes, buffer.bytes.length - from),
        crc: sums[slot],
        sum: true,
        urgent: false,
        deadlineNs: DEADLINE_NS,
      };
      moves.push(new Promise((ended) => plane.move(move, ended)));
    }
    const ends = await Promise.all(moves);
    for (const [slot, { quarantined }] of ends.entries()) {
      if (quarantined) await released(buffer.slot + slot);
    }
    const bad = ends.find(({ status }) => status !== Status.ok);
    if (bad === undefined) done[i] = 1;
    else {
      const failure = bad.status === Status.checksumMismatch ? 'checksum' : 'unreachable';
      tasks[i].error = new StoreError(failure, `store ${name}: ${failure}`);
    }
  });
  await Promise.all(writes);
  return done;
}
