/** Interning: (namespace, block hash) to dense ids 0, 1, 2 … in order of first appearance. */
import { assert } from '../errors.ts';

/** Hashes below this are looked up in a table: at most 16 MiB of it per namespace. */
const DIRECT_LIMIT = 2 ** 22;
const FIRST_TABLE_LENGTH = 1024;

/** The hashes of one namespace. */
class HashSpace {
  /** Id + 1 of hash i; 0 where it has not appeared. */
  table = new Int32Array(FIRST_TABLE_LENGTH);
  /** Ids of strings, of negative integers and of those from DIRECT_LIMIT on. */
  readonly others = new Map<number | string, number>();
}

/**
 * Public traces number their blocks from 0, so that one array access suffices; hashes as engines
 * make them (integers up to 2^53, strings) go through a Map. The string '5' is not the integer 5.
 */
export class BlockInterner {
  private count = 0;
  private readonly spaces: HashSpace[] = [];

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

  /** Writes the ids of hashes[0 .. count) to ids[at ..): `intern` for each, in order. */
  internRun(
    namespace: number,
    hashes: Int32Array,
    count: number,
    ids: Int32Array,
    at: number,
  ): void {
    const space = this.spaces[namespace] ?? this.openSpace(namespace);
    let table = space.table;
    for (let index = 0; index < count; index++) {
      const hash = hashes[index];
      // Of a negative hash, the unsigned value is large.
      if (hash >>> 0 >= table.length) {
        ids[at + index] = this.intern(namespace, hash);
        table = space.table;
        continue;
      }
      let id = table[hash] - 1;
      if (id === -1) {
        id = this.count++;
        table[hash] = id + 1;
      }
      ids[at + index] = id;
    }
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
    while (this.spaces.length <= namespace) this.spaces.push(new HashSpace());
    return this.spaces[namespace];
  }
}

/** Makes room for `hash`; a power of two, so that numbering from 0 costs O(1) a block. */
function growTable(space: HashSpace, hash: number): void {
  let length = space.table.length;
  while (length <= hash) length *= 2;
  const table = new Int32Array(length);
  table.set(space.table);
  space.table = table;
}
