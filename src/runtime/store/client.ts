/**
 * A client of the store: objects under names, on the stores of a cluster. It is a member of the
 * cluster for as long as it is open, with a pool of its own that stores are read into.
 */
import { randomBytes } from 'node:crypto';
import { loadPolicy } from '../../config/policies.ts';
import { parsePolicyRef } from '../../config/policy-ref.ts';
import { InputError } from '../../core/errors.ts';
import type { ListedObject, ObjectsFound, ObjectsListed } from '../../core/object-messages.ts';
import { slotsOf } from '../../core/object-store.ts';
import { Pin } from '../../core/topology.ts';
import { Channels, railsAt } from '../control/channels.ts';
import type { Tls } from '../control/security.ts';
import { DataPlane, PLANE_DEFAULTS, type RailSpec } from '../data-plane.ts';
import { loadNative } from '../native.ts';
import type { RegistryRef } from '../registry/open.ts';
import { ANY, type Lease } from '../registry/registry.ts';
import { Buffers, type StoreBuffer } from './buffers.ts';
import { StoreError } from './errors.ts';
import { Finder } from './finder.ts';
import { groups, keysOf, pick } from './keys.ts';
import { Hints, type ReadEnd, readObjects } from './reads.ts';
import {
  CLIENTS,
  KEYS_MAX,
  STORE_DEFAULTS,
  STORE_LETTER,
  STORE_TTL_MS,
  STORES,
  type StoreAnswer,
  type StoreStat,
} from './spec.ts';
import { Stores } from './stores.ts';
import { type WriteEnd, type WriteParts, writeObjects } from './writes.ts';

export interface StoreClientOptions {
  readonly registry: RegistryRef;
  /** Of the cluster. */
  readonly token: string;
  /** Mutual TLS on the control plane; null: none. */
  readonly tls: Tls | null;
  /** `host:port` where stores reach it; port 0 takes a free one. */
  readonly listen: string;
  /** Registered memory: what is read and written at once. */
  readonly poolBytes: number;
  /** Stores that hold an object before its put is acknowledged. */
  readonly replicas: number;
  /** How long a store's answer is waited for. */
  readonly timeoutMs: number;
  /** How blocks move, the first kind that a store has too. */
  readonly rails: readonly RailSpec[];
}

export const CLIENT_DEFAULTS = {
  tls: null,
  listen: '127.0.0.1:0',
  poolBytes: 64 << 20,
  replicas: 1,
  timeoutMs: 5000,
  rails: STORE_DEFAULTS.rails,
} as const;

export type PinName = keyof typeof Pin;

export interface PutOptions {
  readonly replicas: number;
  /** Soft pins give way when nothing else can go, hard ones never. */
  readonly pin: PinName;
}

export interface PutEntry {
  readonly name: string;
  /** A StoreBuffer is written from where it lies, anything else is copied first. */
  readonly value: Uint8Array | StoreBuffer;
}

/** What became of an entry of a batch: `stored`, `exists` (nothing was written) or why not. */
export type PutOutcome = WriteEnd;
/** The value, null where there is none, or why it can't be had. */
export type GetOutcome = Uint8Array | StoreError | null;

/** One object on one store. */
export interface ObjectPlace extends ListedObject {
  readonly store: string;
}

export interface StoreInfo extends Omit<StoreStat, 'kind' | 'ask'> {
  readonly store: string;
  readonly endpoint: string;
}

/** How long it waits for the first store of the cluster. */
const START_MS = 10_000;
const LIST_OBJECTS = 1000;

interface Made {
  readonly parts: WriteParts;
  readonly channels: Channels;
  readonly lease: Lease;
}

export class StoreClient {
  private readonly made: Made;
  private readonly replicas: number;
  private readonly finder: Finder;
  private closed = false;

  /**
   * @throws InputError for bad options and where the native addon is missing
   * @throws StoreError `unreachable` when the cluster has no store
   */
  static async connect(
    given: Partial<StoreClientOptions> & Pick<StoreClientOptions, 'registry' | 'token'>,
  ): Promise<StoreClient> {
    const options: StoreClientOptions = { ...CLIENT_DEFAULTS, ...given };
    const { addon, reason } = loadNative();
    if (addon === null) throw new InputError(reason ?? '');
    const { module, params } = await loadPolicy(parsePolicyRef('rail', 'even', 'rail'));
    const plane = new DataPlane(addon, module.create({ random }, params), PLANE_DEFAULTS);
    const stores: Stores = new Stores(plane, options.timeoutMs, (store, ask) =>
      channels.links.send(store, [STORE_LETTER, ask]),
    );
    const security = { token: options.token, tls: options.tls };
    const name = `client-${process.pid}-${randomBytes(6).toString('hex')}`;
    const channels = new Channels({
      name,
      listen: options.listen,
      security,
      registry: options.registry,
      endpointOf: (peer) => stores.get(peer)?.entry.endpoint ?? null,
      onLetter: (peer, letter) => stores.receive(answerOf(peer, letter, stores)),
      onReset: (peer) => stores.lost(peer),
    });
    try {
      for (const rail of railsAt(options.listen, security, options.rails)) plane.addRail(rail);
      const lease = await join(channels, stores, name);
      const { slotBytes } = stores.all[0].entry;
      const slots = Math.max(1, Math.floor(options.poolBytes / slotBytes));
      const pool = plane.createPool({ slotBytes, slots, hugetlb: true, prefault: false });
      const waits = new Map<number, () => void>();
      plane.onReleased = (_, slot) => waits.get(slot)?.();
      const released = (slot: number) =>
        new Promise<void>((resolve) => {
          waits.set(slot, resolve);
          // It may have been so before anybody asked.
          if (!pool.inUse(slot)) resolve();
        });
      const buffers = new Buffers(pool);
      const parts = { plane, pool, buffers, stores, hints: new Hints(), addon, released };
      return new StoreClient({ parts, channels, lease }, options.replicas);
    } catch (error) {
      stores.close();
      await channels.close();
      plane.close();
      throw error;
    }
  }

  private constructor(made: Made, replicas: number) {
    this.made = made;
    this.replicas = replicas;
    this.finder = new Finder(made.parts.stores);
  }

  /** Registered memory, for reads and writes without a copy; `free` it. Waits for room. */
  allocate(sizeBytes: number): Promise<StoreBuffer> {
    return this.made.parts.buffers.take(sizeBytes);
  }

  /**
   * Stores a value. Objects do not change: under a name that is taken nothing is written.
   *
   * @throws StoreError
   */
  async put(
    name: string,
    value: PutEntry['value'],
    options: Partial<PutOptions> = {},
  ): Promise<'stored' | 'exists'> {
    return single(await this.putBatch([{ name, value }], options));
  }

  /** Each entry by itself: some may be stored and others not. Answers in the entries' order. */
  async putBatch(
    entries: readonly PutEntry[],
    options: Partial<PutOptions> = {},
  ): Promise<PutOutcome[]> {
    this.checkOpen();
    const { parts } = this.made;
    const replicas = options.replicas ?? this.replicas;
    const pin = Pin[options.pin ?? 'none'];
    const { length: count } = parts.stores.all;
    if (replicas > count) {
      throw new StoreError(
        'noSpace',
        `found ${count} stores, expected ${replicas} for the replicas`,
      );
    }
    const outcomes: PutOutcome[] = [];
    // At most what half of the pool has room for: a batch must not wait for itself.
    const { slots, slotBytes } = parts.pool.info;
    const slotsAt = (i: number) => slotsOf(sizeOf(entries[i].value), slotBytes);
    for (let from = 0; from < entries.length; ) {
      let to = from + 1;
      let taken = slotsAt(from);
      while (to < entries.length && 2 * (taken + slotsAt(to)) <= slots) taken += slotsAt(to++);
      outcomes.push(...(await this.putSome(entries.slice(from, to), replicas, pin)));
      from = to;
    }
    return outcomes;
  }

  private async putSome(
    entries: readonly PutEntry[],
    replicas: number,
    pin: Pin,
  ): Promise<PutOutcome[]> {
    const { parts } = this.made;
    const largest = parts.stores.all[0]?.entry.objectBytesMax ?? 0;
    const most = Math.min(largest, parts.buffers.sizeBytes);
    const outcomes: PutOutcome[] = entries.map(({ name, value }) => {
      const bytes = sizeOf(value);
      return new StoreError('tooLarge', `${name} has ${bytes} bytes, expected at most ${most}`);
    });
    const fit = [...entries.keys()].filter((i) => sizeOf(entries[i].value) <= most);
    const own: StoreBuffer[] = [];
    try {
      const writing = [];
      for (const i of fit) {
        const { name, value } = entries[i];
        let buffer: StoreBuffer;
        if (value instanceof Uint8Array) {
          buffer = await parts.buffers.take(value.length);
          buffer.bytes.set(value);
          own.push(buffer);
        } else buffer = value;
        writing.push({ name, buffer });
      }
      const ends = await writeObjects(parts, writing, replicas, pin);
      for (const [at, i] of fit.entries()) outcomes[i] = ends[at];
    } finally {
      for (const buffer of own) buffer.free();
    }
    return outcomes;
  }

  /**
   * The value, as bytes of its own; null when no store has it.
   *
   * @throws StoreError
   */
  async get(name: string): Promise<Uint8Array | null> {
    return single(await this.getBatch([name]));
  }

  /** Each name by itself, in their order. */
  async getBatch(names: readonly string[]): Promise<GetOutcome[]> {
    const ends = await this.read(
      names,
      names.map(() => null),
    );
    return ends.map((end) => {
      if (end === null || end instanceof StoreError) return end;
      const value = Buffer.allocUnsafeSlow(end.sizeBytes);
      value.set(end.buffer.bytes);
      end.buffer.free();
      return value;
    });
  }

  /**
   * Reads into registered memory, without a copy. Answers the bytes of the value, null when no
   * store has it.
   *
   * @throws StoreError
   */
  async getInto(name: string, buffer: StoreBuffer): Promise<number | null> {
    return single(await this.getIntoBatch([name], [buffer]));
  }

  /** As getInto, each by itself. */
  async getIntoBatch(
    names: readonly string[],
    buffers: readonly StoreBuffer[],
  ): Promise<(number | StoreError | null)[]> {
    const ends = await this.read(names, buffers);
    return ends.map((end) => (end === null || end instanceof StoreError ? end : end.sizeBytes));
  }

  private async read(
    names: readonly string[],
    into: readonly (StoreBuffer | null)[],
  ): Promise<ReadEnd[]> {
    this.checkOpen();
    return readObjects(this.made.parts, names, into, this.replicas);
  }

  /** Whether a store has it. @throws StoreError */
  async exists(name: string): Promise<boolean> {
    this.checkOpen();
    const keys = keysOf([name]);
    return (await this.finder.find(keys, 0)) >= 0;
  }

  /** @throws StoreError when one can't be told */
  async existsBatch(names: readonly string[]): Promise<boolean[]> {
    this.checkOpen();
    const sizes = await this.finder.findAll(keysOf(names));
    return Array.from(sizes, (size) => size >= 0);
  }

  /**
   * Takes it away everywhere, pins or not; who reads it now may finish. Whether it was there.
   *
   * @throws StoreError when a store can't be reached: it may have it still
   */
  async remove(name: string): Promise<boolean> {
    return (await this.removeBatch([name]))[0];
  }

  async removeBatch(names: readonly string[]): Promise<boolean[]> {
    return this.everywhere(names, (ask, keys) => ({ kind: 'objectsRemove', ask, keys }));
  }

  /** Pins what is there, or lets it go. Whether it was there. @throws StoreError as remove */
  async pin(name: string, pin: PinName): Promise<boolean> {
    const to = Pin[pin];
    const found = await this.everywhere([name], (ask, keys) => ({
      kind: 'objectsPin',
      ask,
      keys,
      pin: to,
    }));
    return found[0];
  }

  /** Where an object is. @throws StoreError */
  async places(name: string): Promise<ObjectPlace[]> {
    this.checkOpen();
    const { stores } = this.made.parts;
    const found = stores.all.map(async (store) => {
      const { objects } = await stores.ask<ObjectsListed>(store, (ask) => ({
        kind: 'objectsDescribe',
        ask,
        names: [name],
      }));
      return objects.map((object) => ({ store: store.name, ...object }));
    });
    return (await Promise.all(found)).flat();
  }

  /** All objects whose names begin so, store by store: a replica is one entry more. */
  async *list(prefix = ''): AsyncGenerator<ObjectPlace> {
    this.checkOpen();
    const { stores } = this.made.parts;
    for (const store of stores.all) {
      let cursor = 0;
      do {
        const from = cursor;
        const page = await stores.ask<ObjectsListed>(store, (ask) => ({
          kind: 'objectsList',
          ask,
          prefix,
          cursor: from,
          limit: LIST_OBJECTS,
        }));
        for (const object of page.objects) yield { store: store.name, ...object };
        ({ cursor } = page);
      } while (cursor > 0);
    }
  }

  /** Numbers of all stores. @throws StoreError */
  async stat(): Promise<StoreInfo[]> {
    this.checkOpen();
    const { stores } = this.made.parts;
    const asks = stores.all.map(async (store) => {
      const answer = await stores.ask<StoreStat>(store, (ask) => ({ kind: 'storeStat', ask }));
      const { kind: _, ask: __, ...numbers } = answer;
      return { store: store.name, endpoint: store.entry.endpoint, ...numbers };
    });
    return Promise.all(asks);
  }

  /** Names of the stores that it knows. */
  get stores(): string[] {
    return this.made.parts.stores.all.map(({ name }) => name);
  }

  /** Resolves when the cluster has so many stores. @throws StoreError */
  atLeast(stores: number, timeoutMs: number): Promise<void> {
    return this.made.parts.stores.atLeast(stores, timeoutMs);
  }

  /** What is under way fails with `closed`; buffers' bytes are gone. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const { parts, channels, lease } = this.made;
    parts.stores.close();
    await lease.end().catch(() => {});
    await channels.close();
    parts.plane.close();
  }

  private async everywhere(
    names: readonly string[],
    make: (ask: number, keys: Uint8Array) => Parameters<Stores['tell']>[1],
  ): Promise<boolean[]> {
    this.checkOpen();
    const { stores } = this.made.parts;
    const words = keysOf(names);
    const found = names.map(() => false);
    const all = groups([...names.keys()], KEYS_MAX, () => 0);
    const asks = stores.all.map(async (store) => {
      for (const [, some] of all) {
        const keys = pick(words, some);
        const { sizes } = await stores.ask<ObjectsFound>(store, (ask) => make(ask, keys));
        for (const [at, i] of some.entries()) found[i] ||= sizes[at] >= 0;
      }
    });
    await Promise.all(asks);
    return found;
  }

  private checkOpen(): void {
    if (this.closed) throw new StoreError('closed', 'the client is closed');
    const { all } = this.made.parts.stores;
    if (all.length === 0) throw new StoreError('unreachable', 'the cluster has no store now');
  }
}

/** The one outcome of a batch of one. */
function single<T>([outcome]: readonly (T | StoreError)[]): T {
  if (outcome instanceof StoreError) throw outcome;
  return outcome;
}

function sizeOf(value: PutEntry['value']): number {
  return value instanceof Uint8Array ? value.length : value.bytes.length;
}

/** Rail policies break ties by it; nothing depends on the numbers. */
let state = 1;
function random(): number {
  state = (state * 48_271) % 2_147_483_647;
  return state / 2_147_483_647;
}

async function join(channels: Channels, stores: Stores, name: string): Promise<Lease> {
  const endpoint = await channels.listen();
  const { registry } = channels;
  const lease = await registry.lease(STORE_TTL_MS);
  await lease.put(CLIENTS + name, JSON.stringify({ name, endpoint }), ANY);
  await registry.watch(STORES, (entries) => stores.update(entries));
  await stores.atLeast(1, START_MS);
  return lease;
}

/** @throws InputError for what no store says */
function answerOf(peer: string, letter: unknown, stores: Stores): StoreAnswer {
  const isAnswer =
    Array.isArray(letter) && letter[0] === STORE_LETTER && typeof letter[1]?.kind === 'string';
  if (!isAnswer) throw new InputError('found no answer of a store');
  if (stores.get(peer) === undefined) throw new InputError(`found ${peer}, expected a store`);
  return letter[1] as StoreAnswer;
}
