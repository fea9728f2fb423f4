/**
 * The homes of blocks as the registry has them: one entry, written by the conductor that leads and
 * only while it does, read by all members. It is how the conductor's map gets to the stores, and
 * how a successor finds it.
 */
import type { Buckets } from '../../core/messages.ts';
import { ABSENT, type Registry, type Snapshot } from '../registry/registry.ts';
import { BUCKETS_KEY, LEADER_KEY } from './spec.ts';

/** Between two tries of a write that failed. */
const RETRY_MS = 200;
const BUCKETS_MAX = 1 << 20;

export interface BucketEntryWorld {
  readonly registry: Registry;
  /** The registry has a later map than before. */
  readonly onMap: (map: Buckets) => void;
  /** Whether the conductor of this term leads here. */
  readonly leads: (term: number) => boolean;
}

export class BucketEntry {
  /** The last that was read; null: none yet. */
  now: Buckets | null = null;
  private readonly world: BucketEntryWorld;
  /** What is to be written; null: nothing. */
  private wanted: Buckets | null = null;
  private writing = false;

  constructor(world: BucketEntryWorld) {
    this.world = world;
  }

  async follow(): Promise<void> {
    await this.world.registry.watch(BUCKETS_KEY, (entries) => this.take(bucketsOf(entries)));
  }

  /** The map of who led before, for who leads now. */
  async read(): Promise<Buckets | null> {
    this.take(bucketsOf(await this.world.registry.list(BUCKETS_KEY)));
    return this.now;
  }

  /** The conductor here made a map: it is written as soon as the registry takes it. */
  publish(map: Buckets): void {
    if (this.wanted !== null && !isLater(map, this.wanted)) return;
    this.wanted = map;
    if (!this.writing) void this.write();
  }

  private take(found: Buckets | null): void {
    if (found === null || (this.now !== null && !isLater(found, this.now))) return;
    this.now = found;
    this.world.onMap(found);
  }

  /** Until the entry is what is wanted, or somebody else leads. */
  private async write(): Promise<void> {
    const { leads } = this.world;
    this.writing = true;
    for (let map = this.wanted; map !== null && leads(map.term); map = this.wanted) {
      if (await this.writeOnce(map).catch(() => false)) {
        if (this.wanted === map) break;
      } else await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    this.writing = false;
  }

  /** Whether it stands there, or a later one does. */
  private async writeOnce(map: Buckets): Promise<boolean> {
    const { registry } = this.world;
    const entry = await registry.get(BUCKETS_KEY);
    const found = entry === null ? null : bucketsIn(entry.value);
    if (found !== null && !isLater(map, found)) return true;
    // The revision of the leader's election is its term.
    const fence = { key: LEADER_KEY, revision: map.term };
    const { term, version, owners } = map;
    const value = JSON.stringify({ term, version, owners });
    return (await registry.put(BUCKETS_KEY, value, entry?.revision ?? ABSENT, fence)) !== null;
  }
}

function isLater(one: Buckets, other: Buckets): boolean {
  return one.term > other.term || (one.term === other.term && one.version > other.version);
}

function bucketsOf(entries: Snapshot): Buckets | null {
  const entry = entries.get(BUCKETS_KEY);
  return entry === undefined ? null : bucketsIn(entry.value);
}

/** Null for what is no map. */
export function bucketsIn(value: string): Buckets | null {
  try {
    const { term, version, owners } = JSON.parse(value) as Buckets;
    const whole = (found: unknown) => Number.isSafeInteger(found) && (found as number) >= 0;
    const listed = Array.isArray(owners) && owners.length > 0 && owners.length <= BUCKETS_MAX;
    if (!whole(term) || !whole(version) || !listed || !owners.every(whole)) return null;
    return { kind: 'buckets', term, version, owners };
  } catch {
    return null;
  }
}
