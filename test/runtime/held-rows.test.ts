/** Rows whose slots stay in use, with an engine that says so: rails that hang are rare. */
import { expect, it } from 'vitest';
import even from '../../src/policy/rail/even.ts';
import { DataPlane, type Segment } from '../../src/runtime/data-plane.ts';
import {
  EVENT_DOUBLES,
  EventKind,
  type NativeAddon,
  type NativeEngine,
  QUARANTINED,
  Status,
} from '../../src/runtime/native.ts';
import type { Pool } from '../../src/runtime/native-pool.ts';

const ROWS = 4;
const UNUSED = () => {
  throw new Error('not asked for');
};

/** An engine with one rail that moves nothing; `say` makes events. */
function openSayer() {
  let ring = () => {};
  let events: number[] = [];
  let ids = 0;
  const started: [number, number][] = [];
  class Sayer implements NativeEngine {
    constructor(_: Float64Array, onEvents: () => void) {
      ring = onEvents;
    }
    addRail = () => 0;
    railInfo = () => null;
    createPool = () => 0;
    poolInfo = () => ({
      slots: ROWS,
      slotBytes: 4096,
      mappedBytes: 1 << 21,
      incarnation: 1,
      pages: 'small',
      address: 0n,
    });
    poolBytes = UNUSED;
    closePool = () => Status.ok;
    describePool = UNUSED;
    setSlot = () => true;
    slotUse = () => 0;
    importSegment = () => ({
      id: 0,
      incarnation: 2,
      slots: ROWS,
      slotBytes: 4096,
      rails: [{ kind: 'local', index: 0 }],
    });
    dropSegment = () => {};
    submit = UNUSED;
    openRows = (rows: number): [number, ArrayBuffer] => [ids++, new ArrayBuffer(32 + 70 * rows)];
    startRows = (_: number, from: number, count: number) => {
      started.push([from, count]);
      return count;
    };
    kick = () => {};
    drain = (out: Float64Array) => {
      out.set(events);
      const written = events.length;
      events = [];
      return written;
    };
    openTransfers = () => 0;
    close = () => true;
  }
  const addon = { Engine: Sayer } as unknown as NativeAddon;
  const plane = new DataPlane(addon, even.create({ random: () => 0.5 }, {}));
  plane.addRail({ kind: 'local', bytesPerNs: null, options: {} });
  const settings = { slotBytes: 4096, slots: ROWS, hugetlb: false, prefault: false };
  const pool = plane.createPool(settings);
  const segment = plane.importSegment(new Uint8Array())!;
  const say = (kind: number, id: number, row: number, status: Status, flags: number) => {
    const event = [kind, id, status, flags, 0, row, 0, 0];
    expect(event.length).toBe(EVENT_DOUBLES);
    events.push(...event);
    ring();
  };
  return { plane, pool, segment, started, say };
}

const columnsOf = (pool: Pool, segment: Segment) => ({
  write: false,
  pool,
  segment,
  sum: false,
  urgent: false,
  deadlineNs: 5e9,
  slots: Int32Array.of(3, 2, 1, 0),
  offsets: new Float64Array(ROWS),
  remoteSlots: new Int32Array(ROWS),
  generations: new Float64Array(ROWS).fill(1),
  remoteOffsets: new Float64Array(ROWS),
  bytes: new Float64Array(ROWS).fill(4096),
  crcs: null,
});

it('a row that ends with operations open says so, and its slot is free when it is told', () => {
  const { plane, pool, segment, started, say } = openSayer();
  const told: number[] = [];
  const free: [Pool, number][] = [];
  plane.onReleased = (where, slot) => free.push([where, slot]);
  const moves = plane.moves(columnsOf(pool, segment), (rows, count) => {
    told.push(...rows.subarray(0, count));
  });
  moves.started(1);
  plane.startMoves(moves, 2, 1);
  expect(started).toEqual([[2, 1]]);
  say(EventKind.rowFailed, moves.id, 1, Status.timedOut, QUARANTINED);
  expect(told).toEqual([1]);
  expect(moves.statuses[1]).toBe(Status.timedOut);
  expect(moves.quarantined[1]).toBe(1);
  expect(free).toEqual([]);
  // Told twice, by an engine that is broken: it has ended once.
  say(EventKind.rowFailed, moves.id, 1, Status.timedOut, QUARANTINED);
  expect(told).toEqual([1]);
  say(EventKind.rowReleased, moves.id, 1, Status.ok, 0);
  expect(free).toEqual([[pool, 2]]);
  say(EventKind.rowReleased, moves.id + 1, 1, Status.ok, 0);
  expect(free.length).toBe(1);
  plane.close();
});
