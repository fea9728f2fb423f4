/** Working memory: first come, first served; reservations run out. */
import { describe, expect, it } from 'vitest';
import type { Reserve } from '../../src/core/messages.ts';
import { WorkingMemory } from '../../src/core/working-memory.ts';

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
