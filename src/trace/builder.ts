/** Grows the columns of a trace row by row. Readers of every format fill one. */
import { BlockInterner } from '../core/kit/intern.ts';
import type { TraceColumns } from '../core/trace-columns.ts';

/** A row and a block take at least about this much of a trace's text. */
const ROW_BYTES = 64;
const BLOCK_BYTES = 8;
const FIRST_ROWS = 64;
const FIRST_BLOCKS = 1024;

/** Where the trace does not say. */
const NONE = -1;

export class TraceBuilder {
  /** Rows so far. */
  rows = 0;
  private readonly blockTokens: number;
  private readonly interner: BlockInterner;
  private blockCount = 0;
  private arrivalNs: Float64Array;
  private inputTokens: Int32Array;
  private outputTokens: Int32Array;
  private blockStart: Int32Array;
  private blocks: Int32Array;
  private session: Int32Array | null = null;
  private parent: Int32Array | null = null;
  private thinkNs: Float64Array | null = null;
  private priority: Int32Array | null = null;

  /** Room is made for what a text of this size may hold; memory that is not used costs nothing. */
  constructor(blockTokens: number, textBytes: number) {
    const rows = Math.max(FIRST_ROWS, Math.ceil(textBytes / ROW_BYTES));
    const blocks = Math.max(FIRST_BLOCKS, Math.ceil(textBytes / BLOCK_BYTES));
    this.blockTokens = blockTokens;
    this.interner = new BlockInterner(blocks);
    this.arrivalNs = new Float64Array(rows);
    this.inputTokens = new Int32Array(rows);
    this.outputTokens = new Int32Array(rows);
    this.blockStart = new Int32Array(rows + 1);
    this.blocks = new Int32Array(blocks);
  }

  /** Appends a row; its blocks follow. Returns its number. */
  addRow(arrivalNs: number, inputTokens: number, outputTokens: number): number {
    if (this.rows === this.arrivalNs.length) this.growRows();
    const row = this.rows++;
    this.arrivalNs[row] = arrivalNs;
    this.inputTokens[row] = inputTokens;
    this.outputTokens[row] = outputTokens;
    this.blockStart[row + 1] = this.blockCount;
    return row;
  }

  /**
   * Appends blocks to the last row. Their hashes must be integers: it stops at the first that is
   * none, and returns how many it took.
   */
  addBlocks(hashes: readonly unknown[]): number {
    const needed = this.blockCount + hashes.length;
    if (needed > this.blocks.length) {
      this.blocks = grownInt32(this.blocks, Math.max(needed, 2 * this.blocks.length), 0);
    }
    const taken = this.interner.internRun(0, hashes, this.blocks, this.blockCount);
    this.blockCount += taken;
    this.blockStart[this.rows] = this.blockCount;
    return taken;
  }

  setSession(row: number, session: number): void {
    this.session ??= new Int32Array(this.arrivalNs.length).fill(NONE);
    this.session[row] = session;
  }

  /** The row starts `thinkNs` after the end of row `parent`. */
  setParent(row: number, parent: number, thinkNs: number): void {
    this.parent ??= new Int32Array(this.arrivalNs.length).fill(NONE);
    this.thinkNs ??= new Float64Array(this.arrivalNs.length);
    this.parent[row] = parent;
    this.thinkNs[row] = thinkNs;
  }

  setPriority(row: number, priority: number): void {
    this.priority ??= new Int32Array(this.arrivalNs.length);
    this.priority[row] = priority;
  }

  /** The columns, cut to length. */
  finish(sha256: string): TraceColumns {
    const rows = this.rows;
    return {
      requests: rows,
      blockTokens: this.blockTokens,
      distinctBlocks: this.interner.size,
      arrivalNs: this.arrivalNs.slice(0, rows),
      inputTokens: this.inputTokens.slice(0, rows),
      outputTokens: this.outputTokens.slice(0, rows),
      blockStart: this.blockStart.slice(0, rows + 1),
      blocks: this.blocks.slice(0, this.blockCount),
      session: this.session?.slice(0, rows) ?? null,
      parent: this.parent?.slice(0, rows) ?? null,
      thinkNs: this.thinkNs?.slice(0, rows) ?? null,
      priority: this.priority?.slice(0, rows) ?? null,
      tenant: null,
      sloClass: null,
      namespace: null,
      sha256,
    };
  }

  private growRows(): void {
    const length = 2 * this.arrivalNs.length;
    this.arrivalNs = grownFloat64(this.arrivalNs, length);
    this.inputTokens = grownInt32(this.inputTokens, length, 0);
    this.outputTokens = grownInt32(this.outputTokens, length, 0);
    this.blockStart = grownInt32(this.blockStart, length + 1, 0);
    if (this.session !== null) this.session = grownInt32(this.session, length, NONE);
    if (this.parent !== null) this.parent = grownInt32(this.parent, length, NONE);
    if (this.thinkNs !== null) this.thinkNs = grownFloat64(this.thinkNs, length);
    if (this.priority !== null) this.priority = grownInt32(this.priority, length, 0);
  }
}

function grownInt32(column: Int32Array, length: number, rest: number): Int32Array {
  const grown = new Int32Array(length);
  grown.set(column);
  if (rest !== 0) grown.fill(rest, column.length);
  return grown;
}

function grownFloat64(column: Float64Array, length: number): Float64Array {
  const grown = new Float64Array(length);
  grown.set(column);
  return grown;
}
