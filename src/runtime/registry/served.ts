/**
 * A registry in memory that other processes use over their links: for a cluster on one machine,
 * where nothing needs to be installed. It lives and dies with the process that serves it.
 */
import { InputError } from '../../core/errors.ts';
import { type MemoryLease, MemoryRegistry } from './memory.ts';
import {
  ANY,
  type Entry,
  type Expected,
  type Fence,
  type Lease,
  type Registry,
  RegistryError,
  type Snapshot,
  type Watch,
} from './registry.ts';

/** Client to server. `id` is the client's, of a call, a watch or a lease. */
type Ask =
  | readonly ['get', id: number, key: string]
  | readonly ['list', id: number, prefix: string]
  | readonly [
      'put',
      id: number,
      key: string,
      value: string,
      expected: Expected,
      lease: number,
      fence: Fence | null,
    ]
  | readonly ['remove', id: number, key: string, expected: Expected]
  | readonly ['watch', id: number, prefix: string]
  | readonly ['unwatch', id: number]
  | readonly ['lease', id: number, ttlMs: number]
  | readonly ['alive', id: number]
  | readonly ['end', id: number];

/** Server to client. */
type Answer =
  | readonly ['answer', id: number, value: unknown]
  | readonly ['refused', id: number, why: string]
  | readonly ['changed', id: number, entries: readonly Entry[]]
  | readonly ['lost', id: number];

type Say = (peer: string, letter: readonly ['registry', Ask | Answer]) => void;

const TTL_MS_MAX = 3_600_000;
const KEY_CHARS_MAX = 512;
/** A member's segment is the largest: some KB for each rail. */
const VALUE_CHARS_MAX = 4 << 20;
/** Of all entries together. */
const ENTRIES_MAX = 100_000;
/** Watches and leases of one client. */
const HELD_MAX = 64;
const CLIENTS_MAX = 10_000;
/** Below these a name is its owner's own: nobody else writes there. */
const OWNED = /^(?:members|incarnations)\/(.*)$/;
/** Here a client puts its own name, or nothing. */
const LED = 'leader/';
/** What the leading conductor alone writes. */
const LEADERS = /^buckets\//;
const LEADING = 'leader/conductor';

interface Client {
  readonly watches: Map<number, Watch>;
  readonly leases: Map<number, MemoryLease>;
  /** Watches and leases that are being made. */
  opening: number;
}

export class RegistryServer {
  readonly registry = new MemoryRegistry();
  private readonly say: Say;
  private readonly clients = new Map<string, Client>();

  constructor(say: Say) {
    this.say = say;
  }

  /** @throws InputError for what is no question */
  receive(peer: string, found: unknown): void {
    const ask = askOf(found);
    void this.serve(peer, ask).catch((error: unknown) => {
      this.say(peer, ['registry', ['refused', ask[1], (error as Error).message]]);
    });
  }

  /** Its watches end; its leases run out by themselves, so that a short break costs nothing. */
  reset(peer: string): void {
    const client = this.clients.get(peer);
    for (const watch of client?.watches.values() ?? []) void watch.close();
    client?.watches.clear();
  }

  private async serve(peer: string, ask: Ask): Promise<void> {
    const { registry } = this;
    const client = this.client(peer);
    const answer = (value: unknown) => this.say(peer, ['registry', ['answer', ask[1], value]]);
    switch (ask[0]) {
      case 'get':
        return answer(await registry.get(ask[2]));
      case 'list':
        return answer([...(await registry.list(ask[2])).values()]);
      case 'put': {
        const [, , key, value, expected, leaseId, fence] = ask;
        await this.checkOwner(peer, key);
        if (key.startsWith(LED) && value !== peer) {
          throw new RegistryError(`found ${peer} electing another`);
        }
        if (registry.size >= ENTRIES_MAX) throw new RegistryError('the registry is full');
        if (leaseId === 0) {
          return answer(await registry.put(key, value, expected, fence ?? undefined));
        }
        const lease = client.leases.get(leaseId);
        if (lease === undefined) throw new RegistryError('the lease has ended');
        return answer(await lease.put(key, value, expected));
      }
      case 'remove':
        await this.checkOwner(peer, ask[2]);
        return answer(await registry.remove(ask[2], ask[3]));
      case 'watch': {
        checkRoom(client);
        const before = client.watches.get(ask[1]);
        const tell = (entries: Snapshot) =>
          this.say(peer, ['registry', ['changed', ask[1], [...entries.values()]]]);
        const watch = await opening(client, registry.watch(ask[2], tell));
        void before?.close();
        client.watches.set(ask[1], watch);
        return answer(null);
      }
      case 'unwatch':
        await client.watches.get(ask[1])?.close();
        client.watches.delete(ask[1]);
        return;
      case 'lease': {
        checkRoom(client);
        const lease = await opening(client, registry.lease(ask[2]));
        lease.keepAlive();
        client.leases.set(ask[1], lease);
        void lease.lost.then(() => {
          // A client that began anew counts from one again.
          if (client.leases.get(ask[1]) !== lease) return;
          client.leases.delete(ask[1]);
          this.say(peer, ['registry', ['lost', ask[1]]]);
        });
        return answer(null);
      }
      case 'alive': {
        const lease = client.leases.get(ask[1]);
        if (lease === undefined) throw new RegistryError('the lease has ended');
        lease.keepAlive();
        return answer(null);
      }
      default:
        await client.leases.get(ask[1])?.end();
        client.leases.delete(ask[1]);
        return answer(null);
    }
  }

  private async checkOwner(peer: string, key: string): Promise<void> {
    const owner = OWNED.exec(key)?.[1];
    if (LEADERS.test(key)) await this.checkLeads(peer, key);
    if (owner === undefined || owner === peer) return;
    throw new RegistryError(`found ${peer} writing ${key}, which is not its own`);
  }

  private async checkLeads(peer: string, key: string): Promise<void> {
    const leader = (await this.registry.get(LEADING))?.value;
    if (leader !== peer) throw new RegistryError(`found ${peer} writing ${key}, which leads not`);
  }

  private client(peer: string): Client {
    let client = this.clients.get(peer);
    if (client === undefined) {
      if (this.clients.size >= CLIENTS_MAX) throw new RegistryError('too many clients');
      client = { watches: new Map(), leases: new Map(), opening: 0 };
      this.clients.set(peer, client);
    }
    return client;
  }
}

function checkRoom({ watches, leases, opening }: Client): void {
  if (watches.size + leases.size + opening >= HELD_MAX) {
    throw new RegistryError(`found ${HELD_MAX} watches and leases of one client, expected fewer`);
  }
}

async function opening<T>(client: Client, step: Promise<T>): Promise<T> {
  client.opening++;
  try {
    return await step;
  } finally {
    client.opening--;
  }
}

const isId = (found: unknown) => Number.isSafeInteger(found) && (found as number) > 0;
const isKey = (found: unknown) => typeof found === 'string' && found.length <= KEY_CHARS_MAX;
const isValue = (found: unknown) => typeof found === 'string' && found.length <= VALUE_CHARS_MAX;
const isExpected = (found: unknown) => Number.isSafeInteger(found) && (found as number) >= ANY;
const isTtl = (found: unknown) => typeof found === 'number' && found >= 1 && found <= TTL_MS_MAX;
const isLease = (found: unknown) => found === 0 || isId(found);

const isFence = (found: unknown) => {
  if (found === null) return true;
  const { key, revision } = (typeof found === 'object' ? found : {}) as Partial<Fence>;
  return isKey(key) && isId(revision);
};

/** What follows the id, by the kind of question. */
const QUESTIONS: Readonly<Record<Ask[0], readonly ((found: unknown) => boolean)[]>> = {
  get: [isKey],
  list: [isKey],
  put: [isKey, isValue, isExpected, isLease, isFence],
  remove: [isKey, isExpected],
  watch: [isKey],
  unwatch: [],
  lease: [isTtl],
  alive: [],
  end: [],
};

/** @throws InputError */
function askOf(found: unknown): Ask {
  const [kind, id, ...rest] = Array.isArray(found) ? (found as unknown[]) : [];
  const known = typeof kind === 'string' && Object.hasOwn(QUESTIONS, kind);
  const checks = known ? QUESTIONS[kind as Ask[0]] : null;
  const good =
    checks !== null &&
    isId(id) &&
    rest.length === checks.length &&
    checks.every((check, i) => check(rest[i]));
  if (!good) throw new InputError('found no question to the registry');
  return found as Ask;
}

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** The registry of another process. */
export class RemoteRegistry implements Registry {
  readonly kind = 'memory';
  private readonly say: (letter: readonly ['registry', Ask]) => void;
  private readonly waiting = new Map<number, Waiting>();
  private readonly watches = new Map<number, { prefix: string; onChange: (s: Snapshot) => void }>();
  private readonly leases = new Map<number, RemoteLease>();
  private lastId = 0;
  private closed = false;

  constructor(server: string, say: Say) {
    this.say = (letter) => say(server, letter);
  }

  async get(key: string): Promise<Entry | null> {
    return this.call((id) => ['get', id, key]);
  }

  async list(prefix: string): Promise<Snapshot> {
    return snapshotOf(await this.call<Entry[]>((id) => ['list', id, prefix]));
  }

  put(key: string, value: string, expected: Expected, fence?: Fence): Promise<number | null> {
    return this.write(key, value, expected, 0, fence);
  }

  remove(key: string, expected: Expected): Promise<boolean> {
    return this.call((id) => ['remove', id, key, expected]);
  }

  async watch(prefix: string, onChange: (entries: Snapshot) => void): Promise<Watch> {
    const id = this.lastId + 1;
    this.watches.set(id, { prefix, onChange });
    await this.call((at) => ['watch', at, prefix]);
    return {
      close: async () => {
        if (this.watches.delete(id) && !this.closed) this.say(['registry', ['unwatch', id]]);
      },
    };
  }

  async lease(ttlMs: number): Promise<Lease> {
    const id = this.lastId + 1;
    const lease = new RemoteLease(this, id, ttlMs);
    this.leases.set(id, lease);
    await this.call((at) => ['lease', at, ttlMs]);
    lease.start(() => this.say(['registry', ['alive', id]]));
    return lease;
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const lease of this.leases.values()) lease.stop();
    this.fail('the registry is closed');
    this.watches.clear();
  }

  write(
    key: string,
    value: string,
    expected: Expected,
    lease: number,
    fence: Fence | null = null,
  ): Promise<number | null> {
    return this.call((id) => ['put', id, key, value, expected, lease, fence]);
  }

  async endLease(id: number): Promise<void> {
    this.leases.delete(id);
    if (!this.closed) await this.call(() => ['end', id], id);
  }

  /** The server's word. */
  receive(found: unknown): void {
    const [kind, id, value] = found as Answer;
    const lease = this.waiting.has(id) ? undefined : this.leases.get(id);
    if (kind === 'answer' && lease !== undefined) lease.heard();
    else if (kind === 'refused' && lease !== undefined) lease.lose();
    else if (kind === 'answer') this.waiting.get(id)?.resolve(value as never);
    else if (kind === 'refused') this.waiting.get(id)?.reject(new RegistryError(value));
    else if (kind === 'lost') this.leases.get(id)?.lose();
    else this.watches.get(id)?.onChange(snapshotOf(value));
    if (kind === 'answer' || kind === 'refused') this.waiting.delete(id);
  }

  /** The channel broke: what was asked fails, watches begin anew. */
  reset(): void {
    this.fail('the registry cannot be reached');
    if (this.closed) return;
    for (const [id, { prefix }] of this.watches) this.say(['registry', ['watch', id, prefix]]);
  }

  private call<T>(make: (id: number) => Ask, known?: number): Promise<T> {
    if (this.closed) return Promise.reject(new RegistryError('the registry is closed'));
    const id = known ?? ++this.lastId;
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.say(['registry', make(id)]);
    });
  }

  private fail(why: string): void {
    for (const { reject } of this.waiting.values()) reject(new RegistryError(why));
    this.waiting.clear();
  }
}

class RemoteLease implements Lease {
  readonly lost: Promise<void>;
  private readonly registry: RemoteRegistry;
  private readonly id: number;
  private readonly ttlMs: number;
  private timer: NodeJS.Timeout | null = null;
  /** Silence of the server for a ttl is a loss: it may have ended the lease. */
  private silence: NodeJS.Timeout | null = null;
  private loseIt: () => void = () => {};

  constructor(registry: RemoteRegistry, id: number, ttlMs: number) {
    this.registry = registry;
    this.id = id;
    this.ttlMs = ttlMs;
    this.lost = new Promise((resolve) => {
      this.loseIt = resolve;
    });
  }

  start(alive: () => void): void {
    this.timer = setInterval(alive, this.ttlMs / 3);
    this.silence = setTimeout(() => this.lose(), this.ttlMs);
  }

  heard(): void {
    this.silence?.refresh();
  }

  put(key: string, value: string, expected: Expected): Promise<number | null> {
    return this.registry.write(key, value, expected, this.id);
  }

  async end(): Promise<void> {
    this.stop();
    await this.registry.endLease(this.id);
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    if (this.silence !== null) clearTimeout(this.silence);
  }

  lose(): void {
    this.stop();
    this.loseIt();
  }
}

function snapshotOf(entries: readonly Entry[]): Snapshot {
  return new Map(entries.map((entry) => [entry.key, entry]));
}
