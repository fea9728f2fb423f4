/**
 * The transfers of one live node as moves of the data plane, block by block, each checked against
 * what its block id says. Within the node a move goes between slots of its own pool; a fetch reads
 * from a peer's pool; a stream is offered to the decode node, which reads the pages when it has
 * room (one-sided, as everything).
 */
import type { Place, Transfer } from '../../core/host.ts';
import type { TransferEnded } from '../../core/messages.ts';
import type { DataPlane, MoveEnd, Segment } from '../data-plane.ts';
import { Status } from '../native.ts';
import { type LiveMemory, PARKED } from './live-memory.ts';
import type { PromptsSeen } from './prompts-seen.ts';

/** For all blocks of a transfer, whatever its size: a lease's guard is longer. */
const DEADLINE_NS = 5e9;

/** What a prefill node says to a decode node: these pages are yours. */
export interface StreamOffer {
  readonly transfer: number;
  readonly node: number;
  readonly instance: number;
  readonly request: number;
  /** Of each page: place in the prompt, block id, slot in the pool, generation. */
  readonly indices: readonly number[];
  readonly blocks: readonly number[];
  readonly slots: readonly number[];
  readonly generations: readonly number[];
}

export interface LiveTransfersWorld {
  readonly node: number;
  readonly plane: DataPlane;
  readonly memory: LiveMemory;
  readonly prompts: PromptsSeen;
  readonly blockTokens: number;
  /** A peer's pool, or null while it is not known. */
  segmentOf(node: number): { readonly segment: Segment; readonly incarnation: number } | null;
  /** Of a slot of the node's own DRAM tier. */
  blockAt(slot: number): number;
  generationAt(slot: number): number;
  offer(node: number, offer: StreamOffer): void;
  onWrongByte(what: string): void;
}

type Ended = (ended: Omit<TransferEnded, 'kind' | 'transfer'>) => void;

/** One block of a transfer. */
interface BlockMove {
  readonly segment: Segment;
  readonly remoteSlot: number;
  readonly generation: number;
  /** Slot of the own pool that it fills. */
  readonly slot: number;
  readonly block: number;
  /** What its owner said that it is; null: the id alone says. */
  readonly promised: number | null;
}

const LOST = { ok: false, blocksDone: 0, cause: 'lost', checksums: null } as const;
const DONE = { ok: true, blocksDone: 0, cause: '', checksums: null } as const;

const CAUSES: Partial<Record<Status, TransferEnded['cause']>> = {
  [Status.unknownSegment]: 'unknownSegment',
  [Status.staleSlot]: 'checksum',
  [Status.checksumMismatch]: 'checksum',
  [Status.timedOut]: 'timeout',
};

export class LiveTransfers {
  private readonly world: LiveTransfersWorld;
  /** Streams offered, until the decode node has them. */
  private readonly offered = new Map<number, { node: number; ended: Ended; pages: number[] }>();
  movedBytes = 0;
  verifiedBlocks = 0;

  constructor(world: LiveTransfersWorld) {
    this.world = world;
  }

  /** `toToken`: the end of what a stream sends. `ended` is called once, later. */
  start(transfer: Transfer, toToken: number, ended: Ended): void {
    const { memory } = this.world;
    switch (transfer.kind) {
      case 'load':
        return this.move(this.loads(transfer), ended);
      case 'save':
        return this.move(this.saves(transfer), ended);
      case 'fetch':
        return this.move(this.fetches(transfer), ended);
      case 'stream':
        return this.stream(transfer, toToken, ended);
      case 'park':
        memory.hand(transfer.source.instance, PARKED, transfer.request);
        return queueMicrotask(() => ended(DONE));
      case 'unpark':
        memory.hand(PARKED, transfer.target.instance, transfer.request);
        return queueMicrotask(() => ended(DONE));
      default:
        queueMicrotask(() => ended(LOST));
    }
  }

  private loads({ request, source, target, blocks }: Transfer): BlockMove[] | null {
    const { memory } = this.world;
    return this.each(blocks, source, (slot, block) => {
      const page = this.page(target.instance, request, block);
      if (page < 0) return null;
      const generation = this.world.generationAt(slot);
      return this.within(memory.own, slot, generation, page, block);
    });
  }

  private saves({ request, source, target, blocks }: Transfer): BlockMove[] | null {
    const { memory } = this.world;
    return this.each(blocks, target, (slot, block) => {
      const page = this.page(source.instance, request, block);
      if (page < 0) return null;
      return this.within(memory.own, page, memory.generationOf(page), slot, block);
    });
  }

  private fetches({ source, target, blocks }: Transfer): BlockMove[] | null {
    const peer = this.world.segmentOf(source.node);
    const range = source.slots;
    if (peer === null || range === null || peer.incarnation !== range.segment) return null;
    let i = 0;
    return this.each(blocks, target, (slot, block) => {
      const promised = range.checksums[i] >>> 0;
      const { segment } = peer;
      const [remoteSlot, generation] = [range.slots[i], range.generations[i]];
      i++;
      return { segment, remoteSlot, generation, slot, block, promised };
    });
  }

  private within(
    segment: Segment,
    remoteSlot: number,
    generation: number,
    slot: number,
    block: number,
  ): BlockMove {
    return { segment, remoteSlot, generation, slot, block, promised: null };
  }

  /** A move for each cached slot of a place; null when one can't be. */
  private each(
    blocks: number,
    cached: Place,
    make: (slot: number, block: number) => BlockMove | null,
  ): BlockMove[] | null {
    const moves: BlockMove[] = [];
    for (let i = 0; i < blocks; i++) {
      const slot = cached.slots?.slots[i] ?? -1;
      const move = make(slot, this.world.blockAt(slot));
      if (move === null) return null;
      moves.push(move);
    }
    return moves;
  }

  private page(owner: number, request: number, block: number): number {
    const index = this.world.prompts.indexOf(request, block);
    return index < 0 ? -1 : this.world.memory.page(owner, request, index);
  }

  private move(moves: readonly BlockMove[] | null, ended: Ended): void {
    if (moves === null || moves.length === 0) {
      queueMicrotask(() => ended(moves === null ? LOST : DONE));
      return;
    }
    const checksums = new Int32Array(moves.length);
    const ends: (MoveEnd | null)[] = moves.map(() => null);
    let left = moves.length;
    moves.forEach((move, i) => {
      this.moveBlock(move, (end, sum) => {
        ends[i] = end;
        checksums[i] = sum | 0;
        if (--left > 0) return;
        const bad = ends.findIndex((found) => found?.status !== Status.ok);
        if (bad < 0) {
          for (const { slot } of moves) this.publish(slot);
          ended({ ok: true, blocksDone: moves.length, cause: '', checksums });
          return;
        }
        for (const { slot } of moves.slice(0, bad)) this.publish(slot);
        const cause = CAUSES[ends[bad]?.status ?? Status.cancelled] ?? 'lost';
        ended({ ok: false, blocksDone: bad, cause, checksums });
      });
    });
  }

  private moveBlock(move: BlockMove, ended: (end: MoveEnd, sum: number) => void): void {
    const { memory, plane } = this.world;
    const { segment, remoteSlot, generation, slot, block, promised } = move;
    const sum = memory.sums.of(block);
    if (promised !== null && promised !== sum) {
      this.world.onWrongByte(`a peer promises other bytes for block ${block}`);
    }
    if (!memory.isPage(slot)) memory.withdraw(slot, this.world.generationAt(slot));
    const local = segment === memory.own ? remoteSlot : -1;
    for (const used of [slot, local]) if (used >= 0) memory.use(used);
    plane.move(
      {
        write: false,
        pool: memory.pool,
        slot,
        offset: 0,
        segment,
        remoteSlot,
        generation,
        remoteOffset: 0,
        bytes: memory.blockBytes,
        crc: sum,
        sum: true,
        urgent: false,
        deadlineNs: DEADLINE_NS,
      },
      (end) => {
        for (const used of [slot, local]) if (used >= 0) memory.unuse(used);
        if (end.status === Status.ok) {
          this.movedBytes += memory.blockBytes;
          this.verifiedBlocks++;
        } else if (end.status === Status.checksumMismatch && local >= 0) {
          this.world.onWrongByte(`block ${block} in slot ${local} is not what its id says`);
        }
        ended(end, sum);
      },
    );
  }

  private publish(slot: number): void {
    const { memory } = this.world;
    if (!memory.isPage(slot)) memory.publish(slot, this.world.generationAt(slot));
  }

  // --- streams --------------------------------------------------------------------------------

  private stream(transfer: Transfer, toToken: number, ended: Ended): void {
    const { world } = this;
    const { id, request, source, target, tokens } = transfer;
    const owner = source.instance < 0 ? PARKED : source.instance;
    const blocks = world.prompts.get(request)?.blocks;
    const held = world.memory.pagesOf(owner, request);
    const from = Math.floor((toToken - tokens) / world.blockTokens);
    const to = Math.min(Math.ceil(toToken / world.blockTokens), blocks?.length ?? 0);
    const indices: number[] = [];
    for (let i = from; i < to; i++) indices.push(i);
    const pages = indices.map((i) => held[i] ?? -1);
    if (blocks === undefined || pages.includes(-1)) {
      queueMicrotask(() => ended(LOST));
      return;
    }
    for (const page of pages) world.memory.use(page);
    this.offered.set(id, { node: target.node, ended, pages });
    world.offer(target.node, {
      transfer: id,
      node: world.node,
      instance: target.instance,
      request,
      indices,
      blocks: indices.map((i) => blocks.at(i)),
      slots: pages,
      generations: pages.map((page) => world.memory.generationOf(page)),
    });
  }

  /** At the decode node: reads what is offered; answers whether all of it is here and right. */
  take(offer: StreamOffer, answer: (ok: boolean) => void): void {
    const { world } = this;
    const peer = world.segmentOf(offer.node);
    if (peer === null) {
      answer(false);
      return;
    }
    const moves: BlockMove[] = [];
    for (let i = 0; i < offer.indices.length; i++) {
      const slot = world.memory.page(offer.instance, offer.request, offer.indices[i]);
      if (slot < 0) {
        answer(false);
        return;
      }
      const [remoteSlot, generation] = [offer.slots[i], offer.generations[i]];
      const { segment } = peer;
      moves.push({
        segment,
        remoteSlot,
        generation,
        slot,
        block: offer.blocks[i],
        promised: null,
      });
    }
    this.move(moves, ({ ok }) => answer(ok));
  }

  /** The decode node's answer to an offer. */
  taken(transfer: number, ok: boolean): void {
    const offered = this.offered.get(transfer);
    if (offered === undefined) return;
    this.offered.delete(transfer);
    for (const page of offered.pages) this.world.memory.unuse(page);
    offered.ended(ok ? DONE : LOST);
  }

  /** A node went away: what was offered to it is lost. */
  nodeLost(node: number): void {
    for (const [transfer, offered] of this.offered) {
      if (offered.node === node) this.taken(transfer, false);
    }
  }
}
