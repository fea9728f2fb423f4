/**
 * Objects that a client of the cluster's stores was told are kept, and who keeps them: as long as
 * one of these lives, the object is there and has the bytes that it was given, whatever else dies.
 */
import { StoreClient, type StoreClientOptions, StoreError } from '../../src/runtime/store/index.ts';
import { contentOf } from './stores.ts';

const REPLICAS = 2;
const BYTES_MAX = 200_000;
const PAUSE_MS = 200;
/** Of those of a run, so many stay for the runs after it. */
const KEPT = 3;
/** A store that was away is asked again until then. */
const BACK_MS = 30_000;

export interface ObjectCounts {
  /** Puts that were acknowledged; of these, nobody could tell where they are; that failed. */
  acknowledged: number;
  unplaced: number;
  refused: number;
  /** Values that came, and reads that failed for a time. */
  read: number;
  unreachable: number;
}

interface Kept {
  readonly bytes: Uint8Array;
  /** Stores, in the life that has it. */
  readonly holders: Set<string>;
}

export class Acknowledged {
  private readonly client: StoreClient;
  private readonly objects = new Map<string, Kept>();
  /** How often each store was killed. */
  private readonly deaths = new Map<string, number>();
  private counts: ObjectCounts = none();

  static async start(
    where: Pick<StoreClientOptions, 'registry' | 'token' | 'listen'>,
    stores: number,
  ): Promise<Acknowledged> {
    const sizes = { replicas: REPLICAS, poolBytes: 8 << 20, timeoutMs: 3000 };
    // Shared memory is not to be had across namespaces.
    const rails = [{ kind: 'tcp', bytesPerNs: null, options: {} }] as const;
    const client = await StoreClient.connect({ ...where, ...sizes, rails });
    await client.atLeast(stores, 60_000);
    return new Acknowledged(client);
  }

  private constructor(client: StoreClient) {
    this.client = client;
  }

  /** Before the signal: what it holds is not counted on any more. */
  killed(store: string): void {
    this.deaths.set(store, (this.deaths.get(store) ?? 0) + 1);
    for (const { holders } of this.objects.values()) holders.delete(store);
  }

  /** Puts objects and reads some of them until it is told to end. @throws Error for wrong bytes */
  async play(run: string, random: () => number, ended: () => boolean): Promise<void> {
    this.counts = none();
    for (let i = 0; !ended(); i++) {
      await this.put(`${run}/${i}`, 1 + Math.floor(BYTES_MAX * random()));
      const names = [...this.objects.keys()];
      if (names.length > 0) await this.get(names[Math.floor(names.length * random())]);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  /** Everything that somebody living holds. @throws Error with its name when one is lost */
  async check(run: string): Promise<ObjectCounts> {
    const untilMs = performance.now() + BACK_MS;
    for (const name of [...this.objects.keys()]) {
      while (!(await this.get(name))) {
        if (performance.now() > untilMs) throw new Error(`hangs: the object ${name}`);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
    const { counts } = this;
    const own = [...this.objects.keys()].filter((name) => name.startsWith(`${run}/`));
    for (const name of own.slice(KEPT)) this.objects.delete(name);
    await this.client.removeBatch(own.slice(KEPT));
    return counts;
  }

  close(): Promise<void> {
    return this.client.close();
  }

  private async put(name: string, sizeBytes: number): Promise<void> {
    const bytes = contentOf(name, sizeBytes);
    const before = new Map(this.deaths);
    try {
      await this.client.put(name, bytes, { pin: 'hard' });
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.counts.refused++;
      return;
    }
    this.counts.acknowledged++;
    const stores = await this.placesOf(name);
    // Who was killed meanwhile may have had it, or may have it not yet.
    const holders = stores.filter((store) => this.deaths.get(store) === before.get(store));
    this.objects.set(name, { bytes, holders: new Set(holders) });
  }

  private async placesOf(name: string): Promise<string[]> {
    try {
      return (await this.client.places(name)).map(({ store }) => store);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.counts.unplaced++;
      return [];
    }
  }

  /** Whether the registry shows a store that has it: one may be away for a moment. */
  private isShown({ holders }: Kept): boolean {
    return this.client.stores.some((store) => holders.has(store));
  }

  /** False: not now. */
  private async get(name: string): Promise<boolean> {
    const kept = this.objects.get(name)!;
    const { bytes, holders } = kept;
    const wasShown = this.isShown(kept);
    let found: Uint8Array | null;
    try {
      found = await this.client.get(name);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.failure === 'checksum') throw error;
      this.counts.unreachable++;
      return holders.size === 0;
    }
    if (found === null) {
      if (wasShown && this.isShown(kept)) {
        throw new Error(`lost: ${name}, which ${[...holders]} had`);
      }
      if (holders.size > 0) return false;
      this.objects.delete(name);
      return true;
    }
    if (Buffer.compare(found, bytes) !== 0) throw new Error(`wrong bytes of ${name}`);
    this.counts.read++;
    return true;
  }
}

function none(): ObjectCounts {
  return { acknowledged: 0, unplaced: 0, refused: 0, read: 0, unreachable: 0 };
}
