/**
 * The stores of the cluster as a client knows them: who they are, in which order a key prefers
 * them, questions and their answers.
 */
import { hashText } from '../../core/kit/hash128.ts';
import { best, type RankedNode, rank } from '../../core/kit/rendezvous.ts';
import type { DataPlane, Segment } from '../data-plane.ts';
import type { Snapshot } from '../registry/registry.ts';
import { StoreError } from './errors.ts';
import { STORES, type StoreAnswer, type StoreAsk, type StoreEntry } from './spec.ts';

export const KEY_WORDS = 4;

/** One store in one of its lives. */
export interface Store extends RankedNode {
  readonly name: string;
  readonly entry: StoreEntry;
  readonly segment: Segment;
}

interface Asked {
  readonly store: string;
  readonly resolve: (answer: StoreAnswer) => void;
  readonly reject: (error: StoreError) => void;
  readonly sinceTick: number;
}

/** Questions are looked at so often for their timeout. */
const TICKS = 8;
const RELEASE_MS = 5;

export class Stores {
  readonly timeoutMs: number;
  private readonly plane: DataPlane;
  private readonly say: (store: string, ask: StoreAsk) => void;
  private stores: readonly Store[] = [];
  private readonly asked = new Map<number, Asked>();
  private lastAsk = 0;
  private tick = 0;
  private readonly ticker: NodeJS.Timeout;
  private waiting: (() => void)[] = [];
  /** Leases that are to go back, by store. */
  private readonly releases = new Map<string, number[]>();
  private releaser: NodeJS.Timeout | null = null;

  constructor(plane: DataPlane, timeoutMs: number, say: (store: string, ask: StoreAsk) => void) {
    this.plane = plane;
    this.timeoutMs = timeoutMs;
    this.say = say;
    this.ticker = setInterval(() => this.dropLate(), timeoutMs / TICKS).unref();
  }

  /** All of them, by name. */
  get all(): readonly Store[] {
    return this.stores;
  }

  get(name: string): Store | undefined {
    return this.stores.find((store) => store.name === name);
  }

  /** Takes in what the registry says. */
  update(entries: Snapshot): void {
    const before = new Map(this.stores.map((store) => [store.name, store]));
    const now: Store[] = [];
    for (const { value } of entries.values()) {
      const entry = JSON.parse(value) as StoreEntry;
      const known = before.get(entry.name);
      if (known?.entry.incarnation === entry.incarnation) {
        now.push(known);
        before.delete(entry.name);
        continue;
      }
      const segment = this.plane.importSegment(Buffer.from(entry.segment, 'base64'));
      if (segment === null) continue;
      const words = new Int32Array(KEY_WORDS);
      hashText(entry.name, words, 0);
      const weight = entry.slots * entry.slotBytes;
      now.push({ name: entry.name, entry, segment, hash: words[0], weight });
    }
    for (const { name, segment } of before.values()) {
      this.lost(name);
      this.plane.dropSegment(segment);
    }
    this.stores = now.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const wake of this.waiting.splice(0)) wake();
  }

  /** Resolves when there are so many. */
  async atLeast(count: number, timeoutMs: number): Promise<void> {
    const late = Symbol('late');
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<symbol>((resolve) => {
      timer = setTimeout(() => resolve(late), timeoutMs);
    });
    while (this.stores.length < count) {
      const changed = new Promise<void>((resolve) => this.waiting.push(resolve));
      if ((await Promise.race([changed, over])) !== late) continue;
      const found = `found ${this.stores.length} stores, expected ${count}`;
      throw new StoreError('unreachable', `${found}, under ${STORES} in the registry`);
    }
    clearTimeout(timer);
  }

  /** In the order in which a key prefers them. */
  ranked(keys: Int32Array, key: number): Store[] {
    const { stores } = this;
    return rank(keys[KEY_WORDS * key], stores).map((place) => stores[place]);
  }

  /** The one that a key prefers. */
  first(keys: Int32Array, key: number): Store {
    return this.stores[best(keys[KEY_WORDS * key], this.stores)];
  }

  /** Asks; the question is made with the number by which its answer is known. */
  ask<A extends StoreAnswer>(store: Store, make: (id: number) => StoreAsk): Promise<A> {
    const id = ++this.lastAsk;
    return this.askAs<A>(store, id, make(id));
  }

  /** Asks something more under a number that `ask` gave. */
  askAs<A extends StoreAnswer>(store: Store, id: number, ask: StoreAsk): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      const answered = resolve as (answer: StoreAnswer) => void;
      this.asked.set(id, { store: store.name, resolve: answered, reject, sinceTick: this.tick });
      // What is given back may be what makes room for it.
      if (this.releaser !== null) this.sendReleases();
      this.say(store.name, ask);
    });
  }

  /** Says something that has no answer. */
  tell(store: Store, ask: StoreAsk): void {
    this.say(store.name, ask);
  }

  /** Gives a lease back, along with the next question or soon: nobody waits for it. */
  release(store: Store, lease: number): void {
    const list = this.releases.get(store.name);
    if (list !== undefined) list.push(lease);
    else this.releases.set(store.name, [lease]);
    this.releaser ??= setTimeout(() => this.sendReleases(), RELEASE_MS);
  }

  private sendReleases(): void {
    if (this.releaser !== null) clearTimeout(this.releaser);
    this.releaser = null;
    for (const [name, leases] of this.releases) {
      for (const lease of leases) this.say(name, { kind: 'leaseRelease', lease });
    }
    this.releases.clear();
  }

  receive(answer: StoreAnswer): void {
    const id = idOf(answer);
    const asked = this.asked.get(id);
    this.asked.delete(id);
    asked?.resolve(answer);
  }

  /** The channel to a store broke. */
  lost(name: string): void {
    for (const [id, asked] of this.asked) {
      if (asked.store !== name) continue;
      this.asked.delete(id);
      asked.reject(new StoreError('unreachable', `store ${name} cannot be reached`));
    }
  }

  close(): void {
    clearInterval(this.ticker);
    this.sendReleases();
    for (const { reject } of this.asked.values()) {
      reject(new StoreError('closed', 'the client is closed'));
    }
    this.asked.clear();
  }

  private dropLate(): void {
    this.tick++;
    for (const [id, { store, reject, sinceTick }] of this.asked) {
      if (this.tick - sinceTick <= TICKS) return;
      this.asked.delete(id);
      reject(new StoreError('timeout', `store ${store} gave no answer in ${this.timeoutMs} ms`));
    }
  }
}

function idOf(answer: StoreAnswer): number {
  switch (answer.kind) {
    case 'objectsLeased':
      return answer.lease;
    case 'objectsGranted':
    case 'objectsStored':
      return answer.put;
    default:
      return answer.ask;
  }
}
