/** The transfers that one store has under way, and the places they move between. */

import type { DeltaBuffer } from './delta-buffer.ts';
import { type Host, IdSource, type Place } from './host.ts';
import type { SlotRange, TransferEnded } from './messages.ts';
import type { Request } from './request.ts';
import type { TierPool } from './tier-pool.ts';
import { type KvLayout, type Node, Tier } from './topology.ts';

/** A transfer under way: what to do when it ends. */
export interface Moving {
  readonly kind: 'fetch' | 'load' | 'save' | 'park';
  readonly request: number;
  readonly attempt: number;
  readonly instance: number;
  /** Slots being filled. */
  readonly slots: readonly number[];
}

/** What a transfer needs beside its Moving. */
export interface Route {
  readonly source: Place;
  readonly target: Place;
  readonly tokens: number;
  readonly blocks: number;
  readonly afterStep: number;
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
  private readonly moving = new Map<number, Moving>();
  private readonly dram: TierPool;
  private readonly delta: DeltaBuffer;

  constructor(world: TransferWorld, incarnation: number, dram: TierPool, delta: DeltaBuffer) {
    this.world = world;
    this.incarnation = incarnation;
    this.ids = new IdSource(incarnation);
    this.dram = dram;
    this.delta = delta;
  }

  /** Transfers under way. */
  get size(): number {
    return this.moving.size;
  }

  start(moving: Moving, route: Route): number {
    const id = this.ids.next();
    this.moving.set(id, moving);
    const { source, target, tokens, blocks, afterStep } = route;
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
    });
    return id;
  }

  /** What an ended transfer was, once; undefined for a late fact. */
  take(id: number): Moving | undefined {
    const moving = this.moving.get(id);
    this.moving.delete(id);
    return moving;
  }

  /** Blocks that arrived become readable, the others go. Answers how many arrived. */
  settle(slots: readonly number[], ended: TransferEnded): number {
    const { dram, delta } = this;
    const done = ended.ok ? slots.length : ended.blocksDone;
    for (let i = 0; i < slots.length; i++) {
      if (i >= done) dram.abandon(slots[i], ended.cause === 'timeout');
      else {
        dram.publish(slots[i], ended.checksums === null ? 0 : ended.checksums[i]);
        delta.blockStored(dram.block(slots[i]));
      }
    }
    return done;
  }

  /** Slots of this store's DRAM as a peer must name them. */
  range(slots: readonly number[]): SlotRange {
    const { generations, checksums } = this.dram;
    return {
      segment: this.incarnation,
      slots,
      generations: slots.map((slot) => generations[slot]),
      checksums: slots.map((slot) => checksums[slot]),
    };
  }

  /** Slots of this store's DRAM for a move of its own; the slots are not copied. */
  dramPlace(slots: readonly number[] | null): Place {
    const range =
      slots === null
        ? null
        : { segment: this.incarnation, slots, generations: NONE, checksums: NONE };
    return { node: this.world.node.id, tier: Tier.dram, instance: -1, slots: range };
  }

  hbmPlace(instance: number): Place {
    return { node: this.world.node.id, tier: Tier.hbm, instance, slots: null };
  }

  tokensOf(request: Request, index: number): number {
    const { blockTokens } = this.world.kv;
    return Math.min(blockTokens, request.inputTokens - index * blockTokens);
  }
}
