/**
 * ObjectStore: the objects that clients keep on one node, under names, in the same tiers and with
 * the same leases and pins as KV blocks. What an object holds is the client's affair; its checksums
 * are what the writer says. An object lies on a node whole or not at all: when a policy evicts one
 * of its blocks from the last tier that has it, the others go too.
 *
 * There is no directory of objects: a name's hash ranks the nodes (kit/rendezvous.ts), and each is
 * the truth about what it has.
 */
import { CacheTiers, HEARTBEAT, type TiersWorld } from './cache-tiers.ts';
import { assert } from './errors.ts';
import { Count, type Machine } from './host.ts';
import { LeaseTable } from './lease-table.ts';
import type * as M from './messages.ts';
import * as O from './object-messages.ts';
import { ObjectPuts, type OpenPut } from './object-puts.ts';
import { ObjectTable, type StoredObject } from './object-table.ts';
import type { SharedTier } from './shared-tier.ts';
import { Restorable } from './snapshot.ts';
import { type Address, Pin, Tier } from './topology.ts';
import { TransferBook } from './transfer-book.ts';

export interface ObjectWorld extends TiersWorld {
  /** The policies' clock. */
  readonly clock: { nowNs: number };
  /** Of the blocks in all tiers. */
  readonly slotBytes: number;
  /** Slots of the largest object. */
  readonly slotsMax: number;
}

/** A read that waits for objects to come up from SSD. */
interface PendingRead {
  readonly from: Address;
  readonly body: O.ObjectsRead;
  turns: number;
}

/** Moves whose end a read waits for: in a small tier what it brings up can push itself out. */
const TURNS_MAX = 64;
const LIST_MAX = 1000;

export class ObjectStore extends Restorable implements Machine {
  readonly world: ObjectWorld;
  readonly tiers: CacheTiers;
  readonly incarnation: number;
  readonly table = new ObjectTable();
  /** Objects that policies gave up. */
  evicted = 0;
  private readonly book: TransferBook;
  private readonly leases: LeaseTable;
  private readonly puts = new ObjectPuts();
  private pending: PendingRead[] = [];

  constructor(world: ObjectWorld, incarnation: number) {
    super();
    this.world = world;
    this.incarnation = incarnation;
    this.book = new TransferBook(world, incarnation);
    this.tiers = new CacheTiers(world, 0, this.book);
    this.leases = new LeaseTable(this.tiers);
  }

  handle(fact: M.Fact): void {
    const { atNs } = fact;
    this.world.clock.nowNs = atNs;
    if (atNs >= this.leases.nextExpiryNs) this.leases.expire(atNs);
    if (atNs >= this.puts.nextExpiryNs) {
      for (const put of this.puts.expired(atNs)) this.giveUp(put);
    }
    this.dispatch(fact, fact.body);
    this.tiers.flush();
    this.settleChanges();
  }

  private dispatch({ from, atNs }: M.Fact, body: M.Body): void {
    switch (body.kind) {
      case 'objectsFind':
        return this.answer(from, body, ({ sizeBytes }) => sizeBytes);
      case 'objectsRead':
        return this.onRead({ from, body, turns: 0 });
      case 'leaseRelease':
        return this.leases.end(from, body.lease);
      case 'objectsPut':
        return this.onPut(from, body);
      case 'objectsWritten':
        return this.onWritten(from, body);
      case 'objectsRemove':
        return this.answer(from, body, (object) => this.remove(object));
      case 'objectsPin':
        return this.answer(from, body, (object) => this.pin(object, body.pin));
      case 'objectsList':
        return this.onList(from, body);
      case 'objectsDescribe':
        return this.onDescribe(from, body);
      case 'transferEnded':
        return this.onTransferEnded(body);
      case 'slotReleased':
        return this.tiers.at(body.tier).pool.releaseQuarantine(body.slot);
      case 'wake':
        if (body.token === HEARTBEAT) this.tiers.heartbeat();
        return;
      case 'peerReset':
        return this.onClientReset(body.peer, atNs);
      default:
        throw new Error(`an object store does not take ${body.kind}`);
    }
  }

  /** Every tier against itself, and objects against tiers; for tests. */
  check(): void {
    this.tiers.check();
    for (const [{ blocks, ready, name }] of this.table.from(0)) {
      const whole = blocks.every((block) => this.isSomewhere(block));
      assert(!ready || whole, `a part of ${name} has gone`);
    }
  }

  /** Nothing is leased, written or moving once all that can run out has run out; for tests. */
  checkIdle(nowNs: number): void {
    this.leases.expire(nowNs);
    for (const put of this.puts.expired(nowNs)) this.giveUp(put);
    assert(this.book.size === 0, 'a transfer is under way');
    assert(this.puts.size === 0, 'an object is being written');
    assert(this.pending.length === 0, 'a read waits');
    this.tiers.checkIdle();
  }

  // --- by keys --------------------------------------------------------------------------------

  /** Answers a number for each object that is there. */
  private answer(
    from: Address,
    { ask, keys }: O.ObjectsFind | O.ObjectsRemove | O.ObjectsPin,
    of: (object: StoredObject) => number,
  ): void {
    const words = wordsOf(keys);
    const sizes = new Float64Array(words.length >> 2);
    for (let i = 0; i < sizes.length; i++) {
      const object = this.table.find(words, 4 * i);
      sizes[i] = object === null || !object.ready ? O.ABSENT_SIZE : of(object);
    }
    this.world.host.send(from, { kind: 'objectsFound', ask, sizes });
  }

  private pin(object: StoredObject, pin: Pin): number {
    object.pin = pin;
    for (const { pool } of this.all()) {
      for (const block of object.blocks) {
        const slot = pool.findReady(block);
        if (slot >= 0) pool.pin(slot, pin);
      }
    }
    return object.sizeBytes;
  }

  private remove(object: StoredObject): number {
    this.table.remove(object);
    for (const { pool } of this.all()) {
      for (const block of object.blocks) {
        const slot = pool.findReady(block);
        if (slot >= 0) pool.invalidate(slot);
      }
    }
    return object.sizeBytes;
  }

  // --- reading --------------------------------------------------------------------------------

  private onRead(read: PendingRead): void {
    const words = wordsOf(read.body.keys);
    const objects: (StoredObject | null)[] = [];
    for (let at = 0; at < words.length; at += 4) objects.push(this.whole(words, at));
    const isUp = this.raise(objects);
    // Moves under way bring it up, or make room for it.
    if (!isUp && this.book.size > 0 && read.turns++ < TURNS_MAX) this.pending.push(read);
    else this.lease(read, objects);
  }

  /** An object that can be read from one tier or the other. */
  private whole(words: Int32Array, at: number): StoredObject | null {
    const object = this.table.find(words, at);
    if (object === null || !object.ready) return null;
    if (object.blocks.every((block) => this.isSomewhere(block))) return object;
    this.remove(object);
    return null;
  }

  /** Starts to bring up what is not in DRAM. True: all of it is there. */
  private raise(objects: readonly (StoredObject | null)[]): boolean {
    const { tiers } = this;
    const { pool } = tiers.dram;
    let isUp = true;
    if (tiers.ssd === null) return isUp;
    for (const object of objects) {
      for (const block of object?.blocks ?? []) {
        if (pool.findReady(block) >= 0) continue;
        isUp = false;
        tiers.raise(block);
      }
    }
    // Moves that were decided start now.
    if (!isUp) tiers.flush();
    return isUp;
  }

  private lease({ from, body }: PendingRead, objects: readonly (StoredObject | null)[]): void {
    const { tiers, world, leases, book } = this;
    const { pool } = tiers.dram;
    const { lease } = body;
    const sizes = new Float64Array(objects.length);
    const slots: number[] = [];
    leases.end(from, lease);
    for (const [i, object] of objects.entries()) {
      sizes[i] = object?.sizeBytes ?? O.ABSENT_SIZE;
      if (object === null) continue;
      const own = object.blocks.map((block) => pool.findReady(block));
      if (own.includes(-1)) sizes[i] = O.STUCK_SIZE;
      else slots.push(...own);
    }
    for (const slot of slots) {
      pool.touch(slot);
      pool.lease(slot);
    }
    const { leaseTtlNs: ttlNs, guardNs } = world.settings;
    const range = book.range(tiers.dram, slots);
    leases.record(from, lease, Tier.dram, range, world.clock.nowNs + ttlNs + guardNs);
    tiers.noteReads({ hitBlocks: 0, dram: slots, ssd: [], endsOnSsd: false });
    world.host.send(from, {
      kind: 'objectsLeased',
      lease,
      ttlNs,
      segment: range.segment,
      sizes,
      slots: Int32Array.from(slots),
      generations: Int32Array.from(range.generations),
      checksums: Int32Array.from(range.checksums),
    });
  }

  // --- writing --------------------------------------------------------------------------------

  private onPut(from: Address, { put, names, sizes, pin }: O.ObjectsPut): void {
    const { host } = this.world;
    if (this.puts.has(from, put)) {
      host.count(Count.lateFact, 1);
      return;
    }
    const verdicts = new Uint8Array(names.length);
    const objects: StoredObject[] = [];
    const slots: number[] = [];
    for (const [i, name] of names.entries()) {
      verdicts[i] = this.reserve(name, sizes[i], pin, objects, slots);
      this.settleChanges();
    }
    if (objects.length > 0) this.puts.add(from, put, objects, slots);
    const { segment, generations } = this.book.range(this.tiers.dram, slots);
    host.send(from, {
      kind: 'objectsGranted',
      put,
      segment,
      verdicts,
      slots: Int32Array.from(slots),
      generations: Int32Array.from(generations),
    });
  }

  /** Slots for one object, all or none. */
  private reserve(
    name: string,
    sizeBytes: number,
    pin: Pin,
    objects: StoredObject[],
    slots: number[],
  ): O.PutVerdict {
    const { table, world } = this;
    const { pool } = this.tiers.dram;
    const known = table.findName(name);
    if (known !== null) return known.ready ? O.PutVerdict.exists : O.PutVerdict.busy;
    const count = slotsOf(sizeBytes, world.slotBytes);
    if (count > world.slotsMax || count > pool.capacitySlots) return O.PutVerdict.tooLarge;
    const isFree = (block: number) => !this.isSomewhere(block);
    const object = table.add(name, sizeBytes, count, pin, isFree);
    const own: number[] = [];
    for (const [depth, block] of object.blocks.entries()) {
      const slot = pool.allocate(block, own.at(-1) ?? -1, depth);
      if (slot < 0) break;
      own.push(slot);
    }
    if (own.length < count) {
      for (const slot of own) pool.abandon(slot, false);
      table.remove(object);
      return this.book.size > 0 ? O.PutVerdict.later : O.PutVerdict.noSpace;
    }
    objects.push(object);
    slots.push(...own);
    return O.PutVerdict.granted;
  }

  private onWritten(from: Address, { put, done, checksums }: O.ObjectsWritten): void {
    const open = this.puts.take(from, put);
    if (open !== null) {
      let at = 0;
      for (const [i, object] of open.objects.entries()) {
        const to = at + object.blocks.length;
        const slots = open.slots.slice(at, to);
        if (done[i] === 1) this.publish(object, slots, checksums.slice(at, to));
        else this.abandon(object, slots);
        at = to;
      }
    }
    this.world.host.send(from, { kind: 'objectsStored', put, ok: open !== null });
  }

  private publish(object: StoredObject, slots: readonly number[], checksums: Int32Array): void {
    const { pool } = this.tiers.dram;
    object.ready = true;
    if (object.pin !== Pin.none) for (const slot of slots) pool.pin(slot, object.pin);
    const ended = { ok: true, blocksDone: slots.length, cause: '', checksums } as const;
    this.tiers.settle(slots, { kind: 'transferEnded', transfer: 0, ...ended });
  }

  private abandon(object: StoredObject, slots: readonly number[]): void {
    for (const slot of slots) this.tiers.dram.pool.abandon(slot, false);
    this.table.remove(object);
  }

  private giveUp({ objects, slots }: OpenPut): void {
    let at = 0;
    for (const object of objects) {
      this.abandon(object, slots.slice(at, at + object.blocks.length));
      at += object.blocks.length;
    }
  }

  private onClientReset(client: Address, nowNs: number): void {
    const { leaseTtlNs, guardNs } = this.world.settings;
    this.puts.clientReset(client, nowNs + leaseTtlNs + guardNs);
    this.pending = this.pending.filter(({ from }) => from !== client);
  }

  // --- names ----------------------------------------------------------------------------------

  private onList(from: Address, { ask, prefix, cursor, limit }: O.ObjectsList): void {
    const objects: O.ListedObject[] = [];
    let next = 0;
    for (const [object, after] of this.table.from(cursor)) {
      if (!object.ready || !object.name.startsWith(prefix)) continue;
      objects.push(this.listed(object));
      if (objects.length < Math.min(limit, LIST_MAX)) continue;
      next = after;
      break;
    }
    this.world.host.send(from, { kind: 'objectsListed', ask, objects, cursor: next });
  }

  private onDescribe(from: Address, { ask, names }: O.ObjectsDescribe): void {
    const objects: O.ListedObject[] = [];
    for (const name of names) {
      const object = this.table.findName(name);
      if (object?.ready === true) objects.push(this.listed(object));
    }
    this.world.host.send(from, { kind: 'objectsListed', ask, objects, cursor: 0 });
  }

  private listed({ name, sizeBytes, pin, blocks }: StoredObject): O.ListedObject {
    const { dram, ssd } = this.tiers;
    const isIn = (tier: SharedTier | null) =>
      tier !== null && blocks.every((block) => tier.pool.findReady(block) >= 0);
    const leased = blocks.some((block) => {
      const slot = dram.pool.findReady(block);
      return slot >= 0 && dram.pool.isLeased(slot);
    });
    return { name, sizeBytes, pin, inDram: isIn(dram), onSsd: isIn(ssd), leased };
  }

  // --- tiers ----------------------------------------------------------------------------------

  private onTransferEnded(ended: M.TransferEnded): void {
    const moving = this.book.take(ended.transfer);
    if (moving === undefined) {
      this.world.host.count(Count.lateFact, 1);
      return;
    }
    this.tiers.moved(moving, ended);
    this.settleChanges();
    const { pending } = this;
    this.pending = [];
    for (const read of pending) this.onRead(read);
  }

  private all(): readonly SharedTier[] {
    const { dram, ssd } = this.tiers;
    return ssd === null ? [dram] : [dram, ssd];
  }

  /** In any state. */
  private isSomewhere(block: number): boolean {
    const { dram, ssd } = this.tiers;
    return dram.pool.find(block) >= 0 || (ssd !== null && ssd.pool.find(block) >= 0);
  }

  /** What the tiers have and have not any more: objects of which a part is gone go. */
  private settleChanges(): void {
    for (let again = true; again; ) {
      again = false;
      for (const { delta, pool } of this.all()) {
        if (!delta.pending) continue;
        again = true;
        const { stored, removed } = delta.take();
        for (const block of stored) {
          const slot = pool.findReady(block);
          // It came after its object had been removed.
          if (slot >= 0 && this.table.ownerOf(block) === null) pool.invalidate(slot);
        }
        for (const block of removed) {
          const object = this.table.ownerOf(block);
          if (object === null || !object.ready || this.isSomewhere(block)) continue;
          this.evicted++;
          this.remove(object);
        }
      }
    }
  }
}

/** Slots that so many bytes take. */
export function slotsOf(sizeBytes: number, slotBytes: number): number {
  return Math.max(1, Math.ceil(sizeBytes / slotBytes));
}

/** Keys as words; a key is 16 bytes. Not as a view: short arrays live on the heap, views do not. */
function wordsOf(keys: Uint8Array): Int32Array {
  const words = new Int32Array(4 * (keys.length >> 4));
  for (let w = 0, at = 0; w < words.length; w++, at += 4) {
    words[w] = keys[at] | (keys[at + 1] << 8) | (keys[at + 2] << 16) | (keys[at + 3] << 24);
  }
  return words;
}
