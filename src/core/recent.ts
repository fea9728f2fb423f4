/**
 * The last things remembered, each a small number by its key: at least `limit` of them, at most
 * twice as many. Two generations, so that nothing is ever deleted one by one: when the young one is
 * full, it becomes the old one.
 */
export class Recent {
  private readonly limit: number;
  private young = new Generation();
  private old = new Generation();

  constructor(limit: number) {
    this.limit = limit;
  }

  /** `key` is an integer from 0, `value` an int32. */
  set(key: number, value: number): void {
    if (this.young.size >= this.limit) {
      this.old = this.young;
      this.young = new Generation();
    }
    this.young.set(key, value);
  }

  has(key: number): boolean {
    return this.get(key) !== undefined;
  }

  get(key: number): number | undefined {
    return this.young.get(key) ?? this.old.get(key);
  }

  /** All that is remembered, in the order in which it came. */
  visit(each: (key: number, value: number) => void): void {
    this.old.visit(each);
    this.young.visit(each);
  }
}

const FIRST_LENGTH = 64;
/** Odd; multiplied by it, keys that lie 64 apart spread over the table (Knuth's constant). */
const SPREAD = 0x9e3779b1;

/** Entries in order, and a table of open addressing over them at most half full. */
class Generation {
  size = 0;
  private keys = new Float64Array(FIRST_LENGTH);
  private values = new Int32Array(FIRST_LENGTH);
  /** Entry + 1, or 0. */
  private table = new Int32Array(2 * FIRST_LENGTH);

  get(key: number): number | undefined {
    if (this.size === 0) return undefined;
    const entry = this.table[this.place(key)];
    return entry === 0 ? undefined : this.values[entry - 1];
  }

  set(key: number, value: number): void {
    let place = this.place(key);
    if (this.table[place] === 0) {
      if (this.size === this.keys.length) {
        this.grow();
        place = this.place(key);
      }
      this.keys[this.size] = key;
      this.table[place] = ++this.size;
    }
    this.values[this.table[place] - 1] = value;
  }

  visit(each: (key: number, value: number) => void): void {
    for (let i = 0; i < this.size; i++) each(this.keys[i], this.values[i]);
  }

  /** Where the key is, or would be. */
  private place(key: number): number {
    const { table, keys } = this;
    const mask = table.length - 1;
    let place = (Math.imul(key ^ (key / 2 ** 32), SPREAD) >>> 7) & mask;
    while (table[place] !== 0 && keys[table[place] - 1] !== key) place = (place + 1) & mask;
    return place;
  }

  private grow(): void {
    const { keys, values } = this;
    this.keys = new Float64Array(2 * keys.length);
    this.keys.set(keys);
    this.values = new Int32Array(2 * values.length);
    this.values.set(values);
    this.table = new Int32Array(4 * keys.length);
    for (let i = 0; i < this.size; i++) this.table[this.place(keys[i])] = i + 1;
  }
}
