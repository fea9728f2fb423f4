/**
 * The registry: what a cluster must agree on and nothing more. Membership, segment descriptors,
 * topology, the bucket map, configuration and who leads; never anything per block or per request.
 *
 * Keys are text with slashes, values are text (JSON, mostly). Each write gives the registry a new
 * revision; an entry carries that of its last write, and a write can be made conditional on it.
 */

export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Revision of the last write; grows with every write to the registry. */
  readonly revision: number;
}

/** What a write expects to find: a revision, ABSENT, or ANY. */
export type Expected = number;
export const ABSENT: Expected = 0;
export const ANY: Expected = -1;

/** An entry that must be there, of this revision, for a write to happen. */
export interface Fence {
  readonly key: string;
  readonly revision: number;
}

/** All entries below a prefix, by key. */
export type Snapshot = ReadonlyMap<string, Entry>;

export interface Watch {
  close(): Promise<void>;
}

/** Entries that vanish with whoever wrote them. */
export interface Lease {
  /** As `Registry.put`, until the lease ends. */
  put(key: string, value: string, expected: Expected): Promise<number | null>;
  /** Settles when the lease ran out although nobody ended it: whoever holds it must stop. */
  readonly lost: Promise<void>;
  /** Removes its entries now. */
  end(): Promise<void>;
}

export interface Registry {
  /** `memory`, `etcd`: for status and messages. */
  readonly kind: string;
  get(key: string): Promise<Entry | null>;
  list(prefix: string): Promise<Snapshot>;
  /**
   * The new revision; null when something else was found than expected, there or under `fence`: a
   * leader's writes are its own as long as the entry of its election stands.
   */
  put(key: string, value: string, expected: Expected, fence?: Fence): Promise<number | null>;
  /** False when something else was found than expected. Removing what is not there is fine. */
  remove(key: string, expected: Expected): Promise<boolean>;
  /**
   * Calls back with all entries below the prefix: now, and after changes. Every state that lasts is
   * seen; of states that follow each other quickly only the last may be.
   */
  watch(prefix: string, onChange: (entries: Snapshot) => void): Promise<Watch>;
  /** Ends `ttlMs` after its holder was last heard of. */
  lease(ttlMs: number): Promise<Lease>;
  close(): Promise<void>;
}

/** The registry can't be reached, or refuses; the text says which and why. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError';
}
