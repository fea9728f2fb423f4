/** The slots of a tier: states, leases, quarantine, and the order that the policy keeps. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EvictionPolicy, type Pinned, REFUSE } from '../../src/core/policy.ts';
import { SlotState, TierPool } from '../../src/core/tier-pool.ts';

/** Evicts the oldest that is not pinned; declines when told to. */
class Oldest implements EvictionPolicy {
  readonly order: number[] = [];
  readonly missed: number[] = [];
  declines = false;

  onMiss(block: number): void {
    this.missed.push(block);
  }

  onInsert(slot: number): void {
    this.order.push(slot);
  }

  onHit(): void {}

  onRemove(slot: number): void {
    this.order.splice(this.order.indexOf(slot), 1);
  }

  victim(_incoming: number, pinned: Pinned): number {
    if (this.declines) return REFUSE;
    return this.order.find((slot) => pinned.flags[slot] === 0) ?? REFUSE;
  }

  size(): number {
    return this.order.length;
  }
}

function poolOf(slots: number) {
  const policy = new Oldest();
  const gone: number[] = [];
  const pool = new TierPool(slots, 4, policy, { blockGone: (block) => gone.push(block) });
  /** A block that is there and readable. */
  const put = (block: number) => {
    const slot = pool.allocate(block, -1, 0);
    if (slot >= 0) pool.publish(slot, block);
    return slot;
  };
  return { pool, policy, gone, put };
}

describe('tier pool', () => {
  it('fills slots, then evicts in the order of the policy and says what went', () => {
    const { pool, policy, gone, put } = poolOf(2);
    const first = put(10);
    put(11);
    expect(pool.usedSlots).toBe(2);
    expect(put(12)).toBe(first);
    expect(gone).toEqual([10]);
    expect(policy.missed).toEqual([10, 11, 12]);
    expect([pool.find(10), pool.findReady(12), pool.block(first)]).toEqual([-1, first, 12]);
    expect(pool.evictions).toBe(1);
    pool.check();
  });

  it('shows a block only when all of it is there', () => {
    const { pool } = poolOf(1);
    const slot = pool.allocate(3, -1, 0);
    expect([pool.find(3), pool.findReady(3)]).toEqual([slot, -1]);
    pool.publish(slot, 77);
    expect([pool.findReady(3), pool.checksums[slot]]).toEqual([slot, 77]);
  });

  it('evicts nothing that is filling or leased', () => {
    const { pool, put } = poolOf(2);
    const filling = pool.allocate(1, -1, 0);
    const leased = put(2);
    pool.lease(leased);
    pool.lease(leased);
    expect(put(3)).toBe(-1);
    pool.unlease(leased);
    expect(put(3)).toBe(-1);
    pool.unlease(leased);
    expect(put(3)).toBe(leased);
    pool.publish(filling, 0);
    expect(put(4)).toBe(filling);
    pool.check();
  });

  it('refuses when its policy declines', () => {
    const { pool, policy, put } = poolOf(1);
    put(1);
    policy.declines = true;
    expect(put(2)).toBe(-1);
    expect(pool.findReady(1)).toBe(0);
  });

  it('drains: a slot taken out of service is free when its last reader is done', () => {
    const { pool, gone, put } = poolOf(1);
    const slot = put(5);
    pool.lease(slot);
    pool.lease(slot);
    pool.invalidate(slot);
    expect(pool.state(slot)).toBe(SlotState.leaving);
    expect(gone).toEqual([5]);
    expect([pool.find(5), pool.usedSlots]).toEqual([-1, 1]);
    pool.unlease(slot);
    expect(put(6)).toBe(-1);
    pool.unlease(slot);
    expect(pool.state(slot)).toBe(SlotState.free);
    expect(put(6)).toBe(slot);
    pool.check();
  });

  it('keeps a slot out of use that a late write may still hit', () => {
    const { pool, put } = poolOf(1);
    const slot = pool.allocate(1, -1, 0);
    pool.abandon(slot, true);
    expect([pool.state(slot), pool.usedSlots]).toEqual([SlotState.quarantined, 1]);
    expect(put(2)).toBe(-1);
    pool.releaseQuarantine(slot);
    expect(put(2)).toBe(slot);
    pool.releaseQuarantine(slot);
    expect(pool.state(slot)).toBe(SlotState.ready);
    pool.check();
  });

  it('frees what could not be filled, and its waiting readers do not mind', () => {
    const { pool, gone } = poolOf(2);
    const slot = pool.allocate(1, -1, 0);
    pool.lease(slot);
    pool.abandon(slot, false);
    expect([pool.state(slot), pool.find(1)]).toEqual([SlotState.leaving, -1]);
    expect(gone).toEqual([]);
    pool.unlease(slot);
    expect(pool.state(slot)).toBe(SlotState.free);
    pool.check();
  });

  it('gives a slot a new generation with every block', () => {
    const { pool, put } = poolOf(1);
    put(1);
    const before = pool.generations[0];
    put(2);
    expect(pool.generations[0]).toBe(before + 1);
  });

  it('takes blocks beyond those foreseen', () => {
    const { pool, put } = poolOf(3);
    put(1_000);
    expect(pool.findReady(1_000)).toBe(0);
    expect(pool.find(5_000)).toBe(-1);
  });

  it('stops a policy that names a slot which must not go', () => {
    for (const answer of [7, 0.5, -2, 0]) {
      const policy = new Oldest();
      policy.victim = () => answer;
      const pool = new TierPool(1, 1, policy, { blockGone: () => {} });
      pool.lease(pool.allocate(0, -1, 0));
      expect(() => pool.allocate(1, -1, 0)).toThrow('eviction policy');
    }
  });

  it('stops more leases returned than given', () => {
    const { pool, put } = poolOf(1);
    const slot = put(1);
    expect(() => pool.unlease(slot)).toThrow('more leases returned than given');
  });

  it('obeys its laws under any use', () => {
    type Verb = 'put' | 'fill' | 'publish' | 'abandon' | 'quarantine' | 'release' | 'invalidate';
    const verbs = fc.constantFrom<Verb | 'lease' | 'unlease'>(
      'put',
      'put',
      'put',
      'fill',
      'publish',
      'abandon',
      'quarantine',
      'release',
      'invalidate',
      'lease',
      'lease',
      'unlease',
    );
    const steps = fc.array(fc.tuple(verbs, fc.nat(4), fc.nat(9)), { maxLength: 120 });
    const law = fc.property(steps, (script) => {
      const { pool, gone, put } = poolOf(5);
      const shown = new Set<number>();
      const leases = new Array(5).fill(0);
      for (const [verb, slot, block] of script) {
        const state = pool.state(slot);
        const filling = state === SlotState.filling;
        const before = gone.length;
        if (verb === 'put' && pool.find(block) < 0 && put(block) >= 0) shown.add(block);
        else if (verb === 'fill' && pool.find(block) < 0) pool.allocate(block, -1, 0);
        else if (verb === 'publish' && filling) {
          pool.publish(slot, 0);
          shown.add(pool.block(slot));
        } else if (verb === 'abandon' && filling) pool.abandon(slot, false);
        else if (verb === 'quarantine' && filling) pool.abandon(slot, true);
        else if (verb === 'release') pool.releaseQuarantine(slot);
        else if (verb === 'invalidate' && state === SlotState.ready) pool.invalidate(slot);
        else if (verb === 'lease' && state === SlotState.ready) {
          pool.lease(slot);
          leases[slot]++;
        } else if (verb === 'unlease' && leases[slot] > 0) {
          pool.unlease(slot);
          leases[slot]--;
        }
        for (const block of gone.slice(before)) expect(shown.delete(block)).toBe(true);
        pool.check();
        for (let s = 0; s < 5; s++) {
          expect(pool.isLeased(s)).toBe(leases[s] > 0);
          if (leases[s] > 0) expect(pool.state(s)).not.toBe(SlotState.free);
        }
        expect(new Set(pool.readyBlocks())).toEqual(shown);
      }
    });
    fc.assert(law, { numRuns: 200 });
  });
});
