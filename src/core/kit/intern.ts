/** Interning: (namespace, block hash) to dense ids 0, 1, 2 … in order of first appearance. */
import { assert } from '../errors.ts';

/** Hashes below this are looked up in a table: at most 16 MiB of it per namespace. */
const DIRECT_LIMIT = 2 ** 22;
const FIRST_TABLE_LENGTH = 1024;

/** The hashes of one namespace. */
class HashSpace {
  /** Id + 1 of hash i; 0 where it has not appeared. */
  table: Int32Array;
  /** Ids of strings, of negative integers and of those from DIRECT_LIMIT on. */
  readonly others = new Map<number | string, number>();

  constructor(tableLength: number) {
    this.table = new Int32Array(tableLength);
  }
}

/**
 * Public traces number their blocks from 0, so that one array access suffices; hashes as engines
 * make them (integers up to 2^53, strings) go through a Map. The string '5' is not the integer 5.
 */
export class BlockInterner {
  private count = 0;
  private readonly spaces: HashSpace[] = [];
  private readonly tableLength: number;

  /** Room for hashes below `expected` is made at once; it is only a hint. */
  constructor(expected = FIRST_TABLE_LENGTH) {
    this.tableLength = Math.min(Math.max(expected, FIRST_TABLE_LENGTH), DIRECT_LIMIT);
  }

  /** Ids given so far: they are 0 .. size - 1. */
  get size(): number {
    return this.count;
  }

  /** The hash's id, a new one at its first appearance. `namespace` is a dense id itself. */
  intern(namespace: number, hash: number | string): number {
    const space = this.spaces[namespace] ?? this.openSpace(namespace);
    if (typeof hash === 'number') {
      assert(Number.isSafeInteger(hash), `block hash ${hash} is not an integer below 2^53`);
      if (hash >= 0 && hash < DIRECT_LIMIT) return this.internDirect(space, hash);
    }
    let id = space.others.get(hash);
    if (id === undefined) {
      id = this.count++;
      space.others.set(hash, id);
    }
    return id;
  }

  /**
   * `intern` for each of these integers, in order; the ids go to ids[at ..). It stops at the first
   * that is none, and returns how many went well.
   */
  internRun(namespace: number, hashes: readonly unknown[], ids: Int32Array, at: number): number {
    const space = this.spaces[namespace] ?? this.openSpace(namespace);
    let table = space.table;
    let count = this.count;
    for (let index = 0; index < hashes.length; index++) {
      const hash = hashes[index] as number;
      let id: number;
      // True of integers from 0 on only, whatever the element really is.
      if (hash >>> 0 === hash && hash < table.length) {
        id = table[hash] - 1;
        if (id === -1) {
          id = count++;
          table[hash] = count;
        }
      } else {
        if (!Number.isSafeInteger(hash)) {
          this.count = count;
          return index;
        }
        this.count = count;
        id = this.intern(namespace, hash);
        count = this.count;
        table = space.table;
      }
      ids[at + index] = id;
    }
    this.count = count;
    return hashes.length;
  }

  private internDirect(space: HashSpace, hash: number): number {
    if (hash >= space.table.length) growTable(space, hash);
    const known = space.table[hash];
    if (known !== 0) return known - 1;
    space.table[hash] = ++this.count;
    return this.count - 1;
  }

  private openSpace(namespace: number): HashSpace {
    assert(Number.isInteger(namespace) && namespace >= 0, `namespace ${namespace} is not an id`);
    while (this.spaces.length <= namespace) {
      this.spaces.push(new HashSpace(this.tableLength));
    }
    return this.spaces[namespace];
  }
}

/** Makes room for `hash`; by doubling, so that numbering from 0 costs O(1) a block. */
function growTable(space: HashSpace, hash: number): void {
  let length = space.table.length;
  while (length <= hash) length *= 2;
  const table = new Int32Array(length);
  table.set(space.table);
  space.table = table;
}
