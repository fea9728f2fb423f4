/**
 * One peer of a live swarm: offers the files of an object, or pulls them shard by shard and serves
 * what it has. Who holds an object stands in the registry; which shards they have they tell each
 * other. Bytes are read one-sided out of the memory of a holder and checked before anyone else gets
 * them.
 */
import { randomBytes } from 'node:crypto';
import type { RailPolicy } from '../../core/policy.ts';
import {
  type Ask,
  type ShardPolicy,
  SWARM_DEFAULTS,
  SwarmPeer,
  Uploads,
} from '../../core/swarm.ts';
import type { Links } from '../control/links.ts';
import { DataPlane, PLANE_DEFAULTS, type RailSpec, type Segment } from '../data-plane.ts';
import { type NativeAddon, Status } from '../native.ts';
import type { Pool } from '../native-pool.ts';
import { ANY, type Lease, type Registry } from '../registry/registry.ts';
import type { FileSet } from './file-set.ts';
import { type P2pLetter, p2pLetter } from './letters.ts';
import {
  crcsOf,
  type HolderRecord,
  holdersOf,
  type Manifest,
  OBJECTS,
  shardCount,
  shardLength,
} from './manifest.ts';
import { type ShardSlot, ShardSlots } from './shard-slots.ts';

export interface P2pNodeOptions {
  /** Unique among the processes of the registry. */
  readonly name: string;
  readonly addon: NativeAddon;
  readonly links: Links;
  readonly registry: Registry;
  readonly host: string;
  readonly manifest: Manifest;
  readonly files: FileSet;
  /** 1 for each shard that the files have already. */
  readonly held: Uint8Array;
  readonly origin: boolean;
  readonly policy: ShardPolicy;
  readonly rails: readonly RailSpec[];
  readonly railPolicy: RailPolicy;
  readonly onError: (error: unknown) => void;
}

export interface P2pCounts {
  /** Bytes that arrived and were what they should be; those that others read from here. */
  pulledBytes: number;
  servedBytes: number;
  /** Shards whose bytes were wrong where they arrived; they were asked for again. */
  wrongShards: number;
  failedReads: number;
}

const TTL_MS = 5000;
/** Until a holder answers, and until a shard is read; a holder keeps it for a little longer. */
const ANSWER_MS = 20_000;
const READ_MS = 30_000;
const KEEP_MS = 40_000;
/** After a broken channel, and after a lost lease. */
const AGAIN_MS = 500;
export const UPLOADS_MAX = 4;

interface Pull {
  readonly id: number;
  readonly peer: string;
  readonly shard: number;
  behind: number;
  timer: NodeJS.Timeout | null;
}

export class P2pNode {
  readonly counts: P2pCounts = { pulledBytes: 0, servedBytes: 0, wrongShards: 0, failedReads: 0 };
  readonly swarm: SwarmPeer;
  /** Resolves when it has every shard. */
  readonly complete: Promise<void>;
  /** Resolves when the object was removed from the registry. */
  readonly removed: Promise<void>;
  private readonly options: P2pNodeOptions;
  private readonly plane: DataPlane;
  private readonly pool: Pool;
  private readonly slots: ShardSlots;
  private readonly uploads: Uploads;
  private readonly crcs: Uint32Array;
  private readonly shards: number;
  private holders: ReadonlyMap<string, HolderRecord> = new Map();
  private readonly segments = new Map<string, Segment>();
  private readonly greeted = new Set<string>();
  private readonly hellos = new Map<string, Uint8Array>();
  private readonly pulls = new Map<number, Pull>();
  private readonly serving = new Map<string, { slot: ShardSlot; timer: NodeJS.Timeout }>();
  private lease: Lease | null = null;
  private closed = false;
  private resolveComplete: () => void = () => {};
  private resolveRemoved: () => void = () => {};

  constructor(options: P2pNodeOptions) {
    const { manifest, addon, rails, railPolicy, held, policy } = options;
    this.options = options;
    this.crcs = crcsOf(manifest);
    this.shards = shardCount(manifest);
    this.complete = new Promise((resolve) => {
      this.resolveComplete = resolve;
    });
    this.removed = new Promise((resolve) => {
      this.resolveRemoved = resolve;
    });
    this.plane = new DataPlane(addon, railPolicy, PLANE_DEFAULTS);
    for (const rail of rails) this.plane.addRail(rail);
    this.pool = this.plane.createPool({
      slotBytes: manifest.shardBytes,
      slots: SWARM_DEFAULTS.readsMax + 2 * UPLOADS_MAX,
      hugetlb: false,
      prefault: false,
    });
    this.slots = new ShardSlots(this.pool);
    this.uploads = new Uploads(this.shards, UPLOADS_MAX, (ask) => void this.serve(ask));
    const port = {
      read: (id: number, peer: string, shard: number) => this.ask(id, peer, shard),
      tell: (shard: number) => this.tell(shard),
      wakeAt: (atNs: number) => {
        const delayMs = Math.max(0, Math.ceil((atNs - nowNs()) / 1e6));
        setTimeout(() => this.swarm.wake(nowNs()), delayMs).unref();
      },
    };
    const random = () => randomBytes(4).readUInt32LE() / 2 ** 32;
    this.swarm = new SwarmPeer(held, policy, port, random);
    if (this.swarm.complete) this.resolveComplete();
    this.plane.onRail = () => void this.announce();
  }

  /** Becomes a holder and looks for the others. */
  async join(): Promise<void> {
    const { registry, manifest } = this.options;
    await this.announce();
    await registry.watch(holdersOf(manifest.name), (entries) => {
      const records = [...entries.values()].map(({ value }) => JSON.parse(value) as HolderRecord);
      this.onHolders(new Map(records.map((record) => [record.name, record])));
    });
    await registry.watch(OBJECTS + manifest.name, (entries) => {
      if (!entries.has(OBJECTS + manifest.name)) this.resolveRemoved();
    });
  }

  /** Where a peer listens; null: it holds nothing of this. */
  endpointOf(peer: string): string | null {
    return this.holders.get(peer)?.endpoint ?? null;
  }

  get manifest(): Manifest {
    return this.options.manifest;
  }

  /** @throws InputError for a letter that is none */
  receive(peer: string, found: unknown): void {
    if (this.closed) return;
    const letter = p2pLetter(found, this.shards);
    switch (letter[0]) {
      case 'hello':
        this.hellos.set(peer, letter[1]);
        this.meet(peer);
        return;
      case 'have':
        this.hellos.get(peer)?.fill(1, letter[1], letter[1] + 1);
        return this.swarm.peerHas(nowNs(), peer, letter[1]);
      case 'want':
        if (!this.swarm.holds(letter[2])) return this.say(peer, ['no', letter[1]]);
        return this.uploads.asked(peer, letter[1], letter[2]);
      case 'grant':
        return this.granted(peer, letter[1], letter[2], letter[3], letter[4]);
      case 'no':
        return this.pullEnded(peer, letter[1], false);
      default:
        return this.served(peer, letter[1]);
    }
  }

  /** The channel to a peer broke. */
  reset(peer: string): void {
    this.hellos.delete(peer);
    this.greeted.delete(peer);
    this.leave(peer);
    if (this.closed || !this.holders.has(peer)) return;
    setTimeout(() => this.meet(peer), AGAIN_MS).unref();
  }

  /** All shards are here: gives the files their name, and goes on serving them. */
  async finish(root: string): Promise<void> {
    await this.options.files.moveTo(root);
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.lease?.end().catch(() => {});
    for (const { timer } of this.pulls.values()) if (timer !== null) clearTimeout(timer);
    for (const { timer } of this.serving.values()) clearTimeout(timer);
    this.plane.close();
    await this.options.files.close();
  }

  // --- who is there -----------------------------------------------------------------------------

  private async announce(): Promise<void> {
    const { registry, manifest, name, origin, links, host } = this.options;
    try {
      if (this.lease === null) {
        const lease = await registry.lease(TTL_MS);
        this.lease = lease;
        void lease.lost.then(() => this.rejoin(lease));
      }
      const segment = Buffer.from(this.pool.describe()).toString('base64');
      const record: HolderRecord = { name, endpoint: `${host}:${links.port}`, origin, segment };
      await this.lease.put(holdersOf(manifest.name) + name, JSON.stringify(record), ANY);
    } catch (error) {
      if (this.closed) return;
      if (this.holders.size === 0) return this.options.onError(error);
      setTimeout(() => void this.announce(), AGAIN_MS).unref();
    }
  }

  /** The registry forgot it: what it has is still there, and so are the peers that it knows. */
  private rejoin(lost: Lease): void {
    if (this.closed || this.lease !== lost) return;
    this.lease = null;
    setTimeout(() => void this.announce(), AGAIN_MS).unref();
  }

  private onHolders(holders: ReadonlyMap<string, HolderRecord>): void {
    const before = this.holders;
    this.holders = holders;
    for (const [name, { segment }] of before) {
      if (holders.get(name)?.segment === segment) continue;
      const known = this.segments.get(name);
      this.segments.delete(name);
      if (known !== undefined) this.plane.dropSegment(known);
      if (!holders.has(name)) this.options.links.drop(name, 'it is no holder any more');
    }
    for (const [name, { segment }] of holders) {
      if (name === this.options.name || this.segments.has(name)) continue;
      const imported = this.plane.importSegment(Buffer.from(segment, 'base64'));
      if (imported !== null) this.segments.set(name, imported);
      this.meet(name);
    }
  }

  /** Says hello once; a peer that is known and has said hello is asked for shards. */
  private meet(peer: string): void {
    if (this.closed) return;
    if (!this.greeted.has(peer) && this.holders.has(peer)) {
      this.greeted.add(peer);
      this.say(peer, ['hello', this.swarm.has()]);
    }
    const record = this.holders.get(peer);
    const has = this.hellos.get(peer);
    if (record === undefined || has === undefined || !this.segments.has(peer)) return;
    this.leave(peer);
    this.swarm.peerJoined(nowNs(), peer, record.origin, has);
  }

  private leave(peer: string): void {
    for (const pull of [...this.pulls.values()]) if (pull.peer === peer) this.forgetPull(pull);
    this.swarm.peerLeft(nowNs(), peer);
    for (const key of [...this.serving.keys()]) {
      if (key.startsWith(`${peer} `)) this.endServing(key);
    }
    this.uploads.peerLeft(peer);
  }

  private say(peer: string, letter: P2pLetter): void {
    this.options.links.send(peer, ['p2p', letter]);
  }

  private tell(shard: number): void {
    for (const peer of this.greeted) this.say(peer, ['have', shard]);
  }

  // --- pulling ----------------------------------------------------------------------------------

  private ask(id: number, peer: string, shard: number): void {
    const pull: Pull = { id, peer, shard, behind: -1, timer: null };
    pull.timer = setTimeout(() => this.pullEnded(peer, id, false), ANSWER_MS);
    this.pulls.set(id, pull);
    this.say(peer, ['want', id, shard]);
  }

  private granted(peer: string, id: number, slot: number, generation: number, behind: number) {
    const pull = this.pulls.get(id);
    if (pull?.peer !== peer || pull.timer === null) return;
    clearTimeout(pull.timer);
    pull.timer = null;
    pull.behind = behind;
    void this.pull(pull, slot, generation).then(
      (arrived) => this.pullEnded(peer, id, arrived),
      (error) => this.options.onError(error),
    );
  }

  /** Reads it, checks it, writes it down, and keeps it for others. False: it did not arrive. */
  private async pull(pull: Pull, remoteSlot: number, generation: number): Promise<boolean> {
    const { manifest } = this.options;
    const { shard } = pull;
    const slot = await this.slots.take(shard);
    try {
      const length = shardLength(manifest, shard);
      const whole = await this.read(pull, slot, remoteSlot, generation, length);
      if (!whole || this.closed) return false;
      await this.options.files.write(shard * manifest.shardBytes, this.slots.bytes(slot, length));
      this.slots.ready(slot);
      this.counts.pulledBytes += length;
      return true;
    } finally {
      this.slots.release(slot);
    }
  }

  private read(
    { peer, shard }: Pull,
    { slot }: ShardSlot,
    remoteSlot: number,
    generation: number,
    bytes: number,
  ): Promise<boolean> {
    const segment = this.segments.get(peer);
    if (segment === undefined || this.closed) return Promise.resolve(false);
    const crc = this.crcs[shard];
    const rest = { write: false, offset: 0, remoteOffset: 0, sum: false, urgent: false };
    const move = { ...rest, pool: this.pool, slot, segment, remoteSlot, generation, bytes, crc };
    return new Promise((resolve) => {
      this.plane.move(
        { ...move, deadlineNs: READ_MS * 1e6 },
        ({ status, attempts, unverified }) => {
          let whole = status === Status.ok;
          if (whole && (attempts > 1 || unverified)) whole = this.sums(slot, bytes, crc);
          if (status === Status.checksumMismatch || (status === Status.ok && !whole)) {
            this.counts.wrongShards++;
          }
          resolve(whole);
        },
      );
    });
  }

  private sums(slot: number, bytes: number, crc: number): boolean {
    if (this.closed) return false;
    return this.options.addon.crc32c(this.pool.bytes(slot).subarray(0, bytes), 0) === crc;
  }

  private pullEnded(peer: string, id: number, arrived: boolean): void {
    const pull = this.pulls.get(id);
    if (pull?.peer !== peer || this.closed) return;
    this.forgetPull(pull);
    this.say(peer, ['done', id]);
    if (!arrived) this.counts.failedReads++;
    this.swarm.readEnded(nowNs(), id, arrived, pull.behind);
    if (this.swarm.complete) this.resolveComplete();
  }

  private forgetPull(pull: Pull): void {
    if (pull.timer !== null) clearTimeout(pull.timer);
    this.pulls.delete(pull.id);
  }

  // --- serving ----------------------------------------------------------------------------------

  private async serve({ peer, id, shard, behind }: Ask): Promise<void> {
    const { manifest, addon } = this.options;
    const length = shardLength(manifest, shard);
    const key = `${peer} ${id}`;
    try {
      const slot = await this.slots.use(shard, async (empty) => {
        const bytes = this.slots.bytes(empty, length);
        await this.options.files.read(shard * manifest.shardBytes, bytes);
        if (addon.crc32c(bytes, 0) !== this.crcs[shard]) throw new Error('the file has changed');
      });
      if (this.closed || !this.uploads.serves(peer, id)) return this.slots.release(slot);
      const timer = setTimeout(() => this.served(peer, id), KEEP_MS);
      this.serving.set(key, { slot, timer });
      this.counts.servedBytes += length;
      this.say(peer, ['grant', id, slot.slot, slot.generation, behind]);
    } catch {
      // What can't be read, or is not what it was, is not served; the reader asks another.
      if (this.closed) return;
      this.say(peer, ['no', id]);
      this.served(peer, id);
    }
  }

  private served(peer: string, id: number): void {
    this.endServing(`${peer} ${id}`);
    this.uploads.done(peer, id);
  }

  private endServing(key: string): void {
    const held = this.serving.get(key);
    if (held === undefined) return;
    this.serving.delete(key);
    clearTimeout(held.timer);
    this.slots.release(held.slot);
  }
}

function nowNs(): number {
  return Math.round(performance.now() * 1e6);
}
