/** A tier reduced to its contract with an eviction policy. It checks every answer that it gets. */
import { readdirSync } from 'node:fs';
import { expect } from 'vitest';
import type {
  EvictionContext,
  EvictionModule,
  EvictionPolicy,
  Param,
  Params,
  ParamValues,
} from '../../src/core/policy.ts';

const FOLDER = new URL('../../src/policy/eviction/', import.meta.url);

/** Names of all eviction policies: the files that are there. */
export const evictionNames = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.slice(0, -'.ts'.length));

export async function evictionModule(name: string): Promise<EvictionModule> {
  const file = (await import(new URL(`${name}.ts`, FOLDER).href)) as { default: EvictionModule };
  return file.default;
}

export function defaultsOf(params: Params, given: Record<string, unknown> = {}) {
  const entries = Object.entries(params).map(([key, param]: [string, Param]) => [
    key,
    given[key] ?? param.default,
  ]);
  return Object.fromEntries(entries) as ParamValues<Params>;
}

/** A small generator: equal seeds give equal streams. */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Next uses of a list of accesses, by the definition. */
export function futureOf(blocks: readonly number[]) {
  return {
    position: 0,
    nextUse(position: number): number {
      const next = blocks.indexOf(blocks[position], position + 1);
      return next < 0 ? Number.POSITIVE_INFINITY : next;
    },
  };
}

type TestFuture = ReturnType<typeof futureOf>;

/** As a tier's: what is given lies under `world`, which a snapshot leaves alone. */
class TestContext implements EvictionContext {
  readonly capacitySlots: number;
  readonly blockBytes = 1;
  readonly blockTokens = 1;
  readonly world: {
    clock: { nowNs: number };
    future: TestFuture | null;
    random: () => number;
    recomputeNs: (depth: number) => number;
  };

  constructor(capacitySlots: number, world: TestContext['world']) {
    this.capacitySlots = capacitySlots;
    this.world = world;
  }

  get nowNs(): number {
    return this.world.clock.nowNs;
  }

  set nowNs(ns: number) {
    this.world.clock.nowNs = ns;
  }

  get future(): TestFuture | null {
    return this.world.future;
  }

  random(): number {
    return this.world.random();
  }

  recomputeNs(depth: number): number {
    return this.world.recomputeNs(depth);
  }
}

export class CheckedTier {
  readonly policy: EvictionPolicy;
  readonly context: TestContext;
  readonly pinned: { count: number; readonly flags: Uint8Array };
  readonly blockOf: (number | null)[];
  /** Blocks in the order in which they were evicted. */
  readonly evicted: number[] = [];
  hits = 0;
  refusals = 0;

  constructor(
    module: EvictionModule,
    capacitySlots: number,
    options: {
      params?: Record<string, unknown>;
      seed?: number;
      future?: ReturnType<typeof futureOf>;
      recomputeNs?: (depth: number) => number;
    } = {},
  ) {
    this.context = new TestContext(capacitySlots, {
      clock: { nowNs: 0 },
      random: randomOf(options.seed ?? 1),
      recomputeNs: options.recomputeNs ?? ((depth) => 1 + depth),
      future: options.future ?? null,
    });
    this.pinned = { count: 0, flags: new Uint8Array(capacitySlots) };
    this.blockOf = new Array<number | null>(capacitySlots).fill(null);
    this.policy = module.create(this.context, defaultsOf(module.params, options.params));
  }

  residents(): number[] {
    return this.blockOf.filter((block) => block !== null);
  }

  /** Ask for a block; true on a hit. A miss inserts it unless the policy declines. */
  access(block: number, parent: number | null = null, depth = 0): boolean {
    const resident = this.blockOf.indexOf(block);
    if (resident >= 0) {
      this.policy.onHit(resident);
      this.hits++;
      this.checkSize();
      return true;
    }
    this.policy.onMiss?.(block);
    this.reclaim();
    if (!this.blockOf.includes(null)) {
      const slot = this.policy.victim(block, this.pinned);
      if (slot === -1) this.refusals++;
      else this.evict(slot);
    }
    const slot = this.blockOf.indexOf(null);
    if (slot >= 0) {
      this.blockOf[slot] = block;
      this.policy.onInsert(slot, block, parent === null ? -1 : this.blockOf.indexOf(parent), depth);
    }
    this.checkSize();
    return false;
  }

  invalidate(slot: number): void {
    if (this.blockOf[slot] === null || this.pinned.flags[slot] === 1) return;
    this.policy.onRemove(slot, 'invalidate');
    this.blockOf[slot] = null;
    this.checkSize();
  }

  /** Pin or unpin a resident slot. */
  togglePin(slot: number): void {
    if (this.blockOf[slot] === null) return;
    this.pinned.flags[slot] ^= 1;
    this.pinned.count += this.pinned.flags[slot] === 1 ? 1 : -1;
  }

  private reclaim(): void {
    const full = !this.blockOf.includes(null);
    for (const slot of this.policy.reclaim?.(full ? 1 : 0, this.pinned) ?? []) this.evict(slot);
  }

  private evict(slot: number): void {
    const block = this.blockOf[slot];
    expect(block, `victim ${slot} is resident`).toEqual(expect.any(Number));
    expect(this.pinned.flags[slot], `victim ${slot} is not pinned`).toBe(0);
    this.policy.onRemove(slot, 'evict');
    this.blockOf[slot] = null;
    this.evicted.push(block!);
  }

  private checkSize(): void {
    expect(this.policy.size()).toBe(this.residents().length);
  }
}

/** What happens to a list of accesses that stand alone: `h` or `m` each, and the evicted blocks. */
export function outcome(tier: CheckedTier, blocks: readonly number[]): [string, number[]] {
  let marks = '';
  for (const [i, block] of blocks.entries()) {
    if (tier.context.future !== null) tier.context.future.position = i;
    marks += tier.access(block) ? 'h' : 'm';
  }
  return [marks, tier.evicted];
}

/** Hit ratio from access `from` on: a tier without checks, for long streams. */
export function lateHits(
  module: EvictionModule,
  stream: Int32Array,
  slots: number,
  from: number,
): number {
  const context = new TestContext(slots, {
    clock: { nowNs: 0 },
    random: randomOf(1),
    recomputeNs: () => 1,
    future: null,
  });
  const policy = module.create(context, defaultsOf(module.params));
  const pinned = { count: 0, flags: new Uint8Array(slots) };
  const slotOf = new Int32Array(stream.reduce((most, block) => Math.max(most, block), 0) + 1).fill(
    -1,
  );
  const blockOf = new Int32Array(slots);
  let used = 0;
  let hits = 0;
  for (let i = 0; i < stream.length; i++) {
    const block = stream[i];
    if (slotOf[block] >= 0) {
      policy.onHit(slotOf[block]);
      if (i >= from) hits++;
      continue;
    }
    policy.onMiss?.(block);
    let slot = used;
    if (used < slots) {
      used++;
    } else {
      slot = policy.victim(block, pinned);
      policy.onRemove(slot, 'evict');
      slotOf[blockOf[slot]] = -1;
    }
    slotOf[block] = slot;
    blockOf[slot] = block;
    policy.onInsert(slot, block, -1, 0);
  }
  return hits / (stream.length - from);
}
