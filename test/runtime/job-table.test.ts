import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JobTable } from '../../src/runtime/job-table.ts';

test('is a map of tags that count up, however long some stay', () => {
  const ends = fc.array(fc.nat(12_000), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(ends, fc.integer({ min: 1, max: 5000 }), (stay, window) => {
      const table = new JobTable<string>();
      const model = new Map<number, string>();
      const stayers = new Set(stay);
      for (let tag = 1; tag <= 12_000; tag++) {
        table.set(tag, `${tag}`);
        model.set(tag, `${tag}`);
        const done = tag - window;
        if (done < 1 || stayers.has(done)) continue;
        expect(table.delete(done)).toBe(model.delete(done));
        if (done % 7 === 0) expect(table.delete(done)).toBe(false);
      }
      for (const tag of [0, 12_001, ...stay, ...model.keys()]) {
        expect(table.get(tag)).toBe(model.get(tag));
      }
      expect(table.entries()).toEqual([...model].sort(([a], [b]) => a - b));
    }),
    { numRuns: 20 },
  );
});
