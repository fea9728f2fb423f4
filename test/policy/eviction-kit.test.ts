/** The structures that eviction policies are made of, each against a plain one that is slow. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FrequencyList,
  FrequencySketch,
  GhostLists,
  ReuseModel,
  SlotHeap,
  SlotLinks,
  SlotList,
  SlotSampler,
} from '../../src/core/policy-kit.ts';
import { randomOf } from './eviction-tier.ts';

const SLOTS = 8;
const steps = fc.array(fc.tuple(fc.nat(3), fc.nat(SLOTS - 1), fc.nat(5)), { maxLength: 80 });
const flagsOf = (bits: number) =>
  Uint8Array.from({ length: SLOTS }, (_, slot) => (bits >> slot) & 1);

describe('SlotList', () => {
  it('is a list', () => {
    const law = fc.property(steps, fc.nat(255), (script, bits) => {
      const list = new SlotList(new SlotLinks(SLOTS));
      // Oldest first.
      let model: number[] = [];
      for (const [kind, slot] of script) {
        if (!model.includes(slot)) {
          if (kind === 0) list.pushTail(slot);
          else list.pushHead(slot);
          model = kind === 0 ? [slot, ...model] : [...model, slot];
        } else if (kind < 2) {
          list.remove(slot);
          model = model.filter((other) => other !== slot);
        } else {
          list.moveToHead(slot);
          model = [...model.filter((other) => other !== slot), slot];
        }
        const up: number[] = [];
        for (let at = list.tail; at >= 0; at = list.newerThan(at)) up.push(at);
        const down: number[] = [];
        for (let at = list.head; at >= 0; at = list.olderThan(at)) down.push(at);
        expect(up).toEqual(model);
        expect(down).toEqual(model.toReversed());
        expect(list.size).toBe(model.length);
        const flags = flagsOf(bits);
        expect(list.oldestClear(flags)).toBe(model.find((other) => flags[other] === 0) ?? -1);
      }
    });
    fc.assert(law);
  });
});

describe('FrequencyList', () => {
  it('orders by count, then by last use', () => {
    const law = fc.property(steps, fc.nat(255), (script, bits) => {
      const list = new FrequencyList(SLOTS);
      const model = new Map<number, { count: number; at: number }>();
      script.forEach(([kind, slot], at) => {
        const known = model.get(slot);
        if (known === undefined) {
          list.add(slot);
          model.set(slot, { count: 1, at });
        } else if (kind === 0) {
          list.remove(slot);
          model.delete(slot);
        } else {
          list.count(slot);
          model.set(slot, { count: known.count + 1, at });
        }
        const order = [...model].sort(([, a], [, b]) => a.count - b.count || a.at - b.at);
        const slots = order.map(([other]) => other);
        const flags = flagsOf(bits);
        expect(list.lowest()).toBe(slots[0] ?? -1);
        expect(list.lowestClear(flags)).toBe(slots.find((other) => flags[other] === 0) ?? -1);
        expect(list.size()).toBe(slots.length);
      });
    });
    fc.assert(law);
  });
});

describe('SlotHeap', () => {
  it('has the least on top', () => {
    const law = fc.property(steps, fc.nat(255), (script, bits) => {
      const heap = new SlotHeap(SLOTS);
      const model = new Map<number, readonly [number, number]>();
      script.forEach(([kind, slot, key], at) => {
        if (kind === 0) {
          heap.remove(slot);
          model.delete(slot);
        } else {
          heap.set(slot, key, -at);
          model.set(slot, [key, -at]);
        }
        const order = [...model].sort(([, a], [, b]) => a[0] - b[0] || a[1] - b[1]);
        const slots = order.map(([other]) => other);
        const flags = flagsOf(bits);
        expect(heap.top()).toBe(slots[0] ?? -1);
        expect(heap.firstClear(flags)).toBe(slots.find((other) => flags[other] === 0) ?? -1);
        expect(heap.size).toBe(slots.length);
        expect(heap.has(slot)).toBe(model.has(slot));
      });
    });
    fc.assert(law);
  });
});

describe('GhostLists', () => {
  it('remembers the newest of each list', () => {
    const CAPACITY = 5;
    const ops = fc.array(fc.tuple(fc.nat(4), fc.nat(200), fc.nat(1)), { maxLength: 80 });
    const law = fc.property(ops, (script) => {
      const ghosts = new GhostLists(CAPACITY, 2);
      // Newest first.
      const model: [number[], number[]] = [[], []];
      const forget = (block: number) => {
        for (const list of model) {
          const at = list.indexOf(block);
          if (at >= 0) list.splice(at, 1);
        }
      };
      for (const [kind, block, list] of script) {
        const found = model.findIndex((blocks) => blocks.includes(block));
        expect(ghosts.find(block)).toBe(found);
        if (kind === 0) {
          expect(ghosts.delete(block)).toBe(found);
          forget(block);
        } else if (kind === 1) {
          ghosts.dropOldest(list);
          model[list].pop();
        } else {
          ghosts.push(block, list);
          forget(block);
          const full = model[0].length + model[1].length === CAPACITY;
          if (full) model[model[list].length > 0 ? list : 1 - list].pop();
          model[list].unshift(block);
        }
        expect([ghosts.size(0), ghosts.size(1)]).toEqual(model.map((blocks) => blocks.length));
      }
    });
    fc.assert(law);
  });

  it('remembers nothing without room', () => {
    const ghosts = new GhostLists(0);
    ghosts.push(3);
    expect([ghosts.find(3), ghosts.size()]).toEqual([-1, 0]);
  });
});

describe('SlotSampler', () => {
  it('draws each slot about equally often', () => {
    const sampler = new SlotSampler(10, () => 0.37);
    for (const slot of [1, 3, 4, 7, 9]) sampler.add(slot);
    sampler.remove(4);
    const drawn = new Map<number, number>();
    for (let i = 0; i < 40_000; i++) {
      const slot = sampler.draw();
      drawn.set(slot, (drawn.get(slot) ?? 0) + 1);
    }
    // Four slots, 10,000 each; five standard deviations are 433.
    expect([...drawn.keys()].toSorted((a, b) => a - b)).toEqual([1, 3, 7, 9]);
    for (const count of drawn.values()) expect(Math.abs(count - 10_000)).toBeLessThan(433);
  });

  it('draws slots without a flag when there is one', () => {
    const sampler = new SlotSampler(4, () => 0.5);
    for (const slot of [0, 1, 2]) sampler.add(slot);
    for (let i = 0; i < 20; i++) expect(sampler.drawClear(Uint8Array.of(1, 0, 1, 0))).toBe(1);
    expect(sampler.drawClear(Uint8Array.of(1, 1, 1, 0))).toBe(-1);
    expect(new SlotSampler(4, () => 0.5).draw()).toBe(-1);
  });
});

describe('FrequencySketch', () => {
  it('never estimates below the count, and exactly while there is room', () => {
    const random = randomOf(11);
    const sketch = new FrequencySketch(1 << 16);
    const careful = new FrequencySketch(1 << 10);
    const counts = new Map<number, number>();
    for (let i = 0; i < 3000; i++) {
      const block = Math.floor(random() ** 2 * 500);
      expect(sketch.estimate(block)).toBe(sketch.add(block));
      careful.addLeast(block);
      counts.set(block, (counts.get(block) ?? 0) + 1);
    }
    let off = 0;
    for (const [block, count] of counts) {
      expect(sketch.estimate(block)).toBeGreaterThanOrEqual(count);
      expect(careful.estimate(block)).toBeGreaterThanOrEqual(count);
      off += sketch.estimate(block) - count;
    }
    expect(off).toBe(0);
    sketch.halve();
    for (const [block, count] of counts) expect(sketch.estimate(block)).toBe(count >> 1);
  });
});

describe('ReuseModel', () => {
  it('values what comes back soon, and age where reuse takes its time', () => {
    const model = new ReuseModel(3, 20, 1);
    for (let i = 0; i < 1000; i++) {
      // Class 0 is used again after 10 accesses, class 1 after 1,000, class 2 never.
      model.addReuse(0, 10);
      model.addReuse(1, 1000);
      model.addEnd(2, 100_000);
    }
    model.learn();
    expect(model.value(0, 0)).toBeGreaterThan(model.value(1, 0));
    expect(model.value(1, 0)).toBeGreaterThan(model.value(2, 0));
    // A block of class 1 that has waited 900 is worth more than one that has just come.
    expect(model.value(1, 900)).toBeGreaterThan(5 * model.value(1, 0));
    // One use within about 1,000 accesses.
    expect(model.value(1, 0)).toBeCloseTo(1 / 1000, 3);
  });

  it('takes what waits now into account', () => {
    const seen = new ReuseModel(1, 1, 1);
    seen.addReuse(0, 100);
    seen.learn();
    const waiting = new ReuseModel(1, 1, 1);
    waiting.addReuse(0, 100);
    for (let i = 0; i < 9; i++) waiting.addPresent(0, 5000);
    waiting.learn();
    expect(waiting.value(0, 0)).toBeLessThan(seen.value(0, 0) / 3);
  });
});
