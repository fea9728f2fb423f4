/**
 * Bringing blocks from a peer: ask for a lease, move what is granted, try another replica when the
 * move fails, and leave the rest to be recomputed.
 */
import type { CacheTiers } from './cache-tiers.ts';
import { assert } from './errors.ts';
import type { Homes } from './homes.ts';
import { Count, type Host, IdSource } from './host.ts';
import type { FetchBlocks, LeaseGrant, Replicate, TransferEnded } from './messages.ts';
import type { Request } from './request.ts';
import type { StoreSettings } from './settings.ts';
import { type AddressBook, type KvLayout, type Node, Tier } from './topology.ts';
import type { TransferBook } from './transfer-book.ts';

/** Blocks on their way. */
interface Fetch {
  /** Id of the request, or below -1 for a replica that no request waits for. */
  readonly key: number;
  readonly request: Request;
  readonly instance: number;
  sources: readonly number[];
  /** Empty, or the block up to which each source serves. */
  untils: readonly number[];
  /** Blocks before this one were asked of their homes. */
  homedTo: number;
  readonly keepsFetched: boolean;
  /** Sources asked so far. */
  tried: number;
  /** Indices into the request's blocks, and the slots filling for them. */
  readonly wanted: number[];
  readonly slots: number[];
  /** Slots kept from eviction until the request acquires, in DRAM and on SSD. */
  readonly kept: number[];
  readonly keptOnSsd: number[];
  /** Wanted blocks that are asked for after this move. */
  readonly later: number[];
  /** The source has more, in another tier. */
  goesOn: boolean;
  /** Indices that arrived. */
  readonly arrived: number[];
  /** Lease asked for or held, or 0. */
  lease: number;
  /** When it was asked for; what arrives later than its ttl - guard from then may be torn. */
  askedNs: number;
  validUntilNs: number;
  /** Move under way, or 0. */
  transfer: number;
}

export interface FetchWorld {
  readonly host: Host;
  readonly node: Node;
  readonly kv: KvLayout;
  readonly settings: StoreSettings;
  readonly addresses: AddressBook;
  readonly clock: { readonly nowNs: number };
}

const NONE: readonly number[] = [];

export class PeerFetches {
  readonly world: FetchWorld;
  private readonly tiers: CacheTiers;
  private readonly book: TransferBook;
  /** Of all leases that this store asks for. */
  readonly leaseIds: IdSource;
  /** Key of the last replica: they count down. */
  private lastReplica = -1;
  /** By request id. */
  private readonly fetches = new Map<number, Fetch>();
  /** Fetches that were given up while their move, which is the key, was under way. */
  private readonly orphans = new Map<number, Fetch>();
  /** Request of each lease that is asked for or held. */
  private readonly requestOf = new Map<number, number>();

  private readonly homes: Homes;

  constructor(
    world: FetchWorld,
    incarnation: number,
    tiers: CacheTiers,
    book: TransferBook,
    homes: Homes,
  ) {
    this.world = world;
    this.homes = homes;
    this.tiers = tiers;
    this.book = book;
    this.leaseIds = new IdSource(incarnation);
  }

  /** Fetches under way. */
  get size(): number {
    return this.fetches.size + this.orphans.size;
  }

  begin(body: FetchBlocks): void {
    this.drop(body.request.id);
    this.start(body, body.request.id);
  }

  /** Brings blocks that no request waits for. */
  replicate({ request, source, blocks }: Replicate): void {
    const ask = { request, instance: -1, sources: [source], untils: NONE, sourceBlocks: blocks };
    this.start({ ...ask, keepsFetched: true }, --this.lastReplica);
  }

  private start(body: Omit<FetchBlocks, 'kind'>, key: number): void {
    const { request, instance, sources, untils, sourceBlocks, keepsFetched } = body;
    const fetch: Fetch = {
      key,
      request,
      instance,
      sources,
      untils,
      homedTo: 0,
      keepsFetched,
      tried: 0,
      wanted: [],
      slots: [],
      kept: [],
      keptOnSsd: [],
      later: [],
      goesOn: false,
      arrived: [],
      lease: 0,
      askedNs: 0,
      validUntilNs: 0,
      transfer: 0,
    };
    this.fetches.set(key, fetch);
    this.allocate(fetch, sourceBlocks);
    this.askSource(fetch);
  }

  /** Keeps what is here and finds slots for what is not. */
  private allocate(fetch: Fetch, sourceBlocks: number): void {
    const { tiers } = this;
    const dram = tiers.dram.pool;
    const { blocks } = fetch.request;
    let parent = -1;
    for (let i = 0; i < sourceBlocks; i++) {
      let slot = dram.find(blocks.at(i));
      if (slot >= 0) {
        dram.lease(slot);
        fetch.kept.push(slot);
      } else if (!tiers.leaseOnSsd(blocks.at(i), fetch.keptOnSsd)) {
        slot = dram.allocate(blocks.at(i), parent, i);
        if (slot < 0) {
          this.world.host.count(Count.droppedFetch, sourceBlocks - i);
          return;
        }
        fetch.wanted.push(i);
        fetch.slots.push(slot);
      }
      parent = slot;
    }
  }

  /** Asks the next source for what is still missing, or gives up. */
  private askSource(fetch: Fetch): void {
    const { world, leaseIds, requestOf } = this;
    const { sources, untils } = fetch;
    const spread = untils.length > 0;
    const most = spread
      ? sources.length
      : Math.min(sources.length, 1 + world.settings.fetchRetries);
    if (spread) this.takeRun(fetch);
    fetch.lease = 0;
    if (fetch.slots.length === 0 || fetch.tried >= most) {
      this.abandon(fetch, 0, false);
      this.answer(fetch);
      return;
    }
    const lease = leaseIds.next();
    fetch.lease = lease;
    fetch.askedNs = world.clock.nowNs;
    requestOf.set(lease, fetch.key);
    const { blocks } = fetch.request;
    const ids = fetch.wanted.map((index) => blocks.at(index));
    const store = world.addresses.store(fetch.sources[fetch.tried++]);
    world.host.send(store, { kind: 'leaseRequest', lease, blocks: ids });
  }

  /** Puts off what the next source does not serve; passes over sources that serve nothing. */
  private takeRun(fetch: Fetch): void {
    const { untils, wanted } = fetch;
    while (fetch.tried < untils.length && wanted.length > 0 && wanted[0] >= untils[fetch.tried]) {
      fetch.tried++;
    }
    let run = 0;
    while (run < wanted.length && wanted[run] < untils[fetch.tried]) run++;
    if (run === wanted.length) return;
    fetch.later.push(...wanted.slice(run));
    this.abandon(fetch, run, false);
  }

  granted(grant: LeaseGrant): void {
    const { world, book } = this;
    const fetch = this.fetches.get(this.requestOf.get(grant.lease) ?? -1);
    if (fetch === undefined || fetch.lease !== grant.lease || fetch.transfer !== 0) {
      world.host.count(Count.lateFact, 1);
      return;
    }
    fetch.validUntilNs = fetch.askedNs + grant.ttlNs - world.settings.guardNs;
    // More than was asked for is no answer to it.
    const given = grant.range.slots.length;
    const granted = this.isLate(fetch) || given > fetch.slots.length ? 0 : given;
    if (granted < fetch.slots.length) {
      const missing = fetch.wanted.slice(granted);
      if (grant.more && granted > 0) {
        fetch.later.unshift(...missing);
        fetch.goesOn = true;
      } else if (this.askHomes(fetch, missing)) fetch.later.unshift(...missing);
      else {
        // Without them the rest of the prefix is of no use.
        const misses = missing.length + fetch.later.length;
        if (fetch.instance >= 0) world.host.count(Count.staleMiss, misses);
        fetch.later.length = 0;
      }
      this.abandon(fetch, granted, false);
    }
    if (granted === 0) {
      this.endLease(fetch);
      if (fetch.later.length > 0) this.retry(fetch, fetch.later.splice(0));
      else this.answer(fetch);
      return;
    }
    const { request, instance, slots } = fetch;
    let tokens = 0;
    for (const index of fetch.wanted) tokens += book.tokensOf(fetch, index);
    const moving = {
      kind: 'fetch' as const,
      request: fetch.key,
      attempt: request.attempt,
      instance,
      slots: [...slots],
      sources: NONE,
      tier: Tier.dram,
      exclusive: false,
      write: 0,
    };
    const node = fetch.sources[fetch.tried - 1];
    const source = { node, tier: grant.tier, instance: -1, slots: grant.range };
    const target = book.place(Tier.dram, [...slots]);
    const route = { source, target, tokens, blocks: granted, afterStep: 0 };
    fetch.transfer = book.start(moving, route);
  }

  /** A fetch's move has ended. */
  ended(request: number, ended: TransferEnded): void {
    const orphan = this.orphans.get(ended.transfer);
    const fetch = orphan ?? this.fetches.get(request);
    assert(fetch?.transfer === ended.transfer, 'a move without its fetch');
    fetch.transfer = 0;
    if (this.isLate(fetch)) ended = { ...ended, ok: false, blocksDone: 0 };
    this.endLease(fetch);
    const done = this.tiers.settle(fetch.slots, ended);
    if (orphan !== undefined) {
      this.orphans.delete(ended.transfer);
      return;
    }
    for (let i = 0; i < done; i++) {
      this.tiers.dram.pool.lease(fetch.slots[i]);
      fetch.kept.push(fetch.slots[i]);
      fetch.arrived.push(fetch.wanted[i]);
    }
    if (!ended.ok) this.world.host.count(Count.transferFailed, 1);
    const left = fetch.wanted.slice(done);
    const missing = [...left, ...fetch.later];
    // What the source has in another tier, it is asked for again.
    if (ended.ok && fetch.goesOn) fetch.tried--;
    fetch.goesOn = false;
    const lost = left.length > 0 && fetch.untils.length > 0;
    const cut = lost && !this.askHomes(fetch, left);
    fetch.slots.length = 0;
    fetch.wanted.length = 0;
    fetch.later.length = 0;
    const on = missing.length > 0 && ended.cause !== 'timeout' && !cut;
    if (on) this.retry(fetch, missing);
    else this.answer(fetch);
  }

  /**
   * Spread blocks that a source has not may have moved since it was named: their homes are asked
   * next, once. Answers whether the first of them has another home.
   */
  private askHomes(fetch: Fetch, missing: readonly number[]): boolean {
    const { homes, world } = this;
    const { sources, untils, tried, request } = fetch;
    if (untils.length === 0 || missing.length === 0 || missing[0] < fetch.homedTo) return false;
    const asked = sources[tried - 1];
    const to: number[] = [];
    const upTo: number[] = [];
    for (const index of missing) {
      const block = request.blocks.at(index);
      let home = homes.homeOf(block);
      if (home === asked) home = homes.formerHomeOf(block);
      if (home < 0 || home === asked || home === world.node.id) break;
      if (to.at(-1) === home) upTo.pop();
      else to.push(home);
      upTo.push(index + 1);
      fetch.homedTo = index + 1;
    }
    if (to.length === 0) return false;
    fetch.sources = [...sources.slice(0, tried), ...to, ...sources.slice(tried)];
    fetch.untils = [...untils.slice(0, tried), ...upTo, ...untils.slice(tried)];
    return true;
  }

  /** The owner may use the slots again. */
  private isLate(fetch: Fetch): boolean {
    return this.world.clock.nowNs > fetch.validUntilNs;
  }

  /** Fresh slots for what did not arrive, then another source. */
  private retry(fetch: Fetch, missing: readonly number[]): void {
    const dram = this.tiers.dram.pool;
    const { blocks } = fetch.request;
    for (const index of missing) {
      const here = dram.find(blocks.at(index));
      if (here >= 0) {
        dram.lease(here);
        fetch.kept.push(here);
        continue;
      }
      const parent = index > 0 ? dram.find(blocks.at(index - 1)) : -1;
      const slot = dram.allocate(blocks.at(index), parent, index);
      if (slot < 0) break;
      fetch.wanted.push(index);
      fetch.slots.push(slot);
    }
    this.askSource(fetch);
  }

  /** Blocks that were fetched for a request alone and go when it has loaded them. */
  passing(request: Request): readonly number[] {
    const fetch = this.fetches.get(request.id);
    if (fetch === undefined || fetch.keepsFetched) return NONE;
    return fetch.arrived.map((index) => request.blocks.at(index));
  }

  /** The request holds leases of its own now. How many of its blocks [from, hit) were fetched. */
  finish(request: Request, from: number, hit: number): number {
    const fetch = this.fetches.get(request.id);
    if (fetch === undefined) return 0;
    this.unkeep(fetch);
    this.fetches.delete(request.id);
    let fetched = 0;
    for (const index of fetch.arrived) if (index >= from && index < hit) fetched++;
    return fetched;
  }

  /** An attempt of a request is over: the fetch of a later one goes on. */
  release(request: number, attempt: number): void {
    if (this.fetches.get(request)?.request.attempt === attempt) this.drop(request);
  }

  /** The request was cancelled or came again. A move under way ends by itself: then its lease. */
  drop(request: number): void {
    const fetch = this.fetches.get(request);
    if (fetch === undefined) return;
    this.unkeep(fetch);
    this.fetches.delete(request);
    if (fetch.transfer !== 0) {
      this.orphans.set(fetch.transfer, fetch);
      return;
    }
    this.abandon(fetch, 0, false);
    if (fetch.lease !== 0) this.endLease(fetch);
  }

  /** The instance that asked is gone. */
  dropOf(instance: number): void {
    for (const { request, instance: of } of [...this.fetches.values()]) {
      if (of === instance) this.drop(request.id);
    }
  }

  /** Questions to this store may be lost: ask the next one. */
  peerReset(node: number): void {
    for (const fetch of [...this.fetches.values()]) {
      const waits = fetch.lease !== 0 && fetch.transfer === 0;
      if (!waits || fetch.sources[fetch.tried - 1] !== node) continue;
      this.endLease(fetch);
      this.askHomes(fetch, fetch.wanted);
      this.askSource(fetch);
    }
  }

  private endLease(fetch: Fetch): void {
    const { world } = this;
    const store = world.addresses.store(fetch.sources[fetch.tried - 1]);
    world.host.send(store, { kind: 'leaseRelease', lease: fetch.lease });
    this.requestOf.delete(fetch.lease);
    fetch.lease = 0;
  }

  private answer(fetch: Fetch): void {
    if (fetch.instance < 0) {
      this.unkeep(fetch);
      this.fetches.delete(fetch.key);
      return;
    }
    const { request, instance, arrived } = fetch;
    const { host, addresses } = this.world;
    host.send(addresses.instance(instance), {
      kind: 'fetched',
      request: request.id,
      attempt: request.attempt,
      blocks: arrived.length,
    });
  }

  private unkeep(fetch: Fetch): void {
    this.tiers.unlease(Tier.dram, fetch.kept);
    if (fetch.keptOnSsd.length > 0) this.tiers.unlease(Tier.ssd, fetch.keptOnSsd);
    fetch.kept.length = 0;
    fetch.keptOnSsd.length = 0;
  }

  private abandon(fetch: Fetch, from: number, quarantine: boolean): void {
    const { pool } = this.tiers.dram;
    for (let i = from; i < fetch.slots.length; i++) pool.abandon(fetch.slots[i], quarantine);
    fetch.slots.length = from;
    fetch.wanted.length = from;
  }
}
