/**
 * Many moves alike, in columns: no object and no closure for each, one callback for all that end
 * together. Mooncake's transfer engine calls it a batch of transfers. The columns lie in memory
 * that the engine reads and writes too, so a row that arrives costs JavaScript nothing.
 */
import { assert } from '../core/errors.ts';
import type { Move, PlaneSettings } from './move.ts';
import { type NativeEngine, Status, SUM, VERIFY } from './native.ts';
import type { Pool } from './native-pool.ts';
import type { Segment } from './segment.ts';

/** What the moves have in common, and a column for each thing in which they differ. */
export interface MoveColumns extends Pick<Move, 'write' | 'pool' | 'segment' | 'sum' | 'urgent'> {
  /** For all attempts of a move together. */
  readonly deadlineNs: number;
  readonly slots: Int32Array;
  readonly offsets: Float64Array;
  readonly remoteSlots: Int32Array;
  readonly generations: Float64Array;
  readonly remoteOffsets: Float64Array;
  readonly bytes: Float64Array;
  /** The checksums that the bytes must have where they arrive; null: not checked. */
  readonly crcs: Uint32Array | null;
}

/** Statuses of rows that are under way, and of those that never were. */
const OPEN = 255;

/** Of the head: rows that have ended and are not told, the list that they are in, rows open. */
const Head = { untold: 0, list: 1, open: 2 } as const;
const HEAD = 8;

/** `rows` (borrowed) ended, the first `count` of them: what became of them is in the columns. */
export type RowsEnded = (rows: Int32Array, count: number) => void;

/** The engine's clock, in which `durationsNs` begin. */
export const engineNs = (): number => Number(process.hrtime.bigint());

/** What `DataPlane.moves` gives; its plane starts and ends the rows. */
export class Moves {
  /** As they were when this was made. */
  readonly columns: MoveColumns;
  readonly id: number;
  readonly pool: Pool;
  readonly segment: Segment;
  /** A Status per row. */
  readonly statuses: Uint8Array;
  /** Of the bytes where they arrived; NaN: not asked for, or the rail could not tell. */
  readonly crcs: Float64Array;
  /** From start to end; of a row that is under way, when it started. */
  readonly durationsNs: Float64Array;
  /** 1: operations are still open on the row's slot, as in `MoveEnd`. */
  readonly quarantined: Uint8Array;
  /** Rows whose slots are quarantined. */
  held = 0;
  private readonly head: Int32Array;
  private readonly lists: readonly [Int32Array, Int32Array];
  private readonly ended: RowsEnded;

  constructor(
    engine: NativeEngine,
    { sliceBytes, attemptNs }: PlaneSettings,
    columns: MoveColumns,
    ended: RowsEnded,
  ) {
    const { pool, segment, write, urgent, crcs } = columns;
    const rows = columns.slots.length;
    const flags = (crcs === null ? 0 : VERIFY) | (columns.sum ? SUM : 0);
    const deadlineNs = Math.min(columns.deadlineNs, attemptNs);
    const common = [pool.id, segment.info.id, write, urgent, flags, deadlineNs] as const;
    const [id, memory] = engine.openRows(rows, ...common, sliceBytes);
    this.columns = columns;
    this.id = id;
    this.pool = pool;
    this.segment = segment;
    this.ended = ended;
    // As native/binding/rows.cc lays them out.
    let end = 4 * HEAD;
    const next = (bytes: number): number => {
      end += bytes * rows;
      return end - bytes * rows;
    };
    const doubles = () => new Float64Array(memory, next(8), rows);
    const ints = () => new Int32Array(memory, next(4), rows);
    const bytes = () => new Uint8Array(memory, next(1), rows);
    this.head = new Int32Array(memory, 0, HEAD);
    doubles().set(columns.offsets);
    doubles().set(columns.remoteOffsets);
    doubles().set(columns.generations);
    doubles().set(columns.bytes);
    this.crcs = doubles().fill(Number.NaN);
    this.durationsNs = doubles();
    ints().set(columns.slots);
    ints().set(columns.remoteSlots);
    const expected = ints();
    if (crcs !== null) expected.set(crcs);
    this.lists = [ints(), ints()];
    this.statuses = bytes();
    this.quarantined = bytes();
  }

  /** Rows that are under way. */
  get open(): number {
    return this.head[Head.open];
  }

  isOpen(row: number): boolean {
    return this.statuses[row] === OPEN;
  }

  /** It starts as a move by itself. */
  started(row: number): void {
    assert(!this.isOpen(row), 'a row is moved again when it has ended');
    this.statuses[row] = OPEN;
    this.durationsNs[row] = engineNs();
    this.head[Head.open]++;
  }

  /**
   * A row has ended in another way than by arriving at once. Answers whether it is the first that
   * has ended since the last were told.
   */
  end(row: number, status: Status, crc: number, quarantined: boolean): boolean {
    const { head } = this;
    this.statuses[row] = status;
    this.crcs[row] = crc;
    this.durationsNs[row] = engineNs() - this.durationsNs[row];
    this.quarantined[row] = quarantined ? 1 : 0;
    if (quarantined) this.held++;
    head[Head.open]--;
    this.lists[head[Head.list]][head[Head.untold]++] = row;
    return head[Head.untold] === 1;
  }

  /** To the callback: what has ended meanwhile goes into the other list. */
  tell(): void {
    const { head } = this;
    const list = head[Head.list];
    const count = head[Head.untold];
    head[Head.list] = 1 - list;
    head[Head.untold] = 0;
    this.ended(this.lists[list], count);
  }

  /** Ends all rows that are under way; answers as `end` does. */
  cancel(): boolean {
    let first = false;
    for (let row = 0; row < this.statuses.length; row++) {
      if (this.isOpen(row) && this.end(row, Status.cancelled, Number.NaN, false)) first = true;
    }
    return first;
  }

  /** A row as a move by itself. */
  moveAt(row: number): Move {
    const { columns } = this;
    return {
      write: columns.write,
      pool: columns.pool,
      slot: columns.slots[row],
      offset: columns.offsets[row],
      segment: columns.segment,
      remoteSlot: columns.remoteSlots[row],
      generation: columns.generations[row],
      remoteOffset: columns.remoteOffsets[row],
      bytes: columns.bytes[row],
      crc: columns.crcs === null ? null : columns.crcs[row],
      sum: columns.sum,
      urgent: columns.urgent,
      deadlineNs: columns.deadlineNs,
    };
  }
}
