/**
 * Which objects are there. Questions of one turn to one store go as one; what the store that a key
 * prefers does not have is asked of all the others.
 */
import { ABSENT_SIZE, type ObjectsFound } from '../../core/object-messages.ts';
import type { StoreError } from './errors.ts';
import { groups, KEY_BYTES, pick, putKey } from './keys.ts';
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
      return (await this.ask(only, new Uint8Array(keys.buffer))).sizes;
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
    const bytes = new Uint8Array(KEY_BYTES * list.length);
    for (let i = 0; i < list.length; i++) putKey(list[i].keys, list[i].key, bytes, i);
    try {
      const { sizes } = await this.ask(store, bytes);
      for (let i = 0; i < list.length; i++) {
        list[i].resolve(sizes[i] >= 0 ? sizes[i] : this.findLater(list[i], null));
      }
    } catch (error) {
      for (const one of list) one.resolve(this.findLater(one, error as StoreError));
    }
  }

  private async findLater({ keys, key }: Waiting, failure: StoreError | null): Promise<number> {
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
