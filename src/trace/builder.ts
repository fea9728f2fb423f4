/** Grows the columns of a trace row by row. Readers of every format fill one. */
import { assert } from '../core/errors.ts';
import { BlockInterner } from '../core/kit/intern.ts';
import type { TraceColumns } from '../core/trace-columns.ts';

const FIRST_ROWS = 4096;
const FIRST_BLOCKS = 65_536;

/** Where the trace does not say. */
const NONE = -1;

export class TraceBuilder {
  /** Rows so far. */
  rows = 0;
  private readonly blockTokens: number;
  private readonly interner = new BlockInterner();
  private blockCount = 0;
  private arrivalNs = new Float64Array(FIRST_ROWS);
  private inputTokens = new Int32Array(FIRST_ROWS);
  private outputTokens = new Int32Array(FIRST_ROWS);
  private blockStart = new Int32Array(FIRST_ROWS + 1);
  private blocks = new Int32Array(FIRST_BLOCKS);
  private session: Int32Array | null = null;
  private parent: Int32Array | null = null;
  private thinkNs: Float64Array | null = null;
  private priority: Int32Array | null = null;

  constructor(blockTokens: number) {
    this.blockTokens = blockTokens;
  }

  /** Appends a row of `blockCount` blocks, which `addBlock` and `addBlocks` bring. */
  addRow(arrivalNs: number, inputTokens: number, outputTokens: number, blockCount: number): number {
    if (this.rows === this.arrivalNs.length) this.growRows();
    const row = this.rows++;
    this.arrivalNs[row] = arrivalNs;
    this.inputTokens[row] = inputTokens;
    this.outputTokens[row] = outputTokens;
    this.blockStart[row + 1] = this.blockStart[row] + blockCount;
    return row;
  }

  /** The next block, in the order of the rows. */
  addBlock(hash: number | string): void {
    this.reserveBlocks(1);
    this.blocks[this.blockCount++] = this.interner.intern(0, hash);
  }

  /** The next blocks, hashes[0 .. count), of one row or of several. */
  addBlocks(hashes: Int32Array, count: number): void {
    this.reserveBlocks(count);
    this.interner.internRun(0, hashes, count, this.blocks, this.blockCount);
    this.blockCount += count;
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
    assert(this.blockCount === this.blockStart[rows], 'rows and blocks of a trace agree');
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

  private reserveBlocks(count: number): void {
    const needed = this.blockCount + count;
    if (needed <= this.blocks.length) return;
    this.blocks = grownInt32(this.blocks, Math.max(needed, 2 * this.blocks.length), 0);
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

function grownInt32(column: Int32Array, length: number, rest: number): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(length);
  grown.set(column);
  if (rest !== 0) grown.fill(rest, column.length);
  return grown;
}

function grownFloat64(column: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const grown = new Float64Array(length);
  grown.set(column);
  return grown;
}
