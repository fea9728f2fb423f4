/** Moves in columns end as moves by themselves do, in fewer calls. */
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import type { RailKind, Segment } from '../../src/runtime/data-plane.ts';
import type { MoveColumns } from '../../src/runtime/move-columns.ts';
import { Status } from '../../src/runtime/native.ts';
import { Grant, type Pool } from '../../src/runtime/native-pool.ts';
import { describeNative, native } from '../support/native.ts';
import { openPlane, publishAll, SLOT_BYTES, SLOTS } from '../support/plane.ts';

const crcOf = (bytes: Uint8Array): number => native().crc32c(bytes, 0);

function columnsOf(pool: Pool, segment: Segment, over: Partial<MoveColumns> = {}): MoveColumns {
  const slots = Int32Array.from({ length: SLOTS }, (_, slot) => slot);
  return {
    write: false,
    pool,
    segment,
    sum: true,
    urgent: false,
    deadlineNs: 5e9,
    slots,
    offsets: new Float64Array(SLOTS),
    remoteSlots: slots.slice().reverse(),
    generations: new Float64Array(SLOTS).fill(1),
    remoteOffsets: new Float64Array(SLOTS),
    bytes: new Float64Array(SLOTS).fill(SLOT_BYTES),
    crcs: null,
    ...over,
  };
}

/** Two planes; what is told of the moves of `columns`, by row, when all have ended. */
function setUp(kinds: readonly RailKind[], sliceBytes = SLOT_BYTES, peerKinds = kinds) {
  const here = openPlane(kinds, { sliceBytes, attemptNs: 1e9 });
  const there = openPlane(peerKinds);
  publishAll(there.pool, 1);
  const segment = here.plane.importSegment(there.pool.describe())!;
  const run = (over: Partial<MoveColumns> = {}, from = 0, count = SLOTS) =>
    new Promise<{ told: number[]; moves: ReturnType<typeof here.plane.moves> }>((resolve) => {
      const told: number[] = [];
      const columns = columnsOf(here.pool, segment, over);
      const moves = here.plane.moves(columns, (rows, ended) => {
        told.push(...rows.subarray(0, ended));
        if (moves.open === 0) resolve({ told: told.sort((a, b) => a - b), moves });
      });
      here.plane.startMoves(moves, from, count);
      expect(moves.isOpen(from)).toBe(true);
      expect(() => here.plane.startMoves(moves, from, 1)).toThrow(/again/);
    });
  const close = () => {
    expect(here.plane.close()).toBe(true);
    expect(there.plane.close()).toBe(true);
  };
  return { here, there, segment, run, close };
}

const ROWS = Array.from({ length: SLOTS }, (_, row) => row);

for (const kinds of [['local'], ['tcp'], ['tcp', 'tcp']] as const) {
  describeNative(`columns over ${kinds}`, () => {
    for (const sliceBytes of [SLOT_BYTES, SLOT_BYTES / 4]) {
      it(`move every row once to its place, in slices of ${sliceBytes}`, async () => {
        const { here, there, run, close } = setUp(kinds, sliceBytes);
        const { told, moves } = await run();
        expect(told).toEqual(ROWS);
        for (const row of ROWS) {
          const source = there.pool.bytes(SLOTS - 1 - row);
          expect(moves.statuses[row]).toBe(Status.ok);
          expect(moves.crcs[row]).toBe(crcOf(source));
          expect(moves.durationsNs[row]).toBeGreaterThan(0);
          expect(Buffer.compare(here.pool.bytes(row), source)).toBe(0);
        }
        close();
      });
    }

    it('tell each row what became of it, and may start it again', async () => {
      const { there, run, close } = setUp(kinds);
      there.pool.publish(3, 7, Grant.read);
      const crcs = Uint32Array.from(ROWS, (row) => crcOf(there.pool.bytes(SLOTS - 1 - row)));
      crcs[5] ^= 1;
      const bytes = new Float64Array(SLOTS).fill(SLOT_BYTES);
      bytes[6] = SLOT_BYTES + 1;
      const { moves, told } = await run({ crcs, bytes }, 2, 12);
      expect(told).toEqual(ROWS.slice(2, 14));
      for (const row of told) {
        const expected =
          { 5: Status.checksumMismatch, 6: Status.outOfBounds, 12: Status.staleSlot }[row] ?? 0;
        expect(moves.statuses[row], `${row}`).toBe(expected);
        if (expected === Status.ok) expect(moves.crcs[row]).toBe(crcs[row]);
      }
      close();
    });
  });
}

describeNative('columns of which the engine takes few at a time', () => {
  const setUpFew = () => {
    const here = openPlane(['local'], { transfersMax: 3 });
    const there = openPlane(['local']);
    publishAll(there.pool, 1);
    const segment = here.plane.importSegment(there.pool.describe())!;
    return { here, there, columns: columnsOf(here.pool, segment) };
  };

  it('move them all, each once', async () => {
    const { here, there, columns } = setUpFew();
    const told: number[] = [];
    await new Promise<void>((resolve) => {
      const moves = here.plane.moves(columns, (rows, ended) => {
        told.push(...rows.subarray(0, ended));
        if (told.length <= 3) here.plane.startMoves(moves, told[0], 1);
        if (moves.open === 0) resolve();
      });
      for (let row = 0; row < SLOTS; row += 4) here.plane.startMoves(moves, row, 4);
      expect(moves.open).toBe(SLOTS);
    });
    expect([...new Set(told)].sort((a, b) => a - b)).toEqual(ROWS);
    expect(told.length).toBeGreaterThan(SLOTS);
    for (const row of ROWS) {
      expect(Buffer.compare(here.pool.bytes(row), there.pool.bytes(SLOTS - 1 - row))).toBe(0);
    }
    expect(here.plane.close()).toBe(true);
    there.plane.close();
  });

  it('end those that wait when the plane closes', () => {
    const { here, there, columns } = setUpFew();
    const told: number[] = [];
    const moves = here.plane.moves(columns, (rows, ended) => {
      told.push(...rows.subarray(0, ended));
    });
    here.plane.startMoves(moves);
    expect(here.plane.close()).toBe(true);
    expect(told.sort((a, b) => a - b)).toEqual(ROWS);
    expect(moves.open).toBe(0);
    const cancelled = [...moves.statuses].filter((status) => status === Status.cancelled);
    expect(cancelled.length).toBeGreaterThanOrEqual(SLOTS - 3);
    there.plane.close();
  });
});

describeNative('columns and their process', () => {
  const CHILD = new URL('../support/columns-child.ts', import.meta.url).pathname;
  const run = (what: string) => {
    const args = ['--import', 'tsx', CHILD, what];
    const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    return { status, stdout };
  };

  it('hold it while they move, and let it end', () => {
    expect(run('move')).toEqual({ status: 0, stdout: `told ${SLOTS}` });
  });

  it('go on after what the callback throws, which is uncaught', () => {
    const stdout = `uncaught: from the callback, told ${2 * SLOTS}`;
    expect(run('throw')).toEqual({ status: 0, stdout });
  });
});

describeNative('columns that fail at first', () => {
  it('try another kind of rail, each as a move by itself', async () => {
    // Local without the socket cannot write.
    const here = openPlane(['local', 'tcp'], {}, { map: '0' });
    const there = openPlane(['local', 'tcp']);
    publishAll(there.pool, 1);
    publishAll(here.pool, 1);
    const segment = here.plane.importSegment(there.pool.describe())!;
    const columns = columnsOf(here.pool, segment, { write: true, sum: false });
    await new Promise<void>((resolve) => {
      const moves = here.plane.moves(columns, () => {
        if (moves.open > 0) return;
        expect([...moves.statuses]).toEqual(ROWS.map(() => Status.ok));
        resolve();
      });
      here.plane.startMoves(moves);
    });
    for (const row of ROWS) {
      const target = there.pool.bytes(SLOTS - 1 - row);
      expect(Buffer.compare(here.pool.bytes(row), target)).toBe(0);
    }
    here.plane.close();
    there.plane.close();
  });

  it('end when the peer is gone, by their deadline, and leave no slot in use', async () => {
    const { here, there, run } = setUp(['tcp']);
    expect((await run()).told).toEqual(ROWS);
    there.plane.close();
    const { moves, told } = await run({ deadlineNs: 2e9 });
    expect(told).toEqual(ROWS);
    for (const row of ROWS) {
      expect([Status.peerUnreachable, Status.peerReset]).toContain(moves.statuses[row]);
      expect(moves.quarantined[row]).toBe(0);
      expect(here.pool.inUse(row)).toBe(false);
    }
    here.plane.close();
  });

  it('end when no rail leads there, and when the plane closes', async () => {
    const { run, close } = setUp(['local'], SLOT_BYTES, ['tcp']);
    const { moves } = await run();
    expect([...moves.statuses]).toEqual(ROWS.map(() => Status.unsupported));
    const pending = run();
    close();
    expect((await pending).told).toEqual(ROWS);
    const other = setUp(['local']);
    const cut = other.run();
    other.close();
    const ended = await cut;
    expect(ended.told).toEqual(ROWS);
    const ends: number[] = [Status.ok, Status.cancelled];
    for (const status of ended.moves.statuses) expect(ends).toContain(status);
  });
});
