/**
 * The registry on an etcd cluster, by the etcd3 package. Its default fault policy opens a circuit
 * for seconds after a member died; here each call tries the members in turn until ten are over,
 * and every write is either conditional on a revision or the same when done twice.
 */
import {
  Etcd3,
  type Lease as EtcdLease,
  type IKeyValue,
  type IOptions,
  isRecoverableError,
} from 'etcd3';
import {
  ABSENT,
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

export interface EtcdOptions {
  /** `host:port` or URLs. */
  readonly endpoints: readonly string[];
  /** Before every key, so that clusters can share an etcd. */
  readonly prefix: string;
  /** PEM, or null for plain text. */
  readonly credentials: NonNullable<IOptions['credentials']> | null;
}

/** How long one call may take in all, one try of it, and a lease's least ttl (whole seconds). */
const CALL_MS = 10_000;
const TRY_MS = 2000;
const LEASE_MS_MIN = 1000;
/** Between two tries, growing; a member's election takes about a second. */
const RETRIES = 20;
const RETRY_MS = 50;
const RETRY_MS_MAX = 800;
/** A stream whose member is silent for this long is opened again elsewhere. */
const PING_MS = 6000;
/** An answer to a ping takes no longer. */
const PONG_MS = 2000;
/**
 * A watch that broke is opened again so soon. By default the package waits longer each time, up to
 * 30 s, and whoever does not know who is there or who leads does the wrong thing meanwhile.
 */
const REWATCH_MS = 100;

export class EtcdRegistry implements Registry {
  readonly kind = 'etcd';
  private readonly client: Etcd3;
  private readonly prefix: string;
  private readonly watches = new Set<EtcdWatch>();
  private closed = false;

  constructor(options: EtcdOptions) {
    const { endpoints, prefix, credentials } = options;
    if (endpoints.length === 0) throw new RegistryError('found no etcd endpoint');
    this.prefix = prefix;
    this.client = new Etcd3({
      hosts: [...endpoints],
      ...(credentials === null ? {} : { credentials }),
      dialTimeout: CALL_MS,
      // Tries are made here, so that a call knows whether it may be done twice.
      faultHandling: {
        host: () => noPolicy as never,
        global: noPolicy as never,
        watchBackoff: always(REWATCH_MS),
      },
      grpcOptions: {
        'grpc.keepalive_time_ms': PING_MS,
        'grpc.keepalive_timeout_ms': PONG_MS,
        // Never without a stream: to etcd these are too many, it drops the connection, and the
        // client doubles its interval.
      },
      defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + TRY_MS }),
    });
  }

  async get(key: string): Promise<Entry | null> {
    const { kvs } = await this.retry(() => this.client.get(this.prefix + key).exec());
    return kvs.length === 0 ? null : this.entry(kvs[0]);
  }

  async list(prefix: string): Promise<Snapshot> {
    return (await this.listAt(prefix)).entries;
  }

  put(key: string, value: string, expected: Expected, fence?: Fence): Promise<number | null> {
    return this.write(key, value, expected, null, fence);
  }

  async remove(key: string, expected: Expected): Promise<boolean> {
    const name = this.prefix + key;
    if (expected === ANY) {
      await this.retry(() => this.client.delete().key(name).exec());
      return true;
    }
    return this.retry(async (again) => {
      const { succeeded } = await this.client
        .if(name, 'Mod', '==', expected)
        .then(this.client.delete().key(name))
        .commit();
      // The first try may have done it, and its answer was lost.
      return succeeded || (again && (await this.get(key)) === null);
    });
  }

  async watch(prefix: string, onChange: (entries: Snapshot) => void): Promise<Watch> {
    this.checkOpen();
    const watch = new EtcdWatch(this, this.client, this.prefix + prefix, prefix, onChange);
    this.watches.add(watch);
    await watch.open();
    return {
      close: async () => {
        this.watches.delete(watch);
        await watch.close();
      },
    };
  }

  async lease(ttlMs: number): Promise<Lease> {
    const seconds = Math.ceil(Math.max(ttlMs, LEASE_MS_MIN) / 1000);
    return this.retry(async () => {
      const lease = this.client.lease(seconds);
      const held = new HeldLease(this, lease, seconds * 1000);
      await lease.grant();
      return held;
    });
  }

  async close(): Promise<void> {
    if (this.closed) return;
    for (const watch of this.watches) await watch.close();
    this.watches.clear();
    this.closed = true;
    this.client.close();
  }

  /** All entries below a prefix, and the revision that they are of. */
  async listAt(prefix: string): Promise<{ entries: Snapshot; revision: number }> {
    const all = () => this.client.getAll().prefix(this.prefix + prefix);
    const { kvs, header } = await this.retry(() => all().sort('Key', 'Ascend').exec());
    const entries = new Map(kvs.map((kv) => [this.name(kv), this.entry(kv)]));
    return { entries, revision: Number(header.revision) };
  }

  /** A write, under a lease if there is one. */
  write(
    key: string,
    value: string,
    expected: Expected,
    lease: EtcdLease | null,
    fence?: Fence,
  ): Promise<number | null> {
    const name = this.prefix + key;
    const put = () => (lease === null ? this.client.put(name) : lease.put(name)).value(value);
    return this.retry(async (again) => {
      const guards: [key: string, column: 'Create' | 'Mod', revision: number][] = [];
      if (expected !== ANY) guards.push([name, expected === ABSENT ? 'Create' : 'Mod', expected]);
      if (fence !== undefined) guards.push([this.prefix + fence.key, 'Mod', fence.revision]);
      if (guards.length === 0) return Number((await put().exec()).header.revision);
      const [[first, column, revision], ...more] = guards;
      let guarded = this.client.if(first, column, '==', revision);
      for (const [other, of, at] of more) guarded = guarded.and(other, of, '==', at);
      const { succeeded, header } = await guarded.then(await put().op()).commit();
      if (succeeded) return Number(header.revision);
      // The first try may have done it, and its answer was lost.
      const found = again ? await this.get(key) : null;
      const mine = found !== null && found.value === value && found.revision > expected;
      return mine ? found.revision : null;
    });
  }

  entry(kv: IKeyValue): Entry {
    return {
      key: this.name(kv),
      value: kv.value.toString(),
      revision: Number(kv.mod_revision),
    };
  }

  private name(kv: IKeyValue): string {
    return kv.key.toString().slice(this.prefix.length);
  }

  private checkOpen(): void {
    if (this.closed) throw new RegistryError('the registry is closed');
  }

  /** `call` learns whether it may have been done before. */
  private async retry<T>(call: (again: boolean) => Promise<T>): Promise<T> {
    const untilMs = Date.now() + CALL_MS;
    for (let tries = 0; ; tries++) {
      this.checkOpen();
      try {
        return await call(tries > 0);
      } catch (error) {
        const late = tries >= RETRIES || Date.now() >= untilMs;
        if (late || !isRecoverableError(error as Error)) throw asRegistryError(error);
      }
      await sleep(Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** tries));
    }
  }
}

/** A policy of the etcd3 package that does nothing. Callers expect a promise, also of a throw. */
const noPolicy = {
  execute: async <T>(call: (context: { signal: AbortSignal; attempt: number }) => T) =>
    call({ signal: new AbortController().signal, attempt: 0 }),
};

type Backoff = NonNullable<NonNullable<IOptions['faultHandling']>['watchBackoff']>;

/** The same wait before every try. */
function always(duration: number): Backoff {
  const backoff: Backoff = { duration, next: () => backoff };
  return backoff;
}

class HeldLease implements Lease {
  readonly lost: Promise<void>;
  private readonly registry: EtcdRegistry;
  private readonly lease: EtcdLease;
  private timer!: NodeJS.Timeout;

  constructor(registry: EtcdRegistry, lease: EtcdLease, ttlMs: number) {
    this.registry = registry;
    this.lease = lease;
    this.lost = new Promise((resolve) => {
      // The package waits for twice the ttl before it calls a silent lease lost; etcd does not.
      const giveUp = () => {
        lease.release();
        resolve();
      };
      this.timer = setTimeout(giveUp, ttlMs).unref();
      lease.on('keepaliveSucceeded', () => this.timer.refresh());
      lease.on('lost', () => resolve());
    });
  }

  put(key: string, value: string, expected: Expected): Promise<number | null> {
    return this.registry.write(key, value, expected, this.lease);
  }

  async end(): Promise<void> {
    clearTimeout(this.timer);
    try {
      await this.lease.revoke();
    } catch {
      // It runs out by itself.
      this.lease.release();
    }
  }
}

/** Lists, then watches from there; lists anew when etcd has forgotten the revisions between. */
class EtcdWatch {
  private readonly registry: EtcdRegistry;
  private readonly client: Etcd3;
  private readonly path: string;
  private readonly prefix: string;
  private readonly onChange: (entries: Snapshot) => void;
  private entries = new Map<string, Entry>();
  private watcher: Awaited<ReturnType<ReturnType<Etcd3['watch']>['create']>> | null = null;
  private closed = false;

  constructor(
    registry: EtcdRegistry,
    client: Etcd3,
    path: string,
    prefix: string,
    onChange: (entries: Snapshot) => void,
  ) {
    this.registry = registry;
    this.client = client;
    this.path = path;
    this.prefix = prefix;
    this.onChange = onChange;
  }

  async open(): Promise<void> {
    const { entries, revision } = await this.registry.listAt(this.prefix);
    if (this.closed) return;
    this.entries = new Map(entries);
    this.onChange(this.copy());
    const watcher = this.client
      .watch()
      .prefix(this.path)
      .startRevision(String(revision + 1))
      .watcher();
    watcher.on('data', ({ events }) => {
      for (const { type, kv } of events) {
        const entry = this.registry.entry(kv);
        if (type === 'Put') this.entries.set(entry.key, entry);
        else this.entries.delete(entry.key);
      }
      if (events.length > 0 && !this.closed) this.onChange(this.copy());
    });
    watcher.on('disconnected', () => {});
    watcher.on('error', () => void this.reopen());
    this.watcher = watcher;
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.race([this.watcher?.cancel(), sleep(RETRY_MS_MAX)]);
  }

  private async reopen(): Promise<void> {
    while (!this.closed) {
      try {
        return await this.open();
      } catch {
        await sleep(RETRY_MS_MAX);
      }
    }
  }

  private copy(): Snapshot {
    return new Map([...this.entries].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

function asRegistryError(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error;
  return new RegistryError(`etcd: ${(error as Error).message}`, { cause: error });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
