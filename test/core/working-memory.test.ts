/** Working memory: first come, first served; reservations run out. */
import { describe, expect, it } from 'vitest';
import { DeltaBuffer } from '../../src/core/delta-buffer.ts';
import { HbmCache } from '../../src/core/hbm-cache.ts';
import type { Reserve } from '../../src/core/messages.ts';
import { type EvictionContext, type EvictionPolicy, REFUSE } from '../../src/core/policy.ts';
import type { Request } from '../../src/core/request.ts';
import { Tier } from '../../src/core/topology.ts';
import { WorkingMemory } from '../../src/core/working-memory.ts';
import lru from '../../src/policy/eviction/lru.ts';
import { requestOf } from '../support/teller.ts';

const CONTEXT = { blockBytes: 10, blockTokens: 10, nowNs: 0, random: () => 0, future: null };
const NEVER = Number.POSITIVE_INFINITY;

function reserve(request: number, tokens: number): { from: number; ask: Reserve; bytes: number } {
  const ask: Reserve = {
    kind: 'reserve',
    request,
    attempt: 0,
    instance: 0,
    tokens,
    ttlNs: 100,
  };
  return { from: 9, ask, bytes: tokens };
}

describe('working memory', () => {
  it('fits up to its capacity and knows who holds what', () => {
    const memory = new WorkingMemory(0, 100);
    memory.hold(1, 0, 60, NEVER);
    expect([memory.fits(40), memory.fits(41)]).toEqual([true, false]);
    expect(memory.of(1, 0)?.hbmBytes).toBe(60);
    expect(memory.of(1, 1)).toBeUndefined();
    memory.drop(1, memory.of(1, 0)!);
    expect(memory.fits(100)).toBe(true);
    expect(memory.isIdle).toBe(true);
    memory.check();
  });

  it('serves the first that waits, and no smaller one past it', () => {
    const memory = new WorkingMemory(0, 100);
    const holding = memory.hold(1, 0, 60, NEVER);
    memory.wait(reserve(2, 90));
    memory.wait(reserve(3, 10));
    expect(memory.waitingReserves).toBe(2);
    expect(memory.nextServed()).toBeUndefined();
    memory.drop(1, holding);
    expect(memory.nextServed()?.ask.request).toBe(2);
    memory.hold(2, 0, 90, NEVER);
    expect(memory.nextServed()?.ask.request).toBe(3);
    expect(memory.nextServed()).toBeUndefined();
    expect(memory.waitingReserves).toBe(0);
  });

  it('forgets one that does not wait any more', () => {
    const memory = new WorkingMemory(0, 10);
    for (const request of [1, 2, 3]) memory.wait(reserve(request, 5));
    memory.stopWaiting({ request: 2, attempt: 0 });
    memory.stopWaiting({ request: 2, attempt: 0 });
    memory.stopWaiting({ request: 3, attempt: 1 });
    expect(memory.waiting.map(({ ask }) => ask.request)).toEqual([1, 3]);
    expect(memory.waitingReserves).toBe(2);
  });

  it('takes back reservations that ran out, and those alone', () => {
    const memory = new WorkingMemory(0, 100);
    memory.hold(1, 0, 10, 50);
    memory.hold(2, 0, 20, 60);
    memory.hold(3, 0, 30, NEVER);
    expect(memory.firstExpiryNs()).toBe(50);
    memory.dropExpired(49);
    expect(memory.fits(40)).toBe(true);
    memory.dropExpired(50);
    expect(memory.of(1, 0)).toBeUndefined();
    expect(memory.firstExpiryNs()).toBe(60);
    memory.dropExpired(1e9);
    expect(memory.firstExpiryNs()).toBe(NEVER);
    expect(memory.of(3, 0)?.hbmBytes).toBe(30);
    expect([memory.fits(70), memory.fits(71)]).toEqual([true, false]);
    memory.check();
  });

  it('gives HBM back when KV is parked, while the holding stays', () => {
    const memory = new WorkingMemory(0, 100);
    const holding = memory.hold(1, 0, 100, NEVER);
    memory.freeHbm(holding);
    expect(memory.fits(100)).toBe(true);
    expect(memory.of(1, 0)).toBe(holding);
    memory.check();
  });

  it('stops a request that would hold memory twice', () => {
    const memory = new WorkingMemory(0, 100);
    memory.hold(1, 0, 10, NEVER);
    expect(() => memory.hold(1, 0, 10, NEVER)).toThrow('holds working memory twice');
  });
});

describe('working memory with a cache', () => {
  const CAPACITY = 100;
  /** Blocks of 10 tokens of one byte; the memory holds ten. */
  const kv = { model: '', layers: 1, bytesPerToken: [1, 1, 1] as const, blockTokens: 10 };
  const prompt = (id: number, blocks: readonly number[], inputTokens = blocks.length * 10) => ({
    ...requestOf(id, blocks),
    inputTokens,
  });

  function memoryWithCache(): WorkingMemory {
    const delta = new DeltaBuffer(0, Tier.hbm, 0, 1_000);
    const eviction = (capacitySlots: number) =>
      lru.create({ ...CONTEXT, capacitySlots } as EvictionContext, {});
    return new WorkingMemory(0, CAPACITY, new HbmCache(CAPACITY, kv, 50, eviction, delta));
  }

  function computed(memory: WorkingMemory, request: Request): void {
    expect(memory.fits(request.inputTokens, request)).toBe(true);
    memory.holdPrompt(request, request.inputTokens);
    memory.keep(request, request.blocks.length);
    memory.check();
  }

  it('shares what an earlier prompt computed and holds the rest', () => {
    const memory = memoryWithCache();
    const first = prompt(1, [1, 2, 3]);
    computed(memory, first);
    memory.drop(1, memory.of(1, 0)!);
    const holding = memory.holdPrompt(prompt(2, [1, 2, 9]), 30);
    expect([holding.shared.length, holding.hbmBytes]).toEqual([2, 10]);
    memory.check();
  });

  it('gives up what nobody reads, and never what somebody does', () => {
    const memory = memoryWithCache();
    computed(memory, prompt(1, [1, 2, 3]));
    computed(memory, prompt(2, [4, 5, 6]));
    memory.drop(1, memory.of(1, 0)!);
    expect(memory.fits(71)).toBe(false);
    expect([1, 2, 3].every((block) => memory.cache!.pool.findReady(block) >= 0)).toBe(true);
    expect(memory.fits(70)).toBe(true);
    expect([1, 4].map((block) => memory.cache!.pool.findReady(block) >= 0)).toEqual([false, true]);
    memory.check();
  });

  it('keeps the blocks that a prompt shares when it makes room for that prompt', () => {
    const memory = memoryWithCache();
    computed(memory, prompt(1, [1, 2, 3, 4, 5]));
    memory.drop(1, memory.of(1, 0)!);
    const next = prompt(2, [1, 2, 11, 12, 13, 14, 15, 16, 17, 18]);
    expect(memory.fits(100, next)).toBe(true);
    const holding = memory.holdPrompt(next, 100);
    expect([holding.shared.length, holding.hbmBytes]).toEqual([2, 80]);
    memory.check();
  });

  it('takes a partial last block in only where a whole slot is free', () => {
    const memory = memoryWithCache();
    computed(memory, prompt(1, [1, 2], 12));
    expect(memory.cache!.pool.findReady(2)).toBeGreaterThanOrEqual(0);
    memory.hold(9, 0, 75, NEVER);
    const tail = prompt(2, [3], 5);
    memory.holdPrompt(tail, 5);
    memory.keep(tail, 1);
    expect(memory.cache!.pool.find(3)).toBe(-1);
    memory.check();
  });

  it('overrules a policy that refuses', () => {
    const memory = memoryWithCache();
    const { pool } = memory.cache!;
    computed(memory, prompt(1, [1, 2]));
    memory.drop(1, memory.of(1, 0)!);
    (pool as unknown as { policy: EvictionPolicy }).policy.victim = () => REFUSE;
    expect(memory.fits(100)).toBe(true);
    expect(pool.usedSlots).toBe(0);
  });
});
