/**
 * Blocks that leave for their new homes. When the bucket map takes buckets from this node, or all
 * of them because it is going, it names their blocks to the new homes, which fetch them: so many
 * batches at once, and so many bytes per second. Until a home has a block it is read here, and a
 * while longer by who counts on it; then it goes. Nothing is taken from a block's old place before
 * its home has said that it has it, so whatever breaks in between costs a repetition.
 */
import type { CacheTiers } from './cache-tiers.ts';
import { type Homes, homeIn } from './homes.ts';
import { Count, type Host, IdSource } from './host.ts';
import { isRising } from './kit/is-rising.ts';
import type { BlocksMoved, Buckets } from './messages.ts';
import type { StoreSettings } from './settings.ts';
import type { TierPool } from './tier-pool.ts';
import {
  type Address,
  type AddressBook,
  CONDUCTOR,
  type KvLayout,
  type Node,
  Pin,
  Tier,
} from './topology.ts';

/** Vain tries to move a block to one home. */
const TRIES_MAX = 10;
/** An old copy that is read stays for at least so long, ns. */
const READ_AGAIN_NS = 10e6;
/** Tokens of wake-ups, beside those of StoreNode. */
export const MOVE_NEXT = -2;
export const MOVE_RELEASE = -3;

export interface MovesWorld {
  readonly host: Host;
  readonly node: Node;
  readonly kv: KvLayout;
  readonly settings: StoreSettings;
  readonly addresses: AddressBook;
  readonly clock: { readonly nowNs: number };
}

/** A batch that its home has been told of. */
interface Sending {
  readonly home: number;
  readonly blocks: readonly number[];
}

/** An old copy: its block has arrived at this home. */
interface Lingering {
  readonly home: number;
  readonly untilNs: number;
}

/** What has moved so far, and what is left. */
export interface MoveFigures {
  readonly version: number;
  readonly remaining: number;
  readonly movedBlocks: number;
  /** Of these, what went over the rails. */
  readonly movedBytes: number;
  /** Blocks that their home did not take. */
  readonly stuck: number;
}

export class MovesOut {
  readonly world: MovesWorld;
  /** It owns no buckets: whatever is stored here is to go. */
  leaving = false;
  private readonly homes: Homes;
  private readonly tiers: CacheTiers;
  private readonly ids: IdSource;
  /** Blocks to go, by home; the last one goes first. */
  private readonly todo = new Map<number, number[]>();
  /** Vain tries of each block that is to go or on its way. */
  private readonly pending = new Map<number, number>();
  private readonly sending = new Map<number, Sending>();
  /** Given up until the map changes. */
  private readonly stuck = new Set<number>();
  /** In order of time. */
  private readonly lingering = new Map<number, Lingering>();
  /** No batch goes earlier. */
  private nextNs = 0;
  private wakes = false;
  private releases = false;
  private movedBlocks = 0;
  private movedBytes = 0;

  constructor(world: MovesWorld, incarnation: number, homes: Homes, tiers: CacheTiers) {
    this.world = world;
    this.homes = homes;
    this.tiers = tiers;
    this.ids = new IdSource(incarnation);
  }

  get figures(): MoveFigures {
    const { movedBlocks, movedBytes } = this;
    const remaining = this.pending.size;
    const { version } = this.homes;
    return { version, remaining, movedBlocks, movedBytes, stuck: this.stuck.size };
  }

  /** Batches under way. */
  get size(): number {
    return this.sending.size;
  }

  /** The map changed: what has another home now is to go there. */
  take(body: Buckets): void {
    const { homes, world } = this;
    if (!homes.isNews(body)) {
      // Whoever leads says it again after a reset: it may not have heard.
      this.report();
      return;
    }
    const before = homes.owners;
    homes.take(body);
    if (world.settings.moves === null) return;
    const own = world.node.id;
    this.leaving = !body.owners.includes(own);
    const all = new Set([...this.pending.keys(), ...this.stuck]);
    this.todo.clear();
    this.pending.clear();
    this.stuck.clear();
    for (const { blocks } of this.sending.values()) {
      for (const block of blocks) this.pending.set(block, 0);
    }
    for (const pool of this.pools()) {
      for (const block of pool.readyBlocks()) {
        if (this.leaving || homeIn(before, block) === own) all.add(block);
      }
    }
    this.add(all);
    this.report();
    this.step();
  }

  /** Of a node that is going: blocks that came since go as well. */
  rescan(): void {
    const found: number[] = [];
    for (const pool of this.pools()) {
      for (const block of pool.readyBlocks()) {
        if (!this.stuck.has(block) && !this.lingering.has(block)) found.push(block);
      }
    }
    this.include(found);
  }

  /** Blocks whose home may have changed while they came here. */
  include(blocks: Iterable<number>): void {
    if (this.world.settings.moves === null) return;
    const { size } = this.pending;
    this.add(blocks);
    if (this.pending.size === size) return;
    this.report();
    this.step();
  }

  /** Roots go last, so that they are the last to be evicted from where they go. */
  private add(blocks: Iterable<number>): void {
    const { homes, pending, todo, world } = this;
    const going: { readonly block: number; readonly depth: number }[] = [];
    for (const block of blocks) {
      const home = homes.homeOf(block);
      if (home < 0 || home === world.node.id || pending.has(block)) continue;
      const pool = this.poolOf(block);
      if (pool === null) continue;
      pending.set(block, 0);
      going.push({ block, depth: pool.depth(pool.find(block)) });
    }
    going.sort((a, b) => a.depth - b.depth || a.block - b.block);
    for (const { block } of going) {
      const home = homes.homeOf(block);
      const list = todo.get(home);
      if (list === undefined) todo.set(home, [block]);
      else list.push(block);
    }
  }

  // --- batches --------------------------------------------------------------------------------

  /** Starts what may start now. */
  private step(): void {
    const { moves } = this.world.settings;
    if (moves === null) return;
    while (this.todo.size > 0 && this.sending.size < moves.inFlight) {
      if (this.world.clock.nowNs < this.nextNs) {
        this.wakeAtNext();
        return;
      }
      this.sendNext(moves.batchBlocks);
    }
  }

  private wakeAtNext(): void {
    if (this.wakes) return;
    this.wakes = true;
    this.world.host.wakeAt(this.nextNs, MOVE_NEXT);
  }

  onWake(token: number): void {
    if (token === MOVE_NEXT) {
      this.wakes = false;
      this.step();
    } else {
      this.releases = false;
      this.release();
    }
  }

  /** Homes take turns. */
  private sendNext(most: number): void {
    const { todo, world, sending, tiers } = this;
    const [home, list] = todo.entries().next().value!;
    todo.delete(home);
    const blocks = this.batchOf(list, most);
    if (list.length > 0) todo.set(home, list);
    if (blocks.length === 0) return;
    const move = this.ids.next();
    sending.set(move, { home, blocks });
    this.nextNs = Math.max(this.nextNs, world.clock.nowNs) + this.timeOf(blocks.length);
    const { pool } = tiers.tierOf(blocks[0]);
    const slots = blocks.map((block) => pool.find(block));
    world.host.send(world.addresses.store(home), {
      kind: 'moveBlocks',
      move,
      blocks,
      parents: slots.map((slot) => pool.parentBlock(slot)),
      depths: slots.map((slot) => pool.depth(slot)),
    });
  }

  /** Takes blocks off the end of a list, all of one tier; those that are gone are forgotten. */
  private batchOf(list: number[], most: number): number[] {
    const blocks: number[] = [];
    let from: TierPool | null = null;
    while (list.length > 0 && blocks.length < most) {
      const block = list[list.length - 1];
      const pool = this.poolOf(block);
      if (pool !== null && from !== null && pool !== from) break;
      list.pop();
      if (pool === null) this.pending.delete(block);
      else {
        from = pool;
        blocks.push(block);
      }
    }
    if (blocks.length === 0) this.report();
    return blocks;
  }

  /** Time that blocks take at the rate that moves may have, whole ns. */
  private timeOf(blocks: number): number {
    const { settings, node } = this.world;
    const { bytesPerNs, railShare } = settings.moves!;
    const rails = node.rails.reduce((sum, rail) => sum + rail.bytesPerNs, 0);
    const rate = bytesPerNs ?? railShare * rails * node.railEfficiency;
    return Math.ceil((blocks * this.blockBytes) / rate);
  }

  private get blockBytes(): number {
    const { kv } = this.world;
    return kv.blockTokens * kv.bytesPerToken[Tier.dram];
  }

  /** A home answers: what it has is its own now. What it had already cost nothing. */
  moved(from: Address, { move, places, copied }: BlocksMoved): void {
    const { world, sending } = this;
    const sent = sending.get(move);
    if (sent === undefined || world.addresses.store(sent.home) !== from) {
      world.host.count(Count.lateFact, 1);
      return;
    }
    sending.delete(move);
    const { blocks, home } = sent;
    const fits = isRising(places, blocks.length) && copied <= places.length;
    const there = new Set(fits ? places : []);
    const came = fits ? copied : 0;
    for (const [place, block] of blocks.entries()) {
      if (there.has(place)) this.arrived(block, home);
      else this.again(block);
    }
    if (there.size > 0) world.host.count(Count.moved, there.size);
    this.movedBlocks += there.size;
    this.movedBytes += came * this.blockBytes;
    this.nextNs -= this.timeOf(blocks.length) - this.timeOf(came);
    this.report();
    this.releaseLater();
    this.step();
  }

  private arrived(block: number, home: number): void {
    this.pending.delete(block);
    if (this.homes.homeOf(block) === this.world.node.id) return;
    const untilNs = this.world.clock.nowNs + this.world.settings.moves!.lingerNs;
    this.lingering.delete(block);
    this.lingering.set(block, { home, untilNs });
  }

  /** It did not go: another time, unless that was tried often. */
  private again(block: number): void {
    const { pending, homes, world, stuck } = this;
    const tries = (pending.get(block) ?? 0) + 1;
    pending.delete(block);
    const home = homes.homeOf(block);
    if (this.poolOf(block) === null || home === world.node.id) return;
    if (tries >= TRIES_MAX) {
      stuck.add(block);
      world.host.count(Count.droppedMove, 1);
      return;
    }
    pending.set(block, tries);
    const list = this.todo.get(home);
    if (list === undefined) this.todo.set(home, [block]);
    else list.unshift(block);
  }

  /**
   * What was said to this store, and by it, may be lost, and so may what it has: its batches are
   * named again, and old copies stay until it says that it has the new ones.
   */
  peerReset(node: number): void {
    const { sending, lingering } = this;
    for (const [move, { home, blocks }] of [...sending]) {
      if (home !== node) continue;
      sending.delete(move);
      for (const block of blocks) this.again(block);
    }
    const doubtful: number[] = [];
    for (const [block, { home }] of lingering) if (home === node) doubtful.push(block);
    for (const block of doubtful) lingering.delete(block);
    this.add(doubtful);
    this.report();
    this.step();
  }

  /** Tells whoever leads how far it is. */
  report(): void {
    const { homes, world, pending } = this;
    const { term, version } = homes;
    if (version === 0 || world.settings.moves === null) return;
    const { id: node } = world.node;
    const { size: blocks } = pending;
    world.host.send(CONDUCTOR, { kind: 'movesLeft', node, term, version, blocks });
  }

  // --- old copies -----------------------------------------------------------------------------

  private releaseLater(): void {
    if (this.releases) return;
    const first = this.lingering.values().next().value;
    if (first === undefined) return;
    this.releases = true;
    this.world.host.wakeAt(first.untilNs, MOVE_RELEASE);
  }

  /** Old copies go whose time is over, but for those that are read or pinned. */
  private release(): void {
    const { lingering, homes, world } = this;
    const { nowNs } = world.clock;
    const againNs = nowNs + Math.max(world.settings.moves!.lingerNs, READ_AGAIN_NS);
    const read: [number, Lingering][] = [];
    for (const [block, { home, untilNs }] of lingering) {
      if (untilNs > nowNs) break;
      lingering.delete(block);
      if (homes.homeOf(block) === world.node.id || this.drop(block)) continue;
      read.push([block, { home, untilNs: againNs }]);
    }
    for (const [block, again] of read) lingering.set(block, again);
    this.releaseLater();
  }

  /** False when it is read now. */
  private drop(block: number): boolean {
    for (const pool of this.pools()) {
      const slot = pool.findReady(block);
      if (slot < 0 || pool.pinOf(slot) !== Pin.none) continue;
      if (pool.isLeased(slot)) return false;
      pool.invalidate(slot);
    }
    return true;
  }

  private pools(): TierPool[] {
    const { dram, ssd } = this.tiers;
    return ssd === null ? [dram.pool] : [dram.pool, ssd.pool];
  }

  /** Where a block is readable; null: nowhere. */
  private poolOf(block: number): TierPool | null {
    const { pool } = this.tiers.tierOf(block);
    return pool.findReady(block) >= 0 ? pool : null;
  }
}
