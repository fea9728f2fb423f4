import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JobTable } from '../../src/runtime/job-table.ts';

test('is a map of tags that count up, however many are open and however long some stay', () => {
  const ends = fc.array(fc.nat(12_000), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(ends, fc.integer({ min: 1, max: 5000 }), (stay, window) => {
      const table = new JobTable<string>();
      const model = new Map<number, string>();
      const stayers = new Set(stay);
      const tags = [0];
      for (let i = 1; i <= 12_000; i++) {
        const tag = table.open(`${i}`);
        expect(tag).toBeGreaterThan(tags[i - 1]);
        tags.push(tag);
        model.set(tag, `${i}`);
        const done = i - window;
        if (done < 1 || stayers.has(done)) continue;
        expect(table.delete(tags[done])).toBe(model.delete(tags[done]));
        if (done % 7 === 0) expect(table.delete(tags[done])).toBe(false);
      }
      for (const tag of [...tags, tags[12_000] + 1]) {
        expect(table.get(tag)).toBe(model.get(tag) ?? null);
      }
      expect(table.openTags()).toEqual([...model.keys()]);
    }),
    { numRuns: 5 },
  );
});
