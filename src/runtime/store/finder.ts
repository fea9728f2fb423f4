/**
 * Which objects are there. Questions of one turn to one store go as one; what the store that a key
 * prefers does not have is asked of all the others.
 */
import { ABSENT_SIZE, type ObjectsFound } from '../../core/object-messages.ts';
import type { StoreError } from './errors.ts';
import { groups, pick } from './keys.ts';
import { KEYS_MAX } from './spec.ts';
import { KEY_WORDS, type Store, type Stores } from './stores.ts';

interface Waiting {
  readonly keys: Int32Array;
  readonly key: number;
  readonly resolve: (size: number | Promise<number>) => void;
}

export class Finder {
  private readonly stores: Stores;
  private readonly waiting = new Map<Store, Waiting[]>();
  private due = false;

  constructor(stores: Stores) {
    this.stores = stores;
  }

  /** Bytes of the object, or ABSENT_SIZE. */
  find(keys: Int32Array, key: number): Promise<number> {
    return new Promise((resolve) => {
      const store = this.stores.first(keys, key);
      let list = this.waiting.get(store);
      if (list === undefined) {
        list = [];
        this.waiting.set(store, list);
      }
      list.push({ keys, key, resolve });
      if (this.due) return;
      this.due = true;
      queueMicrotask(() => this.flush());
    });
  }

  /** Of all keys. */
  async findAll(keys: Int32Array): Promise<Float64Array> {
    const count = keys.length / KEY_WORDS;
    const sizes = new Float64Array(count).fill(ABSENT_SIZE);
    if (count === 0) return sizes;
    const [only] = this.stores.all;
    if (this.stores.all.length === 1 && count <= KEYS_MAX) {
      const bytes = new Uint8Array(keys.buffer, keys.byteOffset, keys.byteLength);
      return (await this.ask(only, bytes)).sizes;
    }
    const all = Array.from({ length: count }, (_, i) => i);
    const asks = groups(all, KEYS_MAX, (i) => this.stores.first(keys, i));
    let failure: StoreError | null = null;
    const first = asks.map(async ([store, some]) => {
      try {
        const { sizes: found } = await this.ask(store, pick(keys, some));
        for (let at = 0; at < some.length; at++) sizes[some[at]] = found[at];
      } catch (error) {
        failure = error as StoreError;
      }
    });
    await Promise.all(first);
    const missing = all.filter((i) => sizes[i] < 0);
    if (missing.length > 0) await this.findElsewhere(keys, missing, sizes, failure);
    return sizes;
  }

  private flush(): void {
    this.due = false;
    for (const [store, list] of this.waiting) void this.findFirst(store, list);
    this.waiting.clear();
  }

  private async findFirst(store: Store, list: readonly Waiting[]): Promise<void> {
    const words = new Int32Array(KEY_WORDS * list.length);
    for (const [i, { keys, key }] of list.entries()) {
      words.set(keys.subarray(KEY_WORDS * key, KEY_WORDS * key + KEY_WORDS), KEY_WORDS * i);
    }
    try {
      const { sizes } = await this.ask(store, new Uint8Array(words.buffer));
      for (const [i, { resolve }] of list.entries()) {
        resolve(sizes[i] >= 0 ? sizes[i] : this.findLater(words, i, null));
      }
    } catch (error) {
      const failure = error as StoreError;
      for (const [i, { resolve }] of list.entries()) resolve(this.findLater(words, i, failure));
    }
  }

  private async findLater(
    keys: Int32Array,
    key: number,
    failure: StoreError | null,
  ): Promise<number> {
    const own = keys.slice(KEY_WORDS * key, KEY_WORDS * key + KEY_WORDS);
    const sizes = new Float64Array(1).fill(ABSENT_SIZE);
    await this.findElsewhere(own, [0], sizes, failure);
    return sizes[0];
  }

  /** Throws when one is nowhere, and a store could not be asked: then nobody knows. */
  private async findElsewhere(
    keys: Int32Array,
    missing: readonly number[],
    sizes: Float64Array,
    failed: StoreError | null,
  ): Promise<void> {
    let failure = failed;
    const asks = this.stores.all.map(async (store) => {
      const some = missing.filter((i) => this.stores.first(keys, i) !== store);
      for (const [, group] of groups(some, KEYS_MAX, () => 0)) {
        try {
          const { sizes: found } = await this.ask(store, pick(keys, group));
          for (const [at, i] of group.entries()) sizes[i] = Math.max(sizes[i], found[at]);
        } catch (error) {
          failure = error as StoreError;
        }
      }
    });
    await Promise.all(asks);
    if (failure !== null && missing.some((i) => sizes[i] < 0)) throw failure;
  }

  private ask(store: Store, keys: Uint8Array): Promise<ObjectsFound> {
    return this.stores.ask(store, (ask) => ({ kind: 'objectsFind', ask, keys }));
  }
}
