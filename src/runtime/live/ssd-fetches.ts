/**
 * Both ends of a fetch from a peer's SSD: the reader asks for a few leased blocks at a time, the
 * owner reads them into buffers and offers those.
 */
import type { Transfer } from '../../core/host.ts';
import type { TransferEnded } from '../../core/messages.ts';
import { Tier } from '../../core/topology.ts';
import type { Arrivals } from './arrivals.ts';
import type { Offer, Wanted } from './node-words.ts';
import type { Offers } from './offers.ts';
import type { SsdMoves } from './ssd-moves.ts';
import { type Ended, endOf, firstId, type LiveTransfersWorld, sumsOf } from './transfer-kit.ts';

/** Blocks of a peer's SSD that are asked for at once. */
const WANTED_BLOCKS = 8;

/** Blocks of a peer's SSD on their way, a few at a time. */
interface Fetching {
  readonly node: number;
  readonly transfer: Transfer;
  done: number;
  /** Blocks are moving into its slots; the peer was lost meanwhile. */
  moving: boolean;
  lost: boolean;
  readonly ended: Ended;
}

export interface SsdFetchParts {
  readonly arrivals: Arrivals;
  readonly ssd: SsdMoves;
  readonly offers: Offers;
}

export class SsdFetches {
  private readonly world: LiveTransfersWorld;
  private readonly arrivals: Arrivals;
  private readonly ssd: SsdMoves;
  private readonly offers: Offers;
  private lastId: number;
  /** By id of what was asked for. */
  private readonly fetching = new Map<number, Fetching>();
  /** Asked for while no buffer was free. */
  private waiting: Wanted[] = [];

  constructor(world: LiveTransfersWorld, { arrivals, ssd, offers }: SsdFetchParts) {
    this.world = world;
    this.arrivals = arrivals;
    this.ssd = ssd;
    this.offers = offers;
    this.lastId = firstId(world);
  }

  /** Peers that wait for a buffer. */
  get open(): number {
    return this.waiting.length;
  }

  start(transfer: Transfer, ended: Ended): void {
    const id = ++this.lastId;
    const { node } = transfer.source;
    this.fetching.set(id, { node, transfer, done: 0, moving: false, lost: false, ended });
    this.askMore(id);
  }

  private askMore(id: number): void {
    const { node, transfer, done } = this.fetching.get(id)!;
    const { segment, slots, generations } = transfer.source.slots!;
    const to = done + WANTED_BLOCKS;
    this.world.say(node, [
      'wanted',
      {
        id,
        node: this.world.node,
        segment,
        slots: slots.slice(done, to),
        generations: generations.slice(done, to),
      },
    ]);
  }

  /** What was asked for is offered: all of it, or as many leading blocks as could be read. */
  take(id: number, offer: Offer): void {
    const fetching = this.fetching.get(id);
    if (fetching === undefined || fetching.node !== offer.node || fetching.moving) {
      this.world.say(offer.node, ['taken', offer.id, 0]);
      return;
    }
    const { transfer, done } = fetching;
    const { slots, checksums } = transfer.source.slots!;
    const targets = (transfer.target.slots?.slots ?? []).slice(done, done + WANTED_BLOCKS);
    const tier = this.world.slotsOf(Tier.dram);
    const asked = targets.map((slot) => tier.block(slot));
    const fits = offer.blocks.every((block, i) => block === asked[i]);
    const moves = fits ? this.arrivals.offered(offer, targets) : [];
    const promised = moves.map((move, i) => ({ ...move, promised: checksums[done + i] >>> 0 }));
    fetching.moving = true;
    this.arrivals.mover.move(promised, (end) => {
      this.world.say(offer.node, ['taken', offer.id, end.done]);
      fetching.moving = false;
      fetching.done += end.done;
      const whole = end.done === asked.length && !fetching.lost;
      if (whole && fetching.done < slots.length) {
        this.askMore(id);
        return;
      }
      this.endFetch(id, whole ? '' : end.cause === '' ? 'lost' : end.cause);
      // Those that had not been asked for yet too.
      const all = transfer.target.slots?.slots ?? [];
      this.arrivals.release(all.slice(fetching.done), end);
    });
  }

  private endFetch(id: number, cause: TransferEnded['cause']): void {
    const { transfer, done, ended } = this.fetching.get(id)!;
    this.fetching.delete(id);
    const tier = this.world.slotsOf(Tier.dram);
    const targets = transfer.target.slots?.slots ?? [];
    const checksums = sumsOf(
      this.world,
      targets.map((slot) => tier.block(slot)),
    );
    ended(endOf(transfer, { done, cause }, checksums));
  }

  /** A peer has leased what lies on this node's SSD: offers it from buffers. */
  serve(wanted: Wanted): void {
    const { memory, incarnation, ssd } = this.world;
    const { id, node, segment, slots } = wanted;
    const buffers: number[] = [];
    for (let i = 0; i < Math.min(slots.length, WANTED_BLOCKS); i++) buffers.push(memory.buffer());
    if (buffers.includes(-1)) {
      for (const buffer of buffers) if (buffer >= 0) memory.unuse(buffer);
      this.waiting.push(wanted);
      return;
    }
    const tier = ssd === null || segment !== incarnation ? null : this.world.slotsOf(Tier.ssd);
    const asked: number[] = [];
    const blocks: number[] = [];
    for (const [i, slot] of slots.slice(0, buffers.length).entries()) {
      if (tier?.generations[slot] !== wanted.generations[i]) break;
      asked.push(slot);
      blocks.push(tier.block(slot));
    }
    this.ssd.readInto(asked, blocks, buffers.slice(0, asked.length), ({ done }) => {
      this.offers.give(
        node,
        { kind: 'wanted', id },
        blocks.slice(0, done),
        buffers.slice(0, done),
        () => {},
      );
      for (const buffer of buffers) memory.unuse(buffer);
      this.serveWaiting();
    });
  }

  serveWaiting(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const wanted of waiting) this.serve(wanted);
  }

  nodeLost(node: number): void {
    this.waiting = this.waiting.filter((wanted) => wanted.node !== node);
    for (const [id, fetching] of [...this.fetching]) {
      if (fetching.node !== node) continue;
      if (fetching.moving) fetching.lost = true;
      else this.endFetch(id, 'lost');
    }
  }
}
