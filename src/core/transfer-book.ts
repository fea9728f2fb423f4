/** The transfers that one store has under way, and the places they move between. */

import { type Host, IdSource, type Place, type TransferKind } from './host.ts';
import { Few } from './kit/few.ts';
import type { SlotRange, TransferEnded } from './messages.ts';
import type { Request } from './request.ts';
import type { SharedTier } from './shared-tier.ts';
import { type KvLayout, type Node, Tier } from './topology.ts';

/** A transfer under way: what to do when it ends. */
export interface Moving {
  readonly kind: Exclude<TransferKind, 'stream'>;
  /** -1 for a move between tiers that no request asked for. */
  readonly request: number;
  readonly attempt: number;
  readonly instance: number;
  /** Slots being filled; of a load, those that are read. */
  readonly slots: readonly number[];
  /** Slots read by a move between two tiers of the node. */
  readonly sources: readonly number[];
  /** Tier of what is read or filled in a load or a save; source of a move between tiers. */
  readonly tier: Tier;
  /** What is read goes once the move is done. */
  readonly exclusive: boolean;
  /** The write that a save onto another node is, the lease of a move from one, or 0. */
  readonly write: number;
}

/** What a transfer needs beside its Moving. */
export interface Route {
  readonly source: Place;
  readonly target: Place;
  readonly tokens: number;
  readonly blocks: number;
  readonly afterStep: number;
  /** As in Transfer. */
  readonly ids?: readonly number[];
}

export interface TransferWorld {
  readonly host: Host;
  readonly node: Node;
  readonly kv: KvLayout;
}

const NONE: readonly number[] = [];

export class TransferBook {
  readonly world: TransferWorld;
  private readonly incarnation: number;
  private readonly ids: IdSource;
  private readonly moving = new Few<Moving>();
  /** Saves under way of what is not the KV that it should be. */
  private readonly spoiled = new Set<number>();

  constructor(world: TransferWorld, incarnation: number) {
    this.world = world;
    this.incarnation = incarnation;
    this.ids = new IdSource(incarnation);
  }

  /** Transfers under way. */
  get size(): number {
    return this.moving.size;
  }

  start(moving: Moving, route: Route): number {
    const id = this.ids.next();
    this.moving.add(id, moving);
    const { source, target, tokens, blocks, afterStep, ids } = route;
    this.world.host.startTransfer({
      id,
      kind: moving.kind,
      request: moving.request,
      source,
      target,
      tokens,
      bytes: tokens * this.world.kv.bytesPerToken[Tier.dram],
      blocks,
      afterStep,
      weight: 1,
      ...(ids === undefined ? undefined : { ids }),
    });
    return id;
  }

  /** What an ended transfer was, once; undefined for a late fact. */
  take(id: number): Moving | undefined {
    return this.moving.take(id);
  }

  /** What is being saved of a request is void: nothing of it may become readable. */
  spoilSaves(request: number, attempt: number): void {
    this.moving.visit((id, { kind, ...of }) => {
      const own = of.request === request && of.attempt === attempt;
      if (kind === 'save' && own) this.spoiled.add(id);
    });
  }

  /** How an ended save counts. */
  saved(ended: TransferEnded): TransferEnded {
    if (this.spoiled.size === 0 || !this.spoiled.delete(ended.transfer)) return ended;
    return { ...ended, ok: false, blocksDone: 0, cause: 'lost' };
  }

  /** Blocks that arrived become readable, the others go. Answers how many arrived. */
  settle({ pool, delta }: SharedTier, slots: readonly number[], ended: TransferEnded): number {
    const done = ended.ok ? slots.length : ended.blocksDone;
    for (let i = 0; i < slots.length; i++) {
      if (i >= done) pool.abandon(slots[i], ended.cause === 'timeout');
      else {
        pool.publish(slots[i], ended.checksums === null ? 0 : ended.checksums[i]);
        delta.blockStored(pool.block(slots[i]));
      }
    }
    return done;
  }

  /** Slots of a tier of this store as a peer must name them. */
  range({ pool }: SharedTier, slots: readonly number[]): SlotRange {
    const { generations, checksums } = pool;
    return {
      segment: this.incarnation,
      slots,
      generations: slots.map((slot) => generations[slot]),
      checksums: slots.map((slot) => checksums[slot]),
    };
  }

  /** Slots of this store for a move of its own; the slots are not copied. */
  place(tier: Tier, slots: readonly number[] | null): Place {
    const range =
      slots === null
        ? null
        : { segment: this.incarnation, slots, generations: NONE, checksums: NONE };
    return { node: this.world.node.id, tier, instance: -1, slots: range };
  }

  hbmPlace(instance: number): Place {
    return { node: this.world.node.id, tier: Tier.hbm, instance, slots: null };
  }

  tokensOf(of: { readonly request: Request; readonly answer?: boolean }, index: number): number {
    const { blockTokens } = this.world.kv;
    if (of.answer === true) return blockTokens;
    return Math.min(blockTokens, of.request.inputTokens - index * blockTokens);
  }
}
