/**
 * StoreNode: the KV memory of one node. It owns the slots of the shared tiers and the working HBM
 * of the node's instances, leases blocks to readers, fetches from peers, and tells the conductor
 * what became readable and what went. What it says is the truth; the directory is a hint.
 */

import { CacheTiers, HEARTBEAT, type TiersWorld } from './cache-tiers.ts';
import { DeltaBuffer } from './delta-buffer.ts';
import { assert, unreachable } from './errors.ts';
import { HbmCache } from './hbm-cache.ts';
import { Homes } from './homes.ts';
import { Count, type Machine } from './host.ts';
import { LeaseTable } from './lease-table.ts';
import type * as M from './messages.ts';
import { MovesIn } from './moves-in.ts';
import { MOVE_NEXT, MOVE_RELEASE, type MoveFigures, MovesOut } from './moves-out.ts';
import { PeerFetches } from './peer-fetch.ts';
import { PeerWrites, type Saver } from './peer-write.ts';
import { blockAt, cachedTokens } from './request.ts';
import { Restorable } from './snapshot.ts';
import type { TierPool } from './tier-pool.ts';
import { type Address, type AddressBook, CONDUCTOR, Pin, Tier } from './topology.ts';
import { type Moving, TransferBook } from './transfer-book.ts';
import { type Holding, type Waiting, WorkingMemory } from './working-memory.ts';

/** An instance of the node, as its store knows it. */
export interface StoreTenant {
  readonly id: number;
  readonly kvCapacityBytes: number;
}

/** What a store is given; not part of its state. */
export interface StoreWorld extends TiersWorld {
  readonly addresses: AddressBook;
  /** The policies' clock. */
  readonly clock: { nowNs: number };
}

const NONE: readonly number[] = [];

export class StoreNode extends Restorable implements Machine {
  readonly world: StoreWorld;
  readonly tiers: CacheTiers;
  readonly incarnation: number;
  /** By instance. */
  private readonly memories = new Map<number, WorkingMemory>();
  private readonly hbmCaches: HbmCache[] = [];
  private readonly book: TransferBook;
  private readonly leases: LeaseTable;
  private readonly fetches: PeerFetches;
  private readonly writes: PeerWrites;
  private readonly homes: Homes;
  private readonly movesOut: MovesOut;
  private readonly movesIn: MovesIn;
  private parkedTokens = 0;

  constructor(
    world: StoreWorld,
    incarnation: number,
    blocks: number,
    tenants: readonly StoreTenant[],
  ) {
    super();
    this.world = world;
    this.incarnation = incarnation;
    const { settings } = world;
    this.book = new TransferBook(world, incarnation);
    this.tiers = new CacheTiers(world, blocks, this.book);
    this.leases = new LeaseTable(this.tiers);
    const homes = new Homes();
    this.homes = homes;
    this.fetches = new PeerFetches(world, incarnation, this.tiers, this.book, homes);
    this.writes = new PeerWrites(world, incarnation, this.tiers, this.book);
    this.movesOut = new MovesOut(world, incarnation, homes, this.tiers);
    this.movesIn = new MovesIn(world, this.fetches.leaseIds, this.tiers, this.book);
    for (const tenant of tenants) {
      const cache = settings.hbmCache ? this.makeHbmCache(tenant, blocks) : null;
      this.memories.set(tenant.id, new WorkingMemory(tenant.id, tenant.kvCapacityBytes, cache));
    }
  }

  /** Slots of the node's DRAM, and of its SSD (null without one). */
  get dram(): TierPool {
    return this.tiers.dram.pool;
  }

  get ssd(): TierPool | null {
    return this.tiers.ssd?.pool ?? null;
  }

  /**
   * Takes in blocks that an earlier life left on the node's SSD, before the first fact; the
   * inventory after it tells of them. The slot of each, -1 where there is none for it.
   */
  adoptOnSsd(found: readonly { block: number; depth: number; crc: number }[]): number[] {
    const { ssd } = this.tiers;
    if (ssd !== null) ssd.delta.resync = true;
    return found.map(({ block, depth, crc }) => {
      if (ssd === null || ssd.pool.usedSlots === ssd.pool.capacitySlots) return -1;
      if (ssd.pool.find(block) >= 0) return -1;
      const slot = ssd.pool.allocate(block, -1, depth);
      if (slot >= 0) ssd.pool.publish(slot, crc | 0);
      return slot;
    });
  }

  private makeHbmCache({ id, kvCapacityBytes }: StoreTenant, blocks: number): HbmCache {
    const { kv, node, settings, eviction } = this.world;
    const delta = new DeltaBuffer(node.id, Tier.hbm, id, settings.deltaLimitBlocks);
    const policy = (slots: number) => eviction(Tier.hbm, id, slots);
    const cache = new HbmCache(kvCapacityBytes, kv, blocks, policy, delta);
    this.hbmCaches.push(cache);
    return cache;
  }

  handle(fact: M.Fact): void {
    this.world.clock.nowNs = fact.atNs;
    if (fact.atNs >= this.leases.nextExpiryNs) this.leases.expire(fact.atNs);
    if (fact.atNs >= this.writes.nextExpiryNs) this.writes.expire(fact.atNs);
    this.dispatch(fact, fact.body);
    if (this.movesOut.leaving && this.tiers.dram.delta.pending) this.movesOut.rescan();
    this.tiers.flush();
    this.flushDeltas();
  }

  private dispatch(fact: M.Fact, body: M.Body): void {
    switch (body.kind) {
      case 'transferEnded':
        return this.onTransferEnded(fact.atNs, body);
      case 'saveBlocks':
        return this.onSave(body);
      case 'acquire':
        return this.onAcquire(fact, body);
      case 'computed':
        return this.onComputed(body);
      case 'release':
        return this.onRelease(fact.atNs, body);
      case 'reserve':
        return this.onReserve(fact, body);
      case 'claim':
        return this.onClaim(fact.from, body);
      case 'fetchBlocks':
        return this.fetches.begin(body);
      case 'replicate':
        return this.fetches.replicate(body);
      case 'prefetch':
        return this.tiers.prefetch(body.request);
      case 'leaseRequest':
        return this.onLeaseRequest(fact, body);
      case 'leaseGrant':
        if (!this.movesIn.granted(fact.from, body)) this.fetches.granted(body);
        return;
      case 'writeRequest':
        return this.writes.grant(fact.from, body);
      case 'writeGrant':
        return this.onWriteGrant(fact, body);
      case 'writeEnded':
        return this.writes.written(fact.from, body);
      case 'writesOpen':
        return this.writes.stillOpen(fact.from, body);
      case 'buckets':
        return this.movesOut.take(body);
      case 'moveBlocks':
        return this.movesIn.take(fact.from, body);
      case 'blocksMoved':
        return this.movesOut.moved(fact.from, body);
      case 'leaseRelease':
        return this.leases.end(fact.from, body.lease);
      case 'unreserve':
        return this.onUnreserve(fact.atNs, body);
      case 'park':
        return this.onPark(fact.from, body);
      case 'unpark':
        return this.onUnpark(fact, body);
      case 'grow':
        return this.onGrow(fact, body);
      case 'pinBlocks':
        return this.onPin(body);
      case 'slotReleased':
        return this.tiers.at(body.tier).pool.releaseQuarantine(body.slot);
      case 'tierLost':
      case 'tierBack':
        return this.onTier(body.tier, body.kind === 'tierLost');
      case 'slotLost':
        return this.tiers.at(body.tier).pool.loseSlot(body.slot, body.generation);
      case 'wake':
        return this.onWake(fact.atNs, body.token);
      case 'peerReset':
        return this.onPeerReset(body.peer, fact.atNs);
      default:
        throw new Error(`a store does not take ${body.kind}`);
    }
  }

  /** Blocks that an instance keeps in its HBM, or null. */
  hbmCache(instance: number): HbmCache | null {
    return this.memory(instance).cache;
  }

  /** Blocks that go to new homes. */
  get moves(): MoveFigures {
    return this.movesOut.figures;
  }

  /** Every tier and policy against itself; for tests and invariant runs. */
  check(): void {
    this.tiers.check();
    for (const memory of this.memories.values()) memory.check();
  }

  /** Nothing is held, leased or moving once all that can run out has run out; for tests. */
  checkIdle(nowNs: number): void {
    this.leases.expire(nowNs);
    this.writes.expire(nowNs);
    for (const memory of this.memories.values()) {
      memory.dropExpired(nowNs);
      assert(memory.isIdle, `working memory of instance ${memory.instance} is held`);
      memory.cache?.pool.checkIdle();
    }
    assert(this.book.size === 0, 'a transfer is under way');
    assert(this.fetches.size === 0, 'a fetch is under way');
    assert(this.writes.size === 0, 'a write to or by a peer is under way');
    assert(this.movesOut.size + this.movesIn.size === 0, 'blocks are moving');
    assert(this.parkedTokens === 0, 'parked tokens are left');
    this.tiers.checkIdle();
  }

  // --- working memory -------------------------------------------------------------------------

  private onAcquire(fact: M.Fact, ask: M.Acquire): void {
    const bytes = ask.hbmTokens * this.world.kv.bytesPerToken[Tier.hbm];
    this.ask({ from: fact.from, ask, bytes }, fact.atNs);
  }

  private onReserve(fact: M.Fact, ask: M.Reserve): void {
    const memory = this.memory(ask.instance);
    if (memory.of(ask.request, ask.attempt) !== undefined) {
      this.answerReserve(fact.from, ask, 'granted');
    } else if (memory.findReserve(ask) >= 0) {
      this.answerReserve(fact.from, ask, 'queued');
    } else {
      const bytes = ask.tokens * this.world.kv.bytesPerToken[Tier.hbm];
      this.ask({ from: fact.from, ask, bytes }, fact.atNs);
    }
  }

  /** Serve now, or after those who already wait. */
  private ask(waiting: Waiting, nowNs: number): void {
    const { ask } = waiting;
    const memory = this.memory(ask.instance);
    if (memory.waiting.length > 0 || !memory.serves(waiting)) {
      memory.dropExpired(nowNs);
      this.serveWaiting(memory, nowNs);
    }
    if (memory.waiting.length === 0 && memory.serves(waiting)) {
      this.serve(memory, waiting, nowNs);
      return;
    }
    if (ask.kind === 'reserve') {
      const full = memory.waitingReserves >= this.world.settings.reserveQueueRequests;
      this.answerReserve(waiting.from, ask, full ? 'refused' : 'queued');
      if (full) return;
    } else if (ask.kind === 'acquire') {
      const { id: request, attempt } = ask.request;
      this.world.host.send(waiting.from, { kind: 'acquireWaits', request, attempt });
    }
    memory.wait(waiting);
    this.wakeAtExpiry(memory);
  }

  private serveWaiting(memory: WorkingMemory, nowNs: number): void {
    for (let next = memory.nextServed(); next !== undefined; next = memory.nextServed()) {
      this.serve(memory, next, nowNs);
    }
    this.wakeAtExpiry(memory);
  }

  /** Space whose reservation runs out, unclaimed, is for those who wait. */
  private wakeAtExpiry(memory: WorkingMemory): void {
    if (memory.wakes || memory.waiting.length === 0) return;
    const atNs = memory.firstExpiryNs();
    if (atNs === Number.POSITIVE_INFINITY) return;
    memory.wakes = true;
    this.world.host.wakeAt(atNs, memory.instance);
  }

  private onWake(nowNs: number, instance: number): void {
    if (instance === HEARTBEAT) {
      this.tiers.heartbeat();
      return;
    }
    if (instance === MOVE_NEXT || instance === MOVE_RELEASE) {
      this.movesOut.onWake(instance);
      return;
    }
    const memory = this.memory(instance);
    memory.wakes = false;
    memory.dropExpired(nowNs);
    this.serveWaiting(memory, nowNs);
  }

  private serve(memory: WorkingMemory, waiting: Waiting, nowNs: number): void {
    const { ask, from, bytes } = waiting;
    if (ask.kind === 'reserve') {
      memory.hold(ask.request, ask.attempt, bytes, nowNs + ask.ttlNs);
      this.answerReserve(from, ask, 'granted');
    } else if (ask.kind === 'unpark') this.bringBack(ask, bytes);
    else {
      this.loadPrefix(ask, memory.holdPrompt(ask.request, bytes));
    }
  }

  /** Frees what gave way, gives the batch its pages, and the rest to those who wait. */
  private onGrow(fact: M.Fact, body: M.Grow): void {
    const { instance, drop, sequences, steps } = body;
    const memory = this.memory(instance);
    for (const { request, attempt } of drop) {
      const holding = memory.of(request, attempt);
      if (holding !== undefined) this.drop(memory, request, holding);
    }
    const granted = memory.grow(sequences, steps, this.world.kv.bytesPerToken[Tier.hbm]);
    this.world.host.send(fact.from, { kind: 'grown', instance, steps: granted });
    if (granted > 0) this.serveWaiting(memory, fact.atNs);
  }

  private onUnpark(fact: M.Fact, ask: M.Unpark): void {
    const bytes = ask.tokens * this.world.kv.bytesPerToken[Tier.hbm];
    this.ask({ from: fact.from, ask, bytes }, fact.atNs);
  }

  /** Moves parked KV into the room that it got. */
  private bringBack({ request, attempt, instance, tokens }: M.Unpark, bytes: number): void {
    const { book } = this;
    const memory = this.memory(instance);
    const holding = memory.of(request, attempt);
    assert(holding !== undefined, 'parked KV was given away');
    memory.takeBack(holding, bytes);
    holding.moves++;
    book.start(
      {
        kind: 'unpark',
        request,
        attempt,
        instance,
        slots: NONE,
        sources: NONE,
        tier: Tier.dram,
        exclusive: false,
        write: 0,
      },
      {
        source: book.place(Tier.dram, null),
        target: book.hbmPlace(instance),
        tokens,
        blocks: 0,
        afterStep: 0,
      },
    );
  }

  private answerReserve(to: Address, ask: M.Reserve, status: M.Reserved['status']): void {
    const { request, attempt } = ask;
    this.world.host.send(to, { kind: 'reserved', request, attempt, status });
  }

  private onClaim(from: Address, claim: M.Claim): void {
    const { request, attempt } = claim;
    const holding = this.memory(claim.instance).of(request, attempt);
    if (holding !== undefined) holding.expiresNs = Number.POSITIVE_INFINITY;
    const ok = holding !== undefined;
    this.world.host.send(from, { kind: 'claimed', request, attempt, ok });
  }

  private onUnreserve(nowNs: number, body: M.Unreserve): void {
    const memory = this.memory(body.instance);
    memory.stopWaiting(body);
    this.free(memory, body.request, body.attempt, nowNs);
  }

  private onRelease(nowNs: number, body: M.Release): void {
    this.fetches.release(body.request, body.attempt);
    this.free(this.memory(body.instance), body.request, body.attempt, nowNs);
  }

  /** Frees a request's space once nothing moves out of it. */
  private free(memory: WorkingMemory, request: number, attempt: number, nowNs: number): void {
    const holding = memory.of(request, attempt);
    if (holding === undefined) return;
    if (this.drop(memory, request, holding)) this.serveWaiting(memory, nowNs);
  }

  /** Answers whether it is free now: what moves is free later. */
  private drop(memory: WorkingMemory, request: number, holding: Holding): boolean {
    holding.released = true;
    if (holding.moves > 0) return false;
    this.parkedTokens -= holding.parkedTokens;
    memory.drop(request, holding);
    return true;
  }

  // --- between the cache and HBM --------------------------------------------------------------

  /** Leases the longest local prefix and starts the load of what is not in HBM. */
  private loadPrefix(ask: M.Acquire, holding: Holding): void {
    const { request, instance } = ask;
    const { tiers, world } = this;
    const { blockTokens } = world.kv;
    tiers.keepHouse();
    const inHbm = holding.shared.length;
    const found = tiers.leasePrefix(request.blocks, inHbm);
    const { hitBlocks } = found;
    const tokens = cachedTokens(hitBlocks, blockTokens, request.inputTokens);
    const hbmTokens = Math.min(inHbm * blockTokens, tokens);
    const cut = found.endsOnSsd ? hitBlocks * blockTokens - tokens : 0;
    const ssdTokens = found.ssd.length * blockTokens - cut;
    holding.passing = this.fetches.passing(request);
    const fetched = this.fetches.finish(request, inHbm, hitBlocks);
    const unfetched = cachedTokens(hitBlocks - fetched, blockTokens, request.inputTokens);
    const peerTokens = Math.max(0, tokens - unfetched);
    const loads: number[] = [];
    const load = (tier: Tier, slots: readonly number[], tierTokens: number) => {
      if (slots.length === 0) return;
      // Of a prompt that is cached whole, the one token that is computed may be all that is left.
      if (tierTokens === 0 && hitBlocks > slots.length) tiers.unlease(tier, slots);
      else {
        loads.push(this.move('load', ask, tier, slots, tierTokens, 0));
        holding.moves++;
      }
    };
    load(Tier.dram, found.dram, tokens - hbmTokens - ssdTokens);
    load(Tier.ssd, found.ssd, ssdTokens);
    if (loads.length === 0) this.letPass(holding);
    tiers.noteReads(found);
    world.host.send(world.addresses.instance(instance), {
      kind: 'acquired',
      request: request.id,
      attempt: request.attempt,
      hitBlocks,
      cachedTokens: tokens,
      hbmTokens,
      ssdTokens,
      peerTokens: Math.min(peerTokens, tokens - hbmTokens - ssdTokens),
      loads,
    });
  }

  /** A load has ended: what was only passing through DRAM goes. */
  private loaded({ tier, instance, request, attempt }: Moving): void {
    const holding = this.memory(instance).of(request, attempt);
    if (holding !== undefined && tier === Tier.dram) this.letPass(holding);
  }

  /** Others who read a block meanwhile keep it, and so does its home. */
  private letPass(holding: Holding): void {
    const { homes, world } = this;
    const { pool } = this.tiers.dram;
    for (const block of holding.passing) {
      if (homes.homeOf(block) === world.node.id) continue;
      const slot = pool.findReady(block);
      if (slot >= 0 && !pool.isLeased(slot) && pool.pinOf(slot) === Pin.none) pool.invalidate(slot);
    }
    if (holding.passing.length > 0) holding.passing = [];
  }

  private onComputed({ request, instance, toBlock }: M.Computed): void {
    this.memory(instance).keep(request, toBlock);
  }

  private onSave(body: M.SaveBlocks): void {
    if (body.nodes.length > 0) this.writes.askAll(body, this.world.node.id, this.keeper(body));
    this.saveHere(body);
  }

  /** Saves the blocks that this node is to keep. */
  private saveHere(body: M.SaveBlocks): void {
    const { request, fromBlock, toBlock, nodes, answer } = body;
    const { dram, world, book } = this;
    if (dram.capacitySlots === 0) return;
    const { id: own } = world.node;
    const slots: number[] = [];
    let tokens = 0;
    const before = blockAt(request, fromBlock - 1, answer, fromBlock);
    let parent = before < 0 ? -1 : dram.find(before);
    const here = nodes.length === 0;
    for (let i = fromBlock; i < toBlock; i++) {
      const block = blockAt(request, i, answer, fromBlock);
      let slot = dram.find(block);
      if (slot >= 0) dram.touch(slot);
      else if (here || nodes[i - fromBlock] === own) {
        slot = dram.allocate(block, parent, i);
        if (slot < 0) {
          world.host.count(Count.droppedSave, toBlock - i);
          break;
        }
        slots.push(slot);
        tokens += book.tokensOf(body, i);
      }
      parent = slot;
    }
    if (slots.length === 0) return;
    this.keeper(body).moves++;
    this.move('save', body, Tier.dram, slots, tokens, body.step);
  }

  /** The memory that a save is made from. */
  private keeper({ request, instance }: M.SaveBlocks): Holding {
    const holding = this.memory(instance).of(request.id, request.attempt);
    assert(holding !== undefined, 'a save of a request that holds no memory');
    return holding;
  }

  private onWriteGrant(fact: M.Fact, grant: M.WriteGrant): void {
    const saver = this.writes.begin(fact.from, grant);
    if (saver !== null) this.moveEnded(saver, fact.atNs);
  }

  private onPark(from: Address, body: M.Park): void {
    const { request, attempt, instance, tokens } = body;
    const { world, book } = this;
    const holding = this.memory(instance).of(request, attempt);
    const bytes = (this.parkedTokens + tokens) * world.kv.bytesPerToken[Tier.dram];
    if (holding === undefined || bytes > world.settings.parkingBytes) {
      world.host.send(from, { kind: 'parked', request, attempt, ok: false });
      return;
    }
    this.parkedTokens += tokens;
    holding.parkedTokens = tokens;
    holding.moves++;
    world.host.count(Count.parked, 1);
    book.start(
      {
        kind: 'park',
        request,
        attempt,
        instance,
        slots: NONE,
        sources: NONE,
        tier: Tier.dram,
        exclusive: false,
        write: 0,
      },
      {
        source: book.hbmPlace(instance),
        target: book.place(Tier.dram, null),
        tokens,
        blocks: 0,
        afterStep: 0,
      },
    );
  }

  private move(
    kind: 'load' | 'save',
    ask: M.Acquire | M.SaveBlocks,
    tier: Tier,
    slots: readonly number[],
    tokens: number,
    afterStep: number,
  ): number {
    const { book } = this;
    const { request, instance } = ask;
    const cache = book.place(tier, slots);
    const working = book.hbmPlace(instance);
    const source = kind === 'load' ? cache : working;
    const target = kind === 'load' ? working : cache;
    return book.start(
      {
        kind,
        request: request.id,
        attempt: request.attempt,
        instance,
        slots,
        sources: NONE,
        tier,
        exclusive: false,
        write: 0,
      },
      { source, target, tokens, blocks: slots.length, afterStep },
    );
  }

  // --- ends of transfers ----------------------------------------------------------------------

  private onTransferEnded(nowNs: number, ended: M.TransferEnded): void {
    const moving = this.book.take(ended.transfer);
    if (moving === undefined) {
      this.world.host.count(Count.lateFact, 1);
      return;
    }
    const { kind, slots } = moving;
    switch (kind) {
      case 'fetch':
        return this.fetches.ended(moving.request, ended);
      case 'move':
        return this.movesOut.include(this.movesIn.ended(moving, ended));
      case 'demote':
      case 'promote':
      case 'prefetch':
        return this.tiers.moved(moving, ended);
      case 'load':
        if (!ended.ok) this.loadFailed(moving);
        this.tiers.unlease(moving.tier, slots);
        this.loaded(moving);
        break;
      case 'save':
        ended = this.book.saved(ended);
        if (moving.write === 0) this.tiers.settle(slots, ended);
        else this.writes.ended(moving, ended);
        break;
      case 'park':
        this.parkEnded(moving, nowNs);
        break;
      case 'unpark':
        this.unparkEnded(moving);
        break;
      default:
        unreachable(kind);
    }
    this.moveEnded(moving, nowNs);
  }

  /** Layers of all blocks come together: none of them is whole. */
  private loadFailed({ request, attempt, instance, tier, slots }: Moving): void {
    const { host, addresses } = this.world;
    const { pool } = this.tiers.at(tier);
    host.count(Count.transferFailed, 1);
    this.book.spoilSaves(request, attempt);
    this.writes.spoil(request, attempt);
    const blocks = slots.map((slot) => pool.block(slot));
    host.send(addresses.instance(instance), { kind: 'loadFailed', request, attempt, blocks });
  }

  private onTier(tier: Tier, lost: boolean): void {
    assert(tier === Tier.ssd, 'a tier was lost that is no drive');
    this.tiers.setSsdLost(lost);
  }

  private moveEnded(moving: Saver, nowNs: number): void {
    const memory = this.memory(moving.instance);
    const holding = memory.of(moving.request, moving.attempt);
    assert(holding !== undefined && holding.moves > 0, 'a move outlived its memory');
    holding.moves--;
    if (holding.released) this.free(memory, moving.request, moving.attempt, nowNs);
  }

  private unparkEnded({ request, attempt, instance }: Moving): void {
    const holding = this.memory(instance).of(request, attempt);
    if (holding === undefined || holding.released) return;
    this.parkedTokens -= holding.parkedTokens;
    holding.parkedTokens = 0;
    const to = this.world.addresses.instance(instance);
    this.world.host.send(to, { kind: 'unparked', request, attempt });
  }

  private parkEnded(moving: Moving, nowNs: number): void {
    const { request, attempt, instance } = moving;
    const memory = this.memory(instance);
    const holding = memory.of(request, attempt);
    if (holding === undefined || holding.released) return;
    memory.freeHbm(holding);
    const to = this.world.addresses.instance(instance);
    this.world.host.send(to, { kind: 'parked', request, attempt, ok: true });
    this.serveWaiting(memory, nowNs);
  }

  private onPin(body: M.PinBlocks): void {
    for (const pool of this.ssd === null ? [this.dram] : [this.dram, this.ssd]) {
      for (const block of body.blocks) {
        const slot = pool.findReady(block);
        if (slot >= 0) pool.pin(slot, body.pin);
      }
    }
  }

  // --- peers and the directory ----------------------------------------------------------------

  private onLeaseRequest(fact: M.Fact, body: M.LeaseRequest): void {
    const { world, leases, book } = this;
    const { leaseTtlNs, guardNs } = world.settings;
    const { tier, slots, more } = leases.grant(fact.from, body.lease, body.blocks);
    const range = book.range(tier, slots);
    const expiresNs = fact.atNs + leaseTtlNs + guardNs;
    leases.record(fact.from, body.lease, tier.tier, range, expiresNs);
    world.host.send(fact.from, {
      kind: 'leaseGrant',
      lease: body.lease,
      tier: tier.tier,
      more,
      ttlNs: leaseTtlNs,
      range,
    });
  }

  private onPeerReset(peer: Address, nowNs: number): void {
    const { addresses } = this.world;
    if (peer === CONDUCTOR) {
      this.tiers.dram.delta.resync = true;
      if (this.tiers.ssd !== null) this.tiers.ssd.delta.resync = true;
      for (const { delta } of this.hbmCaches) delta.resync = true;
    } else if (addresses.isStore(peer)) {
      const node = addresses.storeNode(peer);
      this.fetches.peerReset(node);
      this.movesIn.peerReset(node);
      this.movesOut.peerReset(node);
      for (const saver of this.writes.peerReset(node)) this.moveEnded(saver, nowNs);
    } else if (addresses.isInstance(peer)) this.onInstanceReset(addresses.instanceId(peer), nowNs);
  }

  /** An instance of this node began anew: its memory is empty, and nobody waits for it. */
  private onInstanceReset(instance: number, nowNs: number): void {
    const memory = this.memories.get(instance);
    if (memory === undefined) return;
    this.fetches.dropOf(instance);
    this.writes.spoilOf(instance);
    this.parkedTokens -= memory.releaseAll();
    memory.cache?.shrinkTo(0);
    this.serveWaiting(memory, nowNs);
  }

  private flushDeltas(): void {
    const { tiers, hbmCaches } = this;
    const { dram, ssd } = tiers;
    if (dram.delta.pending) this.flushDelta(dram.delta, dram.pool);
    if (ssd?.delta.pending) this.flushDelta(ssd.delta, ssd.pool);
    for (let i = 0; i < hbmCaches.length; i++) {
      const { delta: ofHbm, pool } = hbmCaches[i];
      if (ofHbm.pending) this.flushDelta(ofHbm, pool);
    }
  }

  private flushDelta(delta: DeltaBuffer, pool: TierPool): void {
    const { world } = this;
    if (delta.resync) {
      world.host.count(Count.resync, 1);
      world.host.send(CONDUCTOR, delta.takeInventory(this.incarnation, pool.readyBlocks()));
    } else world.host.send(CONDUCTOR, delta.take());
  }

  /** Whether a request holds working memory of an instance, or parked KV: for hosts. */
  isHeld(instance: number, request: number): boolean {
    return this.memories.get(instance)?.holds(request) ?? false;
  }

  private memory(instance: number): WorkingMemory {
    const memory = this.memories.get(instance);
    assert(memory !== undefined, 'an instance of another node');
    return memory;
  }
}
