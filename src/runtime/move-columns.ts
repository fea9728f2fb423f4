/**
 * Many moves alike, in columns: no object and no closure for each, one callback for all that end
 * together. Mooncake's transfer engine calls it a batch of transfers.
 */
import { assert } from '../core/errors.ts';
import type { Move } from './move.ts';
import type { Status } from './native.ts';
import type { Pool } from './native-pool.ts';
import type { Route, Segment } from './segment.ts';

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

const OPEN = 255;
const REST = 254;

/** `rows` (borrowed) ended, the first `count` of them: what became of them is in the columns. */
export type RowsEnded = (rows: Int32Array, count: number) => void;

/** What `DataPlane.moves` gives; its plane starts and ends the rows. */
export class Moves {
  readonly columns: MoveColumns;
  readonly pool: Pool;
  readonly segment: Segment;
  /** A Status per row. */
  readonly statuses: Uint8Array;
  /** Of the bytes where they arrived; NaN: not asked for, or the rail could not tell. */
  readonly crcs: Float64Array;
  /** From start to end. */
  readonly durationsNs: Float64Array;
  /** 1: operations are still open on the row's slot, as in `MoveEnd`. */
  readonly quarantined: Uint8Array;
  /** Of the first attempt of each: its rails, the only pair of its route. */
  readonly routes: (Route | null)[];
  /** Bytes that were before each on its rails. */
  readonly aheadOwn: Float64Array;
  readonly aheadPeer: Float64Array;
  /** Rows that are under way. */
  open = 0;
  private readonly ended: RowsEnded;
  /** Rows that have ended and are not told yet, and those told last. */
  private untold: Int32Array;
  private told: Int32Array;
  private untoldCount = 0;

  constructor(columns: MoveColumns, ended: RowsEnded) {
    const rows = columns.slots.length;
    this.columns = columns;
    this.pool = columns.pool;
    this.segment = columns.segment;
    this.ended = ended;
    this.statuses = new Uint8Array(rows).fill(REST);
    this.crcs = new Float64Array(rows).fill(Number.NaN);
    this.durationsNs = new Float64Array(rows);
    this.quarantined = new Uint8Array(rows);
    this.routes = new Array<Route | null>(rows).fill(null);
    this.aheadOwn = new Float64Array(rows);
    this.aheadPeer = new Float64Array(rows);
    this.untold = new Int32Array(rows);
    this.told = new Int32Array(rows);
  }

  isOpen(row: number): boolean {
    return this.statuses[row] === OPEN;
  }

  started(row: number, atNs: number): void {
    assert(!this.isOpen(row), 'a row is moved again when it has ended');
    this.statuses[row] = OPEN;
    this.durationsNs[row] = atNs;
    this.open++;
  }

  /** Answers whether it is the first that has ended since the last were told. */
  end(row: number, status: Status, crc: number, quarantined: boolean, atNs: number): boolean {
    this.statuses[row] = status;
    this.crcs[row] = crc;
    this.durationsNs[row] = atNs - this.durationsNs[row];
    this.quarantined[row] = quarantined ? 1 : 0;
    this.untold[this.untoldCount++] = row;
    this.open--;
    return this.untoldCount === 1;
  }

  tell(): void {
    const { untold, untoldCount } = this;
    this.untold = this.told;
    this.told = untold;
    this.untoldCount = 0;
    this.ended(untold, untoldCount);
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
