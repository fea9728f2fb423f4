import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EventQueue } from '../../src/core/kit/event-queue.ts';
import { copyByFields } from './copy-by-fields.ts';

interface Event {
  readonly timeNs: number;
  readonly rank: number;
  readonly payload: number;
}

/** Few distinct times and ranks, so that ties are common. */
const rank = fc.integer({ min: 0, max: 15 });
const crowded = fc.record({ timeNs: fc.integer({ min: 0, max: 12 }), rank });
const spread = fc.record({ timeNs: fc.integer({ min: 0, max: 2 ** 53 - 1 }), rank });
const keys = fc.oneof(
  fc.array(crowded, { maxLength: 300, size: 'max' }),
  fc.array(spread, { maxLength: 300, size: 'max' }),
);

function pushAll(queue: EventQueue, events: readonly Event[]): void {
  for (const { timeNs, rank, payload } of events) queue.push(timeNs, rank, payload);
}

function popOne(queue: EventQueue): Event {
  const payload = queue.pop();
  return { timeNs: queue.lastTimeNs, rank: queue.lastRank, payload };
}

function drain(queue: EventQueue): Event[] {
  const events: Event[] = [];
  while (queue.size > 0) events.push(popOne(queue));
  return events;
}

/** The oracle: Array.prototype.sort is stable, so equal keys stay in the order of their pushes. */
function sorted(events: readonly Event[]): Event[] {
  return [...events].sort((a, b) => a.timeNs - b.timeNs || a.rank - b.rank);
}

function numbered(list: readonly { timeNs: number; rank: number }[]): Event[] {
  return list.map(({ timeNs, rank }, payload) => ({ timeNs, rank, payload }));
}

describe('order', () => {
  test('time before rank before arrival', () => {
    const queue = new EventQueue();
    queue.push(20, 0, 1);
    queue.push(10, 5, 2);
    queue.push(10, 3, 3);
    queue.push(10, 5, 4);
    queue.push(10, 3, 5);
    expect(drain(queue).map((event) => event.payload)).toEqual([3, 5, 2, 4, 1]);
  });

  test('a thousand equal keys leave as they came', () => {
    const queue = new EventQueue(1);
    for (let i = 0; i < 1000; i++) queue.push(7, 2, i);
    expect(drain(queue).map((event) => event.payload)).toEqual([...Array(1000).keys()]);
  });

  test('is that of a stable sort', () => {
    fc.assert(
      fc.property(keys, fc.integer({ min: 1, max: 64 }), (list, capacity) => {
        const queue = new EventQueue(capacity);
        const events = numbered(list);
        pushAll(queue, events);
        expect(queue.size).toBe(events.length);
        expect(drain(queue)).toEqual(sorted(events));
      }),
    );
  });

  test('holds when pushes and pops alternate', () => {
    // A step pops some events, then pushes some that lie a delay after the last one popped.
    const steps = fc.array(
      fc.record({ pops: fc.nat(6), pushes: fc.array(crowded, { maxLength: 6 }) }),
      { maxLength: 60, size: 'max' },
    );
    fc.assert(
      fc.property(steps, (list) => {
        const queue = new EventQueue(2);
        let waiting: Event[] = [];
        let payload = 0;
        for (const { pops, pushes } of list) {
          for (let i = 0; i < pops && waiting.length > 0; i++) {
            expect(queue.peekTimeNs()).toBe(waiting[0].timeNs);
            expect(queue.peekRank()).toBe(waiting[0].rank);
            expect(popOne(queue)).toEqual(waiting.shift());
          }
          const nowNs = queue.lastTimeNs;
          for (const { timeNs, rank } of pushes) {
            const event = { timeNs: nowNs + timeNs, rank, payload: payload++ };
            queue.push(event.timeNs, event.rank, event.payload);
            waiting = sorted([...waiting, event]);
          }
          expect(queue.size).toBe(waiting.length);
        }
        expect(drain(queue)).toEqual(waiting);
      }),
    );
  });
});

describe('borders', () => {
  test('an empty queue', () => {
    const queue = new EventQueue();
    expect([queue.size, queue.peekTimeNs(), queue.pop()]).toEqual([0, Infinity, -1]);
    queue.push(5, 15, -7);
    expect(popOne(queue)).toEqual({ timeNs: 5, rank: 15, payload: -7 });
    expect([queue.size, queue.pop(), queue.lastTimeNs, queue.lastRank]).toEqual([0, -1, 5, 15]);
  });

  test('payloads are any int32', () => {
    const queue = new EventQueue();
    queue.push(1, 0, 2 ** 31 - 1);
    queue.push(1, 0, -(2 ** 31));
    expect(drain(queue).map((event) => event.payload)).toEqual([2 ** 31 - 1, -(2 ** 31)]);
  });

  test('what would break the order is refused', () => {
    const queue = new EventQueue();
    queue.push(10, 0, 1);
    queue.pop();
    queue.push(10, 0, 2);
    const expected = 'expected at least 10 ns, rank 0..15, an int32 payload';
    expect(() => queue.push(9, 0, 3)).toThrow(expected);
    expect(() => queue.push(NaN, 0, 3)).toThrow(expected);
    expect(() => queue.push(10, 16, 3)).toThrow(expected);
    expect(() => queue.push(10, 0.5, 3)).toThrow(expected);
    expect(() => queue.push(10, 0, 2 ** 31)).toThrow(expected);
    expect(drain(queue).map((event) => event.payload)).toEqual([2]);
  });
});

test('a copy by fields continues alike', () => {
  fc.assert(
    fc.property(keys, keys, (before, after) => {
      const queue = new EventQueue(4);
      pushAll(queue, numbered(before));
      const copy = copyByFields(queue);
      pushAll(queue, numbered(after));
      pushAll(copy, numbered(after));
      expect(drain(copy)).toEqual(drain(queue));
    }),
  );
});
