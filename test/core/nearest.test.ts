import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, nearest, oneOf } from '../../src/core/kit/nearest.ts';

describe('the nearest known word', () => {
  it('is found by edit distance, whatever the case', () => {
    expect(nearest('convrsation', ['demo', 'conversation', 'synthetic'])).toBe('conversation');
    expect(nearest('DEMO', ['demo', 'dem'])).toBe('demo');
    expect(nearest('xyz', ['conversation'])).toBeNull();
    expect(nearest('a', [])).toBeNull();
  });

  it('stands in the list of what is known', () => {
    expect(oneOf('lro', ['lru', 'fifo'])).toBe('one of lru, fifo (nearest: lru)');
    expect(oneOf('lro', ['lru'])).toBe('lru');
    expect(oneOf('something-else', ['lru', 'fifo'])).toBe('one of lru, fifo');
  });

  it('has a distance that is a metric', () => {
    expect(editDistance('kitten', 'sitting')).toBe(3);
    const word = fc.string({ maxLength: 8, unit: fc.constantFrom('a', 'b', 'c') });
    fc.assert(
      fc.property(word, word, word, (a, b, c) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b) === 0).toBe(a === b);
        expect(editDistance(a, c)).toBeLessThanOrEqual(editDistance(a, b) + editDistance(b, c));
        expect(editDistance(a, b)).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
      }),
    );
  });
});
