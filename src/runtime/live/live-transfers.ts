/**
 * The transfers of one live node, block by block, each checked against what its block id says.
 * Within the node a block moves between slots of its own pool, or between the pool and the SSD.
 * Between nodes everything is read by who receives it (one-sided, and verified where it arrives):
 * a fetch reads the slots that were leased; streams and saves are offered to the node that is to
 * have them; what lies on a peer's SSD is asked for, and offered from buffers there.
 */
import type { Place, Transfer } from '../../core/host.ts';
import type { TransferEnded } from '../../core/messages.ts';
import { Tier } from '../../core/topology.ts';
import type { DataPlane, Segment } from '../data-plane.ts';
import { type BlockMove, BlockMover, type MovesEnd } from './block-mover.ts';
import { type LiveMemory, PARKED } from './live-memory.ts';
import type { LiveSsd } from './live-ssd.ts';
import type { PromptsSeen } from './prompts-seen.ts';

/** Blocks of a peer's SSD that are asked for at once. */
const WANTED_BLOCKS = 8;

/** Where offered blocks are to go. */
export type OfferedTo =
  | {
      readonly kind: 'pages';
      readonly instance: number;
      readonly request: number;
      /** Places in the prompt. */
      readonly indices: readonly number[];
    }
  /** Slots of DRAM that were granted. */
  | {
      readonly kind: 'slots';
      readonly segment: number;
      readonly slots: readonly number[];
      readonly generations: readonly number[];
    }
  /** Of the peer that asked, with this number. */
  | { readonly kind: 'wanted'; readonly id: number };

/** What one node says to another: these slots of my pool are yours until you answer. */
export interface Offer {
  readonly id: number;
  readonly node: number;
  readonly to: OfferedTo;
  readonly blocks: readonly number[];
  readonly slots: readonly number[];
  readonly generations: readonly number[];
}

/** What one node says to another: offer me these slots of your SSD, which I have leased. */
export interface Wanted {
  readonly id: number;
  readonly node: number;
  readonly segment: number;
  readonly slots: readonly number[];
  readonly generations: readonly number[];
}

/** Between hosts; to the node itself without a link. */
export type NodeWord =
  | readonly ['offer', offer: Offer]
  /** So many leading blocks of the offer arrived. */
  | readonly ['taken', offer: number, done: number]
  | readonly ['wanted', wanted: Wanted];

/** The store's slots of one tier, as its host must know them. */
export interface TierSlots {
  block(slot: number): number;
  depth(slot: number): number;
  readonly generations: Int32Array;
}

export interface LiveTransfersWorld {
  readonly node: number;
  readonly incarnation: number;
  readonly plane: DataPlane;
  readonly memory: LiveMemory;
  /** Null: the node has none. */
  readonly ssd: LiveSsd | null;
  readonly prompts: PromptsSeen;
  readonly blockTokens: number;
  slotsOf(tier: Tier): TierSlots;
  /** Another node's pool, or null while it is not known. */
  segmentOf(node: number): { readonly segment: Segment; readonly incarnation: number } | null;
  say(node: number, word: NodeWord): void;
  /** A slot that a timed-out operation held is free of it. */
  slotReleased(tier: Tier, slot: number): void;
  /** What stands in a slot can't be read any more. */
  slotLost(tier: Tier, slot: number): void;
  onWrongByte(what: string): void;
}

type Ended = (ended: Omit<TransferEnded, 'kind' | 'transfer'>) => void;

interface Given {
  readonly node: number;
  readonly slots: readonly number[];
  taken(done: number): void;
}

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

export class LiveTransfers {
  private readonly world: LiveTransfersWorld;
  private readonly mover: BlockMover;
  private lastId = 0;
  /** Of its own and of peers' offers, those under way. */
  private started = 0;
  private taking = 0;
  /** By id of the offer, until the node that it was made to has answered. */
  private readonly given = new Map<number, Given>();
  /** By id of what was asked for. */
  private readonly fetching = new Map<number, Fetching>();
  /** Asked for while no buffer was free. */
  private waiting: Wanted[] = [];
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

  /** The node is about to close. */
  stop(): void {
    this.mover.stop();
  }

  get movedBytes(): number {
    return this.mover.movedBytes;
  }

  get verifiedBlocks(): number {
    return this.mover.verifiedBlocks;
  }

  /** Transfers, offers and questions whose end has not come. */
  get open(): number {
    return this.started + this.given.size + this.taking + this.waiting.length;
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
        if (source.tier === Tier.ssd) return this.read(transfer, this.pages(transfer), ended);
        return this.move(transfer, this.loads(transfer), ended);
      case 'save':
        if (target.node !== node) return this.saveThere(transfer, ended);
        return this.move(transfer, this.saves(transfer), ended);
      case 'fetch':
      case 'move':
        if (source.tier === Tier.ssd) return this.fetchFromSsd(transfer, ended);
        return this.move(transfer, this.fetches(transfer), ended);
      case 'stream':
        return this.stream(transfer, toToken, ended);
      case 'demote':
        return this.demote(transfer, ended);
      case 'promote':
      case 'prefetch':
        return this.read(transfer, target.slots?.slots ?? null, ended);
      case 'park':
        memory.hand(source.instance, PARKED, request);
        return queueMicrotask(() => ended(allOf(transfer, null)));
      case 'unpark':
        memory.hand(PARKED, target.instance, request);
        return queueMicrotask(() => ended(allOf(transfer, null)));
    }
  }

  // --- within the node ------------------------------------------------------------------------

  private move(transfer: Transfer, moves: readonly BlockMove[] | null, ended: Ended): void {
    if (moves === null) {
      queueMicrotask(() => ended(none('lost')));
      return;
    }
    const checksums = this.sums(moves.map(({ block }) => block));
    this.mover.move(moves, (end) => {
      ended(endOf(transfer, end, checksums));
      if (transfer.target.tier === Tier.dram) this.release(moves, end);
    });
  }

  /** After a timeout the store keeps what did not arrive until it hears of each slot. */
  private release(moves: readonly BlockMove[], { done, cause, stuck }: MovesEnd): void {
    if (cause !== 'timeout') return;
    for (const { slot } of moves.slice(done)) {
      if (stuck.includes(slot)) this.stuck.add(slot);
      else this.world.slotReleased(Tier.dram, slot);
    }
  }

  private loads({ request, source, target }: Transfer): BlockMove[] | null {
    const { generations } = this.world.slotsOf(Tier.dram);
    return this.each(source, (slot, block) => {
      const page = this.page(target.instance, request, block);
      return page < 0 ? null : this.within(slot, generations[slot], page, block);
    });
  }

  private saves({ request, source, target }: Transfer): BlockMove[] | null {
    return this.each(target, (slot, block) => {
      const page = this.made(source.instance, request, block);
      return page < 0 ? null : this.within(page, this.world.memory.generationOf(page), slot, block);
    });
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

  private page(owner: number, request: number, block: number): number {
    const index = this.world.prompts.indexOf(request, block);
    return index < 0 ? -1 : this.world.memory.page(owner, request, index);
  }

  /** The page of a block that was computed, or that decode has filled up. */
  private made(owner: number, request: number, block: number): number {
    const { memory, prompts } = this.world;
    // A save may begin when the prompt's KV has been parked.
    const parked =
      memory.pagesOf(owner, request).length === 0 && memory.pagesOf(PARKED, request).length > 0;
    const page = this.page(parked ? PARKED : owner, request, block);
    const prompt = prompts.get(request)?.blocks.length ?? 0;
    if (page >= 0 && prompts.indexOf(request, block) >= prompt) memory.compute(page, block);
    return page;
  }

  private sums(blocks: readonly number[]): Int32Array {
    return Int32Array.from(blocks, (block) => this.world.memory.contents.sum(block) | 0);
  }

  // --- SSD ------------------------------------------------------------------------------------

  private demote(transfer: Transfer, ended: Ended): void {
    const { ssd, memory } = this.world;
    const from = transfer.source.slots?.slots ?? [];
    const to = transfer.target.slots?.slots ?? [];
    const tier = this.world.slotsOf(Tier.ssd);
    const blocks = to.map((slot) => tier.block(slot));
    const checksums = this.sums(blocks);
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
  private read(transfer: Transfer, targets: readonly number[] | null, ended: Ended): void {
    const slots = transfer.source.slots?.slots ?? [];
    const blocks = slots.map((slot) => this.world.slotsOf(Tier.ssd).block(slot));
    const checksums = this.sums(blocks);
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

  private readInto(
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
        this.mover.verifiedBlocks += done;
        ended({ done, cause });
      },
      () => ended({ done: 0, cause: 'lost' }),
    );
  }

  /** The pages of a load; null when there are not enough. */
  private pages({ request, source, target }: Transfer): number[] | null {
    const tier = this.world.slotsOf(source.tier);
    const slots = source.slots?.slots ?? [];
    const pages = slots.map((slot) => this.page(target.instance, request, tier.block(slot)));
    return pages.includes(-1) ? null : pages;
  }

  // --- from another node ----------------------------------------------------------------------

  private fetches({ source, target }: Transfer): BlockMove[] | null {
    const peer = this.segmentOf(source.node);
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

  private segmentOf(node: number): { segment: Segment; incarnation: number } | null {
    const { world } = this;
    if (node !== world.node) return world.segmentOf(node);
    return { segment: world.memory.own, incarnation: world.incarnation };
  }

  private fetchFromSsd(transfer: Transfer, ended: Ended): void {
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
  private takeWanted(id: number, offer: Offer): void {
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
    const moves = fits ? this.offered(offer, targets) : [];
    const promised = moves.map((move, i) => ({ ...move, promised: checksums[done + i] >>> 0 }));
    fetching.moving = true;
    this.mover.move(promised, (end) => {
      this.world.say(offer.node, ['taken', offer.id, end.done]);
      fetching.moving = false;
      fetching.done += end.done;
      const whole = end.done === asked.length && !fetching.lost;
      if (whole && fetching.done < slots.length) this.askMore(id);
      else this.endFetch(id, whole ? '' : end.cause === '' ? 'lost' : end.cause);
      this.release(moves, end);
    });
  }

  private endFetch(id: number, cause: TransferEnded['cause']): void {
    const { transfer, done, ended } = this.fetching.get(id)!;
    this.fetching.delete(id);
    const tier = this.world.slotsOf(Tier.dram);
    const targets = transfer.target.slots?.slots ?? [];
    const checksums = this.sums(targets.map((slot) => tier.block(slot)));
    ended(endOf(transfer, { done, cause }, checksums));
  }

  // --- for another node -----------------------------------------------------------------------

  private stream(transfer: Transfer, toToken: number, ended: Ended): void {
    const { world } = this;
    const { request, source, target, tokens } = transfer;
    const owner = source.instance < 0 ? PARKED : source.instance;
    const blocks = world.prompts.get(request)?.blocks;
    const held = world.memory.pagesOf(owner, request);
    const from = Math.floor((toToken - tokens) / world.blockTokens);
    const to = Math.min(Math.ceil(toToken / world.blockTokens), blocks?.length ?? 0);
    const indices: number[] = [];
    for (let i = from; i < to; i++) indices.push(i);
    const pages = indices.map((i) => held[i] ?? -1);
    if (blocks === undefined || pages.includes(-1)) {
      queueMicrotask(() => ended(none('lost')));
      return;
    }
    const ids = indices.map((i) => blocks.at(i));
    const to_ = { kind: 'pages', instance: target.instance, request, indices } as const;
    this.give(target.node, to_, ids, pages, (done) => {
      ended(done === pages.length ? allOf(transfer, null) : none('lost'));
    });
  }

  private saveThere(transfer: Transfer, ended: Ended): void {
    const { request, source, target } = transfer;
    const range = target.slots;
    const prompt = this.world.prompts.get(request);
    if (range === null || prompt === undefined) {
      queueMicrotask(() => ended(none('lost')));
      return;
    }
    const blocks = transfer.ids ?? [];
    const pages = blocks.map((block) => this.made(source.instance, request, block));
    if (pages.includes(-1)) {
      queueMicrotask(() => ended(none('lost')));
      return;
    }
    const { segment, slots, generations } = range;
    const to = { kind: 'slots', segment, slots, generations } as const;
    this.give(target.node, to, blocks, pages, (done) => {
      const cause = done === blocks.length ? '' : 'lost';
      ended(endOf(transfer, { done, cause }, this.sums(blocks)));
    });
  }

  /** Offers slots of the own pool, which stay as they are until the answer. */
  private give(
    node: number,
    to: OfferedTo,
    blocks: readonly number[],
    slots: readonly number[],
    taken: (done: number) => void,
  ): void {
    const { memory } = this.world;
    const id = ++this.lastId;
    for (const slot of slots) memory.use(slot);
    this.given.set(id, { node, slots, taken });
    const generations = slots.map((slot) => memory.generationOf(slot));
    this.world.say(node, ['offer', { id, node: this.world.node, to, blocks, slots, generations }]);
  }

  /** A peer has leased what lies on this node's SSD: offers it from buffers. */
  private offerFromSsd(wanted: Wanted): void {
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
    this.readInto(asked, blocks, buffers.slice(0, asked.length), ({ done }) => {
      this.give(
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

  private serveWaiting(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const wanted of waiting) this.offerFromSsd(wanted);
  }

  // --- words of other nodes -------------------------------------------------------------------

  hear(node: number, word: NodeWord): void {
    switch (word[0]) {
      case 'offer':
        return this.take({ ...word[1], node });
      case 'taken':
        return this.taken(node, word[1], word[2]);
      case 'wanted':
        return this.offerFromSsd({ ...word[1], node });
    }
  }

  /** Reads what is offered, if it has a place here. */
  private take(offer: Offer): void {
    const { to, id, node } = offer;
    if (to.kind === 'wanted') return this.takeWanted(to.id, offer);
    const targets = to.kind === 'pages' ? this.pagesFor(offer, to) : this.grantedFor(offer, to);
    const moves = this.offered(offer, targets);
    this.taking++;
    this.mover.move(moves, (end) => {
      this.taking--;
      this.world.say(node, ['taken', id, end.done]);
    });
  }

  /** Moves into leading slots of `targets`; empty when the peer's pool is not known. */
  private offered(offer: Offer, targets: readonly number[]): BlockMove[] {
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

  private taken(node: number, id: number, done: number): void {
    const given = this.given.get(id);
    if (given === undefined || given.node !== node) return;
    this.given.delete(id);
    given.taken(done);
    for (const slot of given.slots) this.world.memory.unuse(slot);
    if (this.waiting.length > 0) this.serveWaiting();
  }

  /** What was said to a node, or by it, may be lost. */
  nodeLost(node: number): void {
    for (const [id, given] of [...this.given]) if (given.node === node) this.taken(node, id, 0);
    for (const [id, fetching] of [...this.fetching]) {
      if (fetching.node !== node) continue;
      if (fetching.moving) fetching.lost = true;
      else this.endFetch(id, 'lost');
    }
    this.waiting = this.waiting.filter((wanted) => wanted.node !== node);
  }
}

function none(cause: TransferEnded['cause']): Omit<TransferEnded, 'kind' | 'transfer'> {
  return { ok: false, blocksDone: 0, cause, checksums: null };
}

function allOf({ blocks }: Transfer, checksums: Int32Array | null) {
  return { ok: true, blocksDone: blocks, cause: '' as const, checksums };
}

function endOf(
  transfer: Transfer,
  { done, cause }: { done: number; cause: TransferEnded['cause'] },
  checksums: Int32Array,
) {
  if (cause === '') return allOf(transfer, checksums);
  return { ok: false, blocksDone: Math.min(done, transfer.blocks), cause, checksums };
}
