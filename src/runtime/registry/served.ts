/**
 * A registry in memory that other processes use over their links: for a cluster on one machine,
 * where nothing needs to be installed. It lives and dies with the process that serves it.
 */
import { InputError } from '../../core/errors.ts';
import { type MemoryLease, MemoryRegistry } from './memory.ts';
import {
  type Entry,
  type Expected,
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
  | readonly ['put', id: number, key: string, value: string, expected: Expected, lease: number]
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

interface Client {
  readonly watches: Map<number, Watch>;
  readonly leases: Map<number, MemoryLease>;
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
        const [, , key, value, expected, leaseId] = ask;
        if (leaseId === 0) return answer(await registry.put(key, value, expected));
        const lease = client.leases.get(leaseId);
        if (lease === undefined) throw new RegistryError('the lease has ended');
        return answer(await lease.put(key, value, expected));
      }
      case 'remove':
        return answer(await registry.remove(ask[2], ask[3]));
      case 'watch': {
        const watch = await registry.watch(ask[2], (entries) => {
          this.say(peer, ['registry', ['changed', ask[1], [...entries.values()]]]);
        });
        client.watches.set(ask[1], watch);
        return answer(null);
      }
      case 'unwatch':
        await client.watches.get(ask[1])?.close();
        client.watches.delete(ask[1]);
        return;
      case 'lease': {
        const lease = await registry.lease(ask[2]);
        lease.keepAlive();
        client.leases.set(ask[1], lease);
        void lease.lost.then(() => this.say(peer, ['registry', ['lost', ask[1]]]));
        return answer(null);
      }
      case 'alive':
        return client.leases.get(ask[1])?.keepAlive();
      default:
        await client.leases.get(ask[1])?.end();
        client.leases.delete(ask[1]);
        return answer(null);
    }
  }

  private client(peer: string): Client {
    let client = this.clients.get(peer);
    if (client === undefined) {
      client = { watches: new Map(), leases: new Map() };
      this.clients.set(peer, client);
    }
    return client;
  }
}

/** @throws InputError */
function askOf(found: unknown): Ask {
  const ask = found as Ask;
  const whole = Array.isArray(found) && Number.isInteger(ask[1]) && ask[1] > 0;
  if (!whole) throw new InputError('found no question to the registry');
  const text = ['get', 'list', 'put', 'remove', 'watch'].includes(ask[0]);
  const key = ask[2] as unknown;
  const good = text
    ? typeof key === 'string' && (ask[0] !== 'put' || typeof ask[3] === 'string')
    : ask[0] === 'lease'
      ? typeof key === 'number' && key > 0 && key <= TTL_MS_MAX
      : ['unwatch', 'alive', 'end'].includes(ask[0]);
  if (!good) throw new InputError('found no question to the registry');
  return ask;
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

  put(key: string, value: string, expected: Expected): Promise<number | null> {
    return this.write(key, value, expected, 0);
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

  write(key: string, value: string, expected: Expected, lease: number): Promise<number | null> {
    return this.call((id) => ['put', id, key, value, expected, lease]);
  }

  async endLease(id: number): Promise<void> {
    this.leases.delete(id);
    if (!this.closed) await this.call(() => ['end', id], id);
  }

  /** The server's word. */
  receive(found: unknown): void {
    const [kind, id, value] = found as Answer;
    if (kind === 'answer') this.waiting.get(id)?.resolve(value as never);
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
  }

  lose(): void {
    this.stop();
    this.loseIt();
  }
}

function snapshotOf(entries: readonly Entry[]): Snapshot {
  return new Map(entries.map((entry) => [entry.key, entry]));
}
