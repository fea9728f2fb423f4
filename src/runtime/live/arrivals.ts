/**
 * Blocks that arrive in slots and pages of a node's pool, each checked against what its id says;
 * from its own pool, or read out of a peer's.
 */
import type { Transfer } from '../../core/host.ts';
import { Tier } from '../../core/topology.ts';
import type { Segment } from '../data-plane.ts';
import { type BlockMove, BlockMover, type MovesEnd } from './block-mover.ts';
import type { Offer, OfferedTo } from './node-words.ts';
import { type Ended, endOf, type LiveTransfersWorld, none, sumsOf } from './transfer-kit.ts';

type OfferedHere = Exclude<OfferedTo, { kind: 'wanted' }>;

export class Arrivals {
  readonly mover: BlockMover;
  /** Peers' offers under way. */
  taking = 0;
  private readonly world: LiveTransfersWorld;
  /** Slots of transfers that timed out and whose operations have not ended. */
  private readonly stuck = new Set<number>();

  constructor(world: LiveTransfersWorld) {
    this.world = world;
    this.mover = new BlockMover({
      plane: world.plane,
      memory: world.memory,
      generationAt: (slot) => world.slotsOf(Tier.dram).generations[slot],
      onWrongByte: (what) => world.onWrongByte(what),
      onReleased: (slot) => {
        if (this.stuck.delete(slot)) world.slotReleased(Tier.dram, slot);
      },
    });
  }

  start(transfer: Transfer, moves: readonly BlockMove[] | null, ended: Ended): void {
    if (moves === null) {
      queueMicrotask(() => ended(none('lost')));
      return;
    }
    const checksums = sumsOf(
      this.world,
      moves.map(({ block }) => block),
    );
    this.mover.move(moves, (end) => {
      ended(endOf(transfer, end, checksums));
      if (transfer.target.tier !== Tier.dram) return;
      const left = moves.slice(end.done).map(({ slot }) => slot);
      this.release(left, end);
    });
  }

  /** After a timeout the store keeps what did not arrive until it hears of each slot. */
  release(left: readonly number[], { cause, stuck }: MovesEnd): void {
    if (cause !== 'timeout') return;
    for (const slot of left) {
      if (stuck.includes(slot)) this.stuck.add(slot);
      else this.world.slotReleased(Tier.dram, slot);
    }
  }

  segmentOf(node: number): { segment: Segment; incarnation: number } | null {
    const { world } = this;
    if (node !== world.node) return world.segmentOf(node);
    return { segment: world.memory.own, incarnation: world.incarnation };
  }

  /** Reads what is offered, if it has a place here. */
  take(offer: Offer, to: OfferedHere): void {
    const { id, node } = offer;
    const targets = to.kind === 'pages' ? this.pagesFor(offer, to) : this.grantedFor(offer, to);
    this.taking++;
    this.mover.move(this.offered(offer, targets), (end) => {
      this.taking--;
      this.world.say(node, ['taken', id, end.done]);
    });
  }

  /** Moves into leading slots of `targets`; empty when the peer's pool is not known. */
  offered(offer: Offer, targets: readonly number[]): BlockMove[] {
    const peer = this.segmentOf(offer.node);
    if (peer === null) return [];
    const { segment } = peer;
    return offer.blocks.slice(0, targets.length).map((block, i) => ({
      segment,
      remoteSlot: offer.slots[i],
      generation: offer.generations[i],
      slot: targets[i],
      block,
      promised: null,
    }));
  }

  private pagesFor(
    { blocks }: Offer,
    { instance, request, indices }: OfferedTo & { kind: 'pages' },
  ): number[] {
    const pages: number[] = [];
    for (let i = 0; i < blocks.length; i++) {
      const page = this.world.memory.page(instance, request, indices[i]);
      if (page < 0) break;
      pages.push(page);
    }
    return pages;
  }

  /** Slots that were granted for these blocks and still are. */
  private grantedFor(
    { blocks }: Offer,
    { segment, slots, generations }: OfferedTo & { kind: 'slots' },
  ): readonly number[] {
    if (segment !== this.world.incarnation) return [];
    const tier = this.world.slotsOf(Tier.dram);
    const stale = slots.findIndex((slot, i) => {
      return tier.block(slot) !== blocks[i] || tier.generations[slot] !== generations[i];
    });
    return stale < 0 ? slots : slots.slice(0, stale);
  }
}
