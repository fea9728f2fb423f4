/** Moves between a node's pool and its own SSD. */
import type { Transfer } from '../../core/host.ts';
import type { TransferEnded } from '../../core/messages.ts';
import { Tier } from '../../core/topology.ts';
import {
  type Ended,
  endOf,
  type LiveTransfersWorld,
  none,
  pageOf,
  sumsOf,
} from './transfer-kit.ts';

export class SsdMoves {
  verifiedBlocks = 0;
  private readonly world: LiveTransfersWorld;

  constructor(world: LiveTransfersWorld) {
    this.world = world;
  }

  demote(transfer: Transfer, ended: Ended): void {
    const { ssd, memory } = this.world;
    const from = transfer.source.slots?.slots ?? [];
    const to = transfer.target.slots?.slots ?? [];
    const tier = this.world.slotsOf(Tier.ssd);
    const blocks = to.map((slot) => tier.block(slot));
    const checksums = sumsOf(this.world, blocks);
    const named = to.map((slot, i) => {
      return { block: blocks[i], depth: tier.depth(slot), crc: checksums[i] };
    });
    for (const slot of from) memory.use(slot);
    const end = (done: number, cause: TransferEnded['cause']) => {
      for (const slot of from) memory.unuse(slot);
      ended(endOf(transfer, { done, cause }, checksums));
    };
    if (ssd === null) queueMicrotask(() => end(0, 'lost'));
    else
      ssd.put(to, named, from).then(
        ({ done, cause }) => end(done, cause),
        () => end(0, 'lost'),
      );
  }

  /** From the own SSD into slots of the pool: DRAM, working pages or buffers. */
  read(transfer: Transfer, targets: readonly number[] | null, ended: Ended): void {
    const slots = transfer.source.slots?.slots ?? [];
    const blocks = slots.map((slot) => this.world.slotsOf(Tier.ssd).block(slot));
    const checksums = sumsOf(this.world, blocks);
    if (targets === null) {
      queueMicrotask(() => ended(none('lost')));
      return;
    }
    const { memory } = this.world;
    const generations = this.world.slotsOf(Tier.dram).generations;
    for (const slot of targets) {
      memory.use(slot);
      if (memory.isPage(slot)) memory.filling(slot);
      else memory.withdraw(slot, generations[slot]);
    }
    this.readInto(slots, blocks, targets, ({ done, cause }) => {
      for (const [i, slot] of targets.entries()) {
        if (i < done && memory.isPage(slot)) memory.filled(slot, blocks[i]);
        else if (i < done) memory.publish(slot, generations[slot]);
        memory.unuse(slot);
      }
      ended(endOf(transfer, { done, cause }, checksums));
    });
  }

  readInto(
    slots: readonly number[],
    blocks: readonly number[],
    targets: readonly number[],
    ended: (end: { done: number; cause: TransferEnded['cause'] }) => void,
  ): void {
    const { ssd, memory } = this.world;
    const crcs = blocks.map((block) => memory.contents.sum(block));
    if (ssd === null) {
      queueMicrotask(() => ended({ done: 0, cause: 'lost' }));
      return;
    }
    ssd.get(slots, crcs, targets).then(
      ({ done, cause, lost }) => {
        for (const i of lost) this.world.slotLost(Tier.ssd, slots[i]);
        this.verifiedBlocks += done;
        ended({ done, cause });
      },
      () => ended({ done: 0, cause: 'lost' }),
    );
  }

  /** The pages of a load; null when there are not enough. */
  pages({ request, source, target }: Transfer): number[] | null {
    const tier = this.world.slotsOf(source.tier);
    const slots = source.slots?.slots ?? [];
    const pages = slots.map((slot) =>
      pageOf(this.world, target.instance, request, tier.block(slot)),
    );
    return pages.includes(-1) ? null : pages;
  }
}
