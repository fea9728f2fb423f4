/**
 * The transfers of one live node, block by block, each checked against what its block id says.
 * Within the node a block moves between slots of its own pool, or between the pool and the SSD.
 * Between nodes everything is read by who receives it (one-sided, and verified where it arrives):
 * a fetch reads the slots that were leased; streams and saves are offered to the node that is to
 * have them; what lies on a peer's SSD is asked for, and offered from buffers there.
 */
import type { Place, Transfer } from '../../core/host.ts';
import { Tier } from '../../core/topology.ts';
import { Arrivals } from './arrivals.ts';
import type { BlockMove } from './block-mover.ts';
import { PARKED } from './live-memory.ts';
import type { NodeWord, Offer } from './node-words.ts';
import { Offers } from './offers.ts';
import { SsdFetches } from './ssd-fetches.ts';
import { SsdMoves } from './ssd-moves.ts';
import { allOf, type Ended, type LiveTransfersWorld, madePage, pageOf } from './transfer-kit.ts';

export class LiveTransfers {
  private readonly world: LiveTransfersWorld;
  private readonly arrivals: Arrivals;
  private readonly ssd: SsdMoves;
  private readonly offers: Offers;
  private readonly ssdFetches: SsdFetches;
  private started = 0;

  constructor(world: LiveTransfersWorld) {
    this.world = world;
    const arrivals = new Arrivals(world);
    const ssd = new SsdMoves(world);
    const offers = new Offers(world, () => this.ssdFetches.serveWaiting());
    this.arrivals = arrivals;
    this.ssd = ssd;
    this.offers = offers;
    this.ssdFetches = new SsdFetches(world, { arrivals, ssd, offers });
  }

  /** The node is about to close. */
  stop(): void {
    this.arrivals.mover.stop();
  }

  get movedBytes(): number {
    return this.arrivals.mover.movedBytes;
  }

  get verifiedBlocks(): number {
    return this.arrivals.mover.verifiedBlocks + this.ssd.verifiedBlocks;
  }

  /** Transfers, offers and questions whose end has not come. */
  get open(): number {
    return this.started + this.offers.open + this.arrivals.taking + this.ssdFetches.open;
  }

  /** `toToken`: the end of what a stream sends. `ended` is called once, later. */
  start(transfer: Transfer, toToken: number, onEnd: Ended): void {
    const { memory, node } = this.world;
    this.started++;
    const ended: Ended = (end) => {
      this.started--;
      onEnd(end);
    };
    const { kind, source, target, request } = transfer;
    switch (kind) {
      case 'load':
        if (source.tier === Tier.ssd)
          return this.ssd.read(transfer, this.ssd.pages(transfer), ended);
        return this.arrivals.start(transfer, this.loads(transfer), ended);
      case 'save':
        if (target.node !== node) return this.offers.saveThere(transfer, ended);
        return this.arrivals.start(transfer, this.saves(transfer), ended);
      case 'fetch':
      case 'move':
        if (source.tier === Tier.ssd) return this.ssdFetches.start(transfer, ended);
        return this.arrivals.start(transfer, this.fetches(transfer), ended);
      case 'stream':
        return this.offers.stream(transfer, toToken, ended);
      case 'demote':
        return this.ssd.demote(transfer, ended);
      case 'promote':
      case 'prefetch':
        return this.ssd.read(transfer, target.slots?.slots ?? null, ended);
      case 'park':
        memory.hand(source.instance, PARKED, request);
        return queueMicrotask(() => ended(allOf(transfer, null)));
      case 'unpark':
        memory.hand(PARKED, target.instance, request);
        return queueMicrotask(() => ended(allOf(transfer, null)));
    }
  }

  hear(node: number, word: NodeWord): void {
    switch (word[0]) {
      case 'offer':
        return this.take({ ...word[1], node });
      case 'taken':
        return this.offers.taken(node, word[1], word[2]);
      case 'wanted':
        return this.ssdFetches.serve({ ...word[1], node });
    }
  }

  /** What was said to a node, or by it, may be lost. */
  nodeLost(node: number): void {
    this.ssdFetches.nodeLost(node);
    this.offers.nodeLost(node);
  }

  private take(offer: Offer): void {
    const { to } = offer;
    if (to.kind === 'wanted') this.ssdFetches.take(to.id, offer);
    else this.arrivals.take(offer, to);
  }

  // --- blocks that are in some pool -----------------------------------------------------------

  private loads({ request, source, target }: Transfer): BlockMove[] | null {
    const { generations } = this.world.slotsOf(Tier.dram);
    return this.each(source, (slot, block) => {
      const page = pageOf(this.world, target.instance, request, block);
      return page < 0 ? null : this.within(slot, generations[slot], page, block);
    });
  }

  private saves({ request, source, target }: Transfer): BlockMove[] | null {
    return this.each(target, (slot, block) => {
      const page = madePage(this.world, source.instance, request, block);
      return page < 0 ? null : this.within(page, this.world.memory.generationOf(page), slot, block);
    });
  }

  private fetches({ source, target }: Transfer): BlockMove[] | null {
    const peer = this.arrivals.segmentOf(source.node);
    const range = source.slots;
    if (peer === null || range === null || peer.incarnation !== range.segment) return null;
    return this.each(target, (slot, block, i) => ({
      segment: peer.segment,
      remoteSlot: range.slots[i],
      generation: range.generations[i],
      slot,
      block,
      promised: range.checksums[i] >>> 0,
    }));
  }

  private within(from: number, generation: number, slot: number, block: number): BlockMove {
    const { own } = this.world.memory;
    return { segment: own, remoteSlot: from, generation, slot, block, promised: null };
  }

  /** A move for each slot of a place in the own DRAM; null when one can't be. */
  private each(
    cached: Place,
    make: (slot: number, block: number, i: number) => BlockMove | null,
  ): BlockMove[] | null {
    const tier = this.world.slotsOf(Tier.dram);
    const moves: BlockMove[] = [];
    for (const [i, slot] of (cached.slots?.slots ?? []).entries()) {
      const move = make(slot, tier.block(slot), i);
      if (move === null) return null;
      moves.push(move);
    }
    return moves;
  }
}
