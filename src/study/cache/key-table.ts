/** Interns the keys of foreign traces to dense ids, in order of first appearance. */

/** Odd constants of Murmur3's finaliser. */
const MIX_A = 0x85ebca6b;
const MIX_B = 0xc2b2ae35;
const FIRST_CELLS = 4096;

export class KeyTable {
  /** Distinct keys so far. */
  size = 0;
  /** Open addressing over 64-bit numbers: id plus one, or 0. At most half full. */
  private cells = new Int32Array(FIRST_CELLS);
  private cellsUsed = 0;
  /** Halves of the number of each id. */
  private low = new Uint32Array(FIRST_CELLS);
  private high = new Uint32Array(FIRST_CELLS);
  private readonly texts = new Map<string, number>();

  /** Id of a 64-bit number, given as two unsigned halves. */
  internNumber(low: number, high: number): number {
    if (2 * this.cellsUsed >= this.cells.length) this.growCells();
    const mask = this.cells.length - 1;
    let cell = hash(low, high) & mask;
    for (; this.cells[cell] !== 0; cell = (cell + 1) & mask) {
      const known = this.cells[cell] - 1;
      if (this.low[known] === low && this.high[known] === high) return known;
    }
    const id = this.size++;
    if (id >= this.low.length) this.growIds();
    this.low[id] = low;
    this.high[id] = high;
    this.cells[cell] = id + 1;
    this.cellsUsed++;
    return id;
  }

  /** Id of a text; a text and a number never share one. */
  internText(text: string): number {
    let id = this.texts.get(text);
    if (id === undefined) {
      id = this.size++;
      this.texts.set(text, id);
    }
    return id;
  }

  private growIds(): void {
    const length = 2 * this.size;
    const { low, high } = this;
    this.low = new Uint32Array(length);
    this.low.set(low);
    this.high = new Uint32Array(length);
    this.high.set(high);
  }

  private growCells(): void {
    const old = this.cells;
    this.cells = new Int32Array(2 * old.length);
    const mask = this.cells.length - 1;
    for (let i = 0; i < old.length; i++) {
      if (old[i] === 0) continue;
      const id = old[i] - 1;
      let cell = hash(this.low[id], this.high[id]) & mask;
      while (this.cells[cell] !== 0) cell = (cell + 1) & mask;
      this.cells[cell] = id + 1;
    }
  }
}

function hash(low: number, high: number): number {
  let x = low ^ Math.imul(high, MIX_B);
  x = Math.imul(x ^ (x >>> 16), MIX_A);
  x = Math.imul(x ^ (x >>> 13), MIX_B);
  return x ^ (x >>> 16);
}
