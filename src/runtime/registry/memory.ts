/** A registry within one process: the default on one machine, and the model of the others. */
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

interface Watcher {
  readonly prefix: string;
  readonly onChange: (entries: Snapshot) => void;
  /** A call is due. */
  due: boolean;
}

export class MemoryRegistry implements Registry {
  readonly kind = 'memory';
  private revision = 0;
  private closed = false;
  private readonly entries = new Map<string, Entry>();
  private readonly watchers = new Set<Watcher>();
  /** Owner of each entry that belongs to a lease. */
  private readonly owners = new Map<string, MemoryLease>();
  private readonly leases = new Set<MemoryLease>();

  async get(key: string): Promise<Entry | null> {
    this.checkOpen();
    return this.entries.get(key) ?? null;
  }

  async list(prefix: string): Promise<Snapshot> {
    this.checkOpen();
    return this.below(prefix);
  }

  async put(key: string, value: string, expected: Expected, fence?: Fence): Promise<number | null> {
    if (fence !== undefined && this.entries.get(fence.key)?.revision !== fence.revision)
      return null;
    return this.write(key, value, expected, null);
  }

  async remove(key: string, expected: Expected): Promise<boolean> {
    this.checkOpen();
    if (!this.meets(key, expected)) return false;
    this.drop(key);
    return true;
  }

  async watch(prefix: string, onChange: (entries: Snapshot) => void): Promise<Watch> {
    this.checkOpen();
    const watcher: Watcher = { prefix, onChange, due: false };
    this.watchers.add(watcher);
    this.call(watcher);
    return {
      close: async () => {
        this.watchers.delete(watcher);
      },
    };
  }

  async lease(ttlMs: number): Promise<MemoryLease> {
    this.checkOpen();
    const lease = new MemoryLease(this, ttlMs);
    this.leases.add(lease);
    return lease;
  }

  async close(): Promise<void> {
    this.closed = true;
    this.watchers.clear();
    for (const lease of [...this.leases]) lease.stop();
  }

  write(key: string, value: string, expected: Expected, owner: MemoryLease | null): number | null {
    this.checkOpen();
    if (!this.meets(key, expected)) return null;
    const revision = ++this.revision;
    this.entries.set(key, { key, value, revision });
    if (owner === null) this.owners.delete(key);
    else this.owners.set(key, owner);
    this.changed(key);
    return revision;
  }

  /** Removes what belongs to a lease, and the lease. */
  endLease(lease: MemoryLease): void {
    this.leases.delete(lease);
    for (const [key, owner] of this.owners) if (owner === lease) this.drop(key);
  }

  /** Entries now. */
  get size(): number {
    return this.entries.size;
  }

  private drop(key: string): void {
    this.owners.delete(key);
    if (!this.entries.delete(key)) return;
    this.revision++;
    this.changed(key);
  }

  private meets(key: string, expected: Expected): boolean {
    return expected === ANY || (this.entries.get(key)?.revision ?? ABSENT) === expected;
  }

  private below(prefix: string): Snapshot {
    const found = [...this.entries.values()].filter(({ key }) => key.startsWith(prefix));
    found.sort((a, b) => (a.key < b.key ? -1 : 1));
    return new Map(found.map((entry) => [entry.key, entry]));
  }

  private changed(key: string): void {
    for (const watcher of this.watchers) if (key.startsWith(watcher.prefix)) this.call(watcher);
  }

  private call(watcher: Watcher): void {
    if (watcher.due) return;
    watcher.due = true;
    setImmediate(() => {
      watcher.due = false;
      if (this.watchers.has(watcher)) watcher.onChange(this.below(watcher.prefix));
    });
  }

  private checkOpen(): void {
    if (this.closed) throw new RegistryError('the registry is closed');
  }
}

/**
 * Within one process its holder is always heard of, so it ends by `end` alone; a server that holds
 * it for somebody else calls `keepAlive` and sets `expires`.
 */
export class MemoryLease implements Lease {
  readonly lost: Promise<void>;
  private readonly registry: MemoryRegistry;
  private readonly ttlMs: number;
  private loseIt: () => void = () => {};
  private timer: NodeJS.Timeout | null = null;
  private over = false;

  constructor(registry: MemoryRegistry, ttlMs: number) {
    this.registry = registry;
    this.ttlMs = ttlMs;
    this.lost = new Promise((resolve) => {
      this.loseIt = resolve;
    });
  }

  async put(key: string, value: string, expected: Expected): Promise<number | null> {
    if (this.over) throw new RegistryError('the lease has ended');
    return this.registry.write(key, value, expected, this);
  }

  async end(): Promise<void> {
    this.stop();
    this.registry.endLease(this);
  }

  /** Its holder was heard of; without another call within its ttl the lease is lost. */
  keepAlive(): void {
    if (this.over) throw new RegistryError('the lease has ended');
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => this.lose(), this.ttlMs);
    this.timer.unref();
  }

  stop(): void {
    this.over = true;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private lose(): void {
    this.stop();
    this.registry.endLease(this);
    this.loseIt();
  }
}
