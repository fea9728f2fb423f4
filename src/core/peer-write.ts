/**
 * Saving blocks on another node. The destination finds the slots and grants them; the source
 * writes them and says what arrived. What is refused or lost is dropped and counted: a save only
 * serves the cache. A late write would spoil whatever took its slot, so a granted slot is used
 * again only when the source says that it is done. After a reset the source says what it still
 * writes; from one that says nothing for ttl + guard nothing comes any more.
 */
import type { CacheTiers } from './cache-tiers.ts';
import { Count, type Host, IdSource } from './host.ts';
import { isRising } from './kit/is-rising.ts';
import type {
  SaveBlocks,
  TransferEnded,
  WriteEnded,
  WriteGrant,
  WriteRequest,
  WritesOpen,
} from './messages.ts';
import { blockAt } from './request.ts';
import type { StoreSettings } from './settings.ts';
import { type Address, type AddressBook, Tier } from './topology.ts';
import type { Moving, TransferBook } from './transfer-book.ts';
import type { Holding } from './working-memory.ts';

/** A save that was asked for, or whose move is under way. */
interface Write {
  readonly node: number;
  readonly request: number;
  readonly attempt: number;
  readonly instance: number;
  readonly step: number;
  /** Asked for, and the tokens of each. */
  readonly blocks: readonly number[];
  readonly tokens: readonly number[];
  moving: boolean;
  /** What it would save is not the KV that it should be. */
  spoiled: boolean;
}

interface Wanted {
  readonly blocks: number[];
  readonly parents: number[];
  readonly depths: number[];
}

/** Slots being filled by a peer. */
interface Granted {
  readonly slots: readonly number[];
  /** Infinity but for a source whose channel broke. */
  expiresNs: number;
}

/** Whose memory a save has kept. */
export type Saver = Pick<Write, 'request' | 'attempt' | 'instance'>;

export interface WriteWorld {
  readonly host: Host;
  readonly settings: StoreSettings;
  readonly addresses: AddressBook;
  readonly clock: { readonly nowNs: number };
}

const NONE: readonly number[] = [];

export class PeerWrites {
  readonly world: WriteWorld;
  /** Grants run out no earlier. */
  nextExpiryNs = Number.POSITIVE_INFINITY;
  private readonly tiers: CacheTiers;
  private readonly book: TransferBook;
  private readonly ids: IdSource;
  /** By their id. */
  private readonly writes = new Map<number, Write>();
  /** By source and its id. */
  private readonly granted = new Map<string, Granted>();

  constructor(world: WriteWorld, incarnation: number, tiers: CacheTiers, book: TransferBook) {
    this.world = world;
    this.tiers = tiers;
    this.book = book;
    this.ids = new IdSource(incarnation);
  }

  /** Writes that this store has under way, and grants that it gave. */
  get size(): number {
    return this.writes.size + this.granted.size;
  }

  // --- source ---------------------------------------------------------------------------------

  /** Asks the nodes that are to keep blocks of a save, all but the own one. */
  askAll(body: SaveBlocks, own: number, holding: Holding): void {
    const { request, fromBlock, nodes, answer } = body;
    const byNode = new Map<number, Wanted>();
    for (const [i, node] of nodes.entries()) {
      if (node === own) continue;
      let wanted = byNode.get(node);
      if (wanted === undefined) {
        wanted = { blocks: [], parents: [], depths: [] };
        byNode.set(node, wanted);
      }
      const depth = fromBlock + i;
      wanted.blocks.push(blockAt(request, depth, answer, fromBlock));
      wanted.parents.push(blockAt(request, depth - 1, answer, fromBlock));
      wanted.depths.push(depth);
    }
    for (const [node, wanted] of byNode) {
      holding.moves++;
      this.ask(node, body, wanted);
    }
  }

  private ask(node: number, body: SaveBlocks, wanted: Wanted): void {
    const { world, ids, writes, book } = this;
    const { request, instance, step } = body;
    const write = ids.next();
    const tokens = wanted.depths.map((index) => book.tokensOf(body, index));
    writes.set(write, {
      node,
      request: request.id,
      attempt: request.attempt,
      instance,
      step,
      blocks: wanted.blocks,
      tokens,
      moving: false,
      spoiled: false,
    });
    world.host.send(world.addresses.store(node), { kind: 'writeRequest', write, ...wanted });
  }

  /** Answers whose save it was, when nothing moves for it; null when a move began. */
  begin(from: Address, grant: WriteGrant): Saver | null {
    const { world, writes, book } = this;
    const write = writes.get(grant.write);
    if (write === undefined || write.moving) {
      world.host.count(Count.lateFact, 1);
      if (write === undefined) this.tell(from, grant.write, 0, null);
      return null;
    }
    const { node, request, attempt, instance, step } = write;
    const dropped = write.tokens.length - grant.places.length;
    if (dropped > 0) world.host.count(Count.droppedSave, dropped);
    const { places } = grant;
    const fits = places.length > 0 && isRising(places, write.tokens.length);
    if (!fits || write.spoiled) return this.drop(grant.write, write, 0);
    write.moving = true;
    let tokens = 0;
    for (const place of grant.places) tokens += write.tokens[place];
    book.start(
      {
        kind: 'save',
        request,
        attempt,
        instance,
        slots: grant.range.slots,
        sources: NONE,
        tier: Tier.dram,
        exclusive: false,
        write: grant.write,
      },
      {
        source: book.hbmPlace(instance),
        target: { node, tier: Tier.dram, instance: -1, slots: grant.range },
        tokens,
        blocks: grant.range.slots.length,
        afterStep: step,
        ids: grant.places.map((place) => write.blocks[place]),
      },
    );
    return null;
  }

  /** What was asked for and does not move yet is not to be saved. */
  spoil(request: number, attempt: number): void {
    for (const write of this.writes.values()) {
      if (write.request === request && write.attempt === attempt) write.spoiled = true;
    }
  }

  /** The instance whose memory they were to save is gone. */
  spoilOf(instance: number): void {
    for (const write of this.writes.values()) if (write.instance === instance) write.spoiled = true;
  }

  /** A move onto another node has ended. */
  ended({ write: id }: Moving, ended: TransferEnded): void {
    const write = this.writes.get(id);
    if (write === undefined) return;
    this.writes.delete(id);
    const { world } = this;
    if (!ended.ok) world.host.count(Count.transferFailed, 1);
    this.tell(world.addresses.store(write.node), id, ended.blocksDone, ended.checksums);
  }

  /**
   * What was said between this store and another may be lost: saves that were asked for are dropped
   * (answers whose they were), and the other store hears which are still written.
   */
  peerReset(node: number): Saver[] {
    const { world, writes } = this;
    const store = world.addresses.store(node);
    const savers: Saver[] = [];
    const open: number[] = [];
    for (const [id, write] of [...writes]) {
      if (write.node !== node) continue;
      if (write.moving) {
        open.push(id);
        continue;
      }
      writes.delete(id);
      world.host.count(Count.droppedSave, write.tokens.length);
      savers.push(write);
    }
    const ours = `${store}/`;
    const { leaseTtlNs, guardNs } = world.settings;
    for (const [key, grant] of this.granted) {
      if (!key.startsWith(ours)) continue;
      grant.expiresNs = world.clock.nowNs + leaseTtlNs + guardNs;
      this.nextExpiryNs = Math.min(this.nextExpiryNs, grant.expiresNs);
    }
    world.host.send(store, { kind: 'writesOpen', writes: open });
    return savers;
  }

  private drop(id: number, write: Write, blocks: number): Saver {
    this.writes.delete(id);
    if (blocks > 0) this.world.host.count(Count.droppedSave, blocks);
    this.tell(this.world.addresses.store(write.node), id, 0, null);
    return write;
  }

  private tell(to: Address, write: number, done: number, checksums: Int32Array | null): void {
    this.world.host.send(to, { kind: 'writeEnded', write, blocksDone: done, checksums });
  }

  // --- destination ----------------------------------------------------------------------------

  /** Grants slots for the blocks that are not here, as far as there are any. */
  grant(from: Address, asked: WriteRequest): void {
    const { world, tiers, book, granted } = this;
    const { write, blocks, parents, depths } = asked;
    const key = `${from}/${write}`;
    if (granted.has(key)) {
      world.host.count(Count.lateFact, 1);
      return;
    }
    const { pool } = tiers.dram;
    const places: number[] = [];
    const slots: number[] = [];
    for (const [place, block] of blocks.entries()) {
      const here = pool.find(block);
      if (here >= 0) {
        pool.touch(here);
        continue;
      }
      const parent = parents[place] < 0 ? -1 : pool.find(parents[place]);
      const slot = pool.allocate(block, parent, depths[place]);
      if (slot < 0) break;
      places.push(place);
      slots.push(slot);
    }
    if (slots.length > 0) granted.set(key, { slots, expiresNs: Number.POSITIVE_INFINITY });
    const range = book.range(tiers.dram, slots);
    world.host.send(from, { kind: 'writeGrant', write, places, range });
  }

  /** The source is done, or will not write. */
  written(from: Address, { write, blocksDone, checksums }: WriteEnded): void {
    this.settle(`${from}/${write}`, blocksDone, checksums);
  }

  /** After a reset: these are what the source still writes; its others are over. */
  stillOpen(from: Address, { writes }: WritesOpen): void {
    const open = new Set(writes.map((write) => `${from}/${write}`));
    for (const [key, grant] of [...this.granted]) {
      if (!key.startsWith(`${from}/`)) continue;
      if (open.has(key)) grant.expiresNs = Number.POSITIVE_INFINITY;
      else this.settle(key, 0, null);
    }
  }

  expire(nowNs: number): void {
    this.nextExpiryNs = Number.POSITIVE_INFINITY;
    for (const [key, { expiresNs }] of [...this.granted]) {
      if (expiresNs <= nowNs) this.settle(key, 0, null);
      else this.nextExpiryNs = Math.min(this.nextExpiryNs, expiresNs);
    }
  }

  private settle(key: string, blocksDone: number, checksums: Int32Array | null): void {
    const grant = this.granted.get(key);
    if (grant === undefined) return;
    this.granted.delete(key);
    // More than was granted is no report on it.
    if (blocksDone > grant.slots.length) blocksDone = 0;
    const ok = blocksDone === grant.slots.length;
    const cause = ok ? ('' as const) : ('lost' as const);
    const kind = 'transferEnded' as const;
    this.tiers.settle(grant.slots, { kind, transfer: 0, ok, blocksDone, cause, checksums });
  }
}
