import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/errors.ts';
import { scaleRate, takeFirst } from '../../src/trace/transform.ts';
import { line, readLines } from './files.ts';

const trace = await readLines([
  line({ session_id: 'a', priority: 1 }),
  line({ timestamp: 10, hash_ids: [0, 2], session_id: 'a', delay: 5 }),
  line({ timestamp: 40, hash_ids: [7, 8] }),
]);

describe('scaling the arrival rate', () => {
  it('divides times and rounds to whole ns', () => {
    expect([...scaleRate(trace, 3).arrivalNs]).toEqual([0, 3_333_333, 13_333_333]);
    expect([...scaleRate(trace, 0.5).arrivalNs]).toEqual([0, 20e6, 80e6]);
  });

  it('changes nothing else, and nothing in the original', () => {
    const { arrivalNs: _, ...scaled } = scaleRate(trace, 2);
    const { arrivalNs, ...original } = trace;
    expect(scaled).toEqual(original);
    expect([...arrivalNs]).toEqual([0, 10e6, 40e6]);
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses %s', (rate) => {
    expect(() => scaleRate(trace, rate)).toThrow(InputError);
  });

  it('refuses what makes times too long to count in ns', () => {
    expect(() => scaleRate(trace, 1e-9)).toThrow('rate: found 1e-9, expected');
  });
});

describe('the first requests', () => {
  it('are as if the trace had ended there', async () => {
    const alone = await readLines([
      line({ session_id: 'a', priority: 1 }),
      line({ timestamp: 10, hash_ids: [0, 2], session_id: 'a', delay: 5 }),
    ]);
    expect({ ...takeFirst(trace, 2), sha256: '' }).toEqual({ ...alone, sha256: '' });
    expect(takeFirst(trace, 2).sha256).toBe(trace.sha256);
  });

  it('are all where there are no more', () => {
    expect(takeFirst(trace, 3)).toBe(trace);
    expect(takeFirst(trace, 4)).toBe(trace);
  });

  it.each([0, -3, 1.5, Number.NaN])('are not %s', (limit) => {
    expect(() => takeFirst(trace, limit)).toThrow('expected an integer of at least 1');
  });
});
