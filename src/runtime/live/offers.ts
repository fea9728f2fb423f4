/** Slots of a node's pool that are offered to peers, and stay as they are until these answer. */
import type { Transfer } from '../../core/host.ts';
import { PARKED } from './live-memory.ts';
import type { OfferedTo } from './node-words.ts';
import {
  allOf,
  type Ended,
  endOf,
  firstId,
  type LiveTransfersWorld,
  madePage,
  none,
  sumsOf,
} from './transfer-kit.ts';

interface Given {
  readonly node: number;
  readonly slots: readonly number[];
  taken(done: number): void;
}

export class Offers {
  private readonly world: LiveTransfersWorld;
  /** Slots may have become free. */
  private readonly onTaken: () => void;
  private lastId: number;
  /** By id of the offer, until the node that it was made to has answered. */
  private readonly given = new Map<number, Given>();

  constructor(world: LiveTransfersWorld, onTaken: () => void) {
    this.world = world;
    this.onTaken = onTaken;
    this.lastId = firstId(world);
  }

  get open(): number {
    return this.given.size;
  }

  stream(transfer: Transfer, toToken: number, ended: Ended): void {
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

  saveThere(transfer: Transfer, ended: Ended): void {
    const { request, source, target } = transfer;
    const range = target.slots;
    const prompt = this.world.prompts.get(request);
    if (range === null || prompt === undefined) {
      queueMicrotask(() => ended(none('lost')));
      return;
    }
    const blocks = transfer.ids ?? [];
    const pages = blocks.map((block) => madePage(this.world, source.instance, request, block));
    if (pages.includes(-1)) {
      queueMicrotask(() => ended(none('lost')));
      return;
    }
    const { segment, slots, generations } = range;
    const to = { kind: 'slots', segment, slots, generations } as const;
    this.give(target.node, to, blocks, pages, (done) => {
      const cause = done === blocks.length ? '' : 'lost';
      ended(endOf(transfer, { done, cause }, sumsOf(this.world, blocks)));
    });
  }

  /** Offers slots of the own pool, which stay as they are until the answer. */
  give(
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

  taken(node: number, id: number, done: number): void {
    const given = this.given.get(id);
    if (given === undefined || given.node !== node) return;
    this.given.delete(id);
    given.taken(done);
    for (const slot of given.slots) this.world.memory.unuse(slot);
    this.onTaken();
  }

  /** What was offered to a node is not taken any more. */
  nodeLost(node: number): void {
    for (const [id, given] of [...this.given]) if (given.node === node) this.taken(node, id, 0);
  }
}
