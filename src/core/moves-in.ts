/**
 * Blocks that come here because this is their home now. Their old home names them; this store finds
 * slots, leases what it has not, and fetches it. It answers what it has; the rest is named again.
 */
import type { CacheTiers } from './cache-tiers.ts';
import { Count, type IdSource } from './host.ts';
import type { LeaseGrant, MoveBlocks, TransferEnded } from './messages.ts';
import type { MovesWorld } from './moves-out.ts';
import { type Address, Tier } from './topology.ts';
import type { Moving, TransferBook } from './transfer-book.ts';

/** A batch on its way. */
interface Taking {
  readonly from: Address;
  readonly move: number;
  readonly blocks: readonly number[];
  /** Places of those that were here already, and of those that slots are filling for. */
  readonly here: readonly number[];
  readonly wanted: number[];
  readonly slots: number[];
  /** When the lease was asked for; what arrives after its ttl - guard from then may be torn. */
  readonly askedNs: number;
  validUntilNs: number;
  moving: boolean;
}

const NONE: readonly number[] = [];

export class MovesIn {
  readonly world: MovesWorld;
  private readonly tiers: CacheTiers;
  private readonly book: TransferBook;
  /** Those of the fetches: a lender knows leases by them. */
  private readonly leaseIds: IdSource;
  /** By lease. */
  private readonly taking = new Map<number, Taking>();

  constructor(world: MovesWorld, leaseIds: IdSource, tiers: CacheTiers, book: TransferBook) {
    this.world = world;
    this.leaseIds = leaseIds;
    this.tiers = tiers;
    this.book = book;
  }

  /** Batches on their way. */
  get size(): number {
    return this.taking.size;
  }

  take(from: Address, { move, blocks, parents, depths }: MoveBlocks): void {
    const { world, tiers, taking } = this;
    const { pool } = tiers.dram;
    const here: number[] = [];
    const wanted: number[] = [];
    const slots: number[] = [];
    for (const [place, block] of blocks.entries()) {
      if (tiers.isReady(block)) here.push(place);
      else if (pool.find(block) < 0) {
        const parent = parents[place] < 0 ? -1 : pool.find(parents[place]);
        const slot = pool.allocate(block, parent, depths[place]);
        if (slot < 0) break;
        wanted.push(place);
        slots.push(slot);
      }
    }
    if (slots.length === 0) {
      world.host.send(from, { kind: 'blocksMoved', move, places: here, copied: 0 });
      return;
    }
    const lease = this.leaseIds.next();
    taking.set(lease, {
      from,
      move,
      blocks,
      here,
      wanted,
      slots,
      askedNs: world.clock.nowNs,
      validUntilNs: 0,
      moving: false,
    });
    const ids = wanted.map((place) => blocks[place]);
    world.host.send(from, { kind: 'leaseRequest', lease, blocks: ids });
  }

  /** False when the lease is none of a move. */
  granted(from: Address, { lease, range, ttlNs, tier }: LeaseGrant): boolean {
    const { world, book } = this;
    const taking = this.taking.get(lease);
    if (taking === undefined) return false;
    if (taking.from !== from || taking.moving) {
      world.host.count(Count.lateFact, 1);
      return true;
    }
    const { slots, wanted, askedNs } = taking;
    taking.validUntilNs = askedNs + ttlNs - world.settings.guardNs;
    const given = range.slots.length;
    const granted = this.isLate(taking) || given > slots.length ? 0 : given;
    this.abandon(taking, granted);
    if (granted === 0) {
      this.end(lease, taking, 0);
      return true;
    }
    taking.moving = true;
    const node = world.addresses.storeNode(from);
    book.start(
      {
        kind: 'move',
        request: -1,
        attempt: 0,
        instance: -1,
        slots: [...slots],
        sources: NONE,
        tier: Tier.dram,
        exclusive: false,
        write: lease,
      },
      {
        source: { node, tier, instance: -1, slots: range },
        target: book.place(Tier.dram, [...slots]),
        tokens: wanted.length * world.kv.blockTokens,
        blocks: granted,
        afterStep: 0,
      },
    );
    return true;
  }

  /** Blocks that have arrived. */
  ended({ write: lease }: Moving, ended: TransferEnded): number[] {
    const taking = this.taking.get(lease)!;
    const { wanted, slots, blocks } = taking;
    if (!ended.ok) this.world.host.count(Count.transferFailed, 1);
    if (this.isLate(taking)) ended = { ...ended, ok: false, blocksDone: 0 };
    const done = this.tiers.settle(slots, ended);
    this.end(lease, taking, done);
    return wanted.slice(0, done).map((place) => blocks[place]);
  }

  /** What was asked of this store may be lost. What moves ends by itself. */
  peerReset(node: number): void {
    const { addresses } = this.world;
    for (const [lease, taking] of [...this.taking]) {
      if (taking.moving || addresses.storeNode(taking.from) !== node) continue;
      this.abandon(taking, 0);
      this.end(lease, taking, 0);
    }
  }

  /** Gives the lease back and answers: the first `done` of what it wanted are readable. */
  private end(lease: number, { from, move, here, wanted }: Taking, done: number): void {
    const { host } = this.world;
    this.taking.delete(lease);
    host.send(from, { kind: 'leaseRelease', lease });
    const places = [...here, ...wanted.slice(0, done)].sort((a, b) => a - b);
    host.send(from, { kind: 'blocksMoved', move, places, copied: done });
  }

  private isLate({ validUntilNs }: Taking): boolean {
    return this.world.clock.nowNs > validUntilNs;
  }

  private abandon({ slots, wanted }: Taking, from: number): void {
    const { pool } = this.tiers.dram;
    for (let i = from; i < slots.length; i++) pool.abandon(slots[i], false);
    slots.length = from;
    wanted.length = from;
  }
}
