/** What of a process's memory is pools. */
import { expect, it } from 'vitest';
import { mappedMemory, residentMemory } from '../../src/runtime/process-memory.ts';
import { describeNative } from '../support/native.ts';
import { openPlane } from '../support/plane.ts';

const POOL_BYTES = 64 << 20;
/** Code that is loaded meanwhile. */
const SLACK_BYTES = 8 << 20;

describeNative('the memory of a process', () => {
  it('is told from its pools, by the kernel in two ways', () => {
    const { plane } = openPlane(['local']);
    const before = { mapped: mappedMemory(process.pid)!, resident: residentMemory() };
    plane.createPool({
      slotBytes: 1 << 20,
      slots: POOL_BYTES >> 20,
      hugetlb: false,
      prefault: true,
    });
    const after = { mapped: mappedMemory(process.pid)!, resident: residentMemory() };
    const pools = after.mapped.poolBytes - before.mapped.poolBytes;
    expect(pools).toBeGreaterThanOrEqual(POOL_BYTES);
    // Beside the slots lies what says who has them.
    expect(pools).toBeLessThan(POOL_BYTES + (4 << 20));
    for (const kind of ['mapped', 'resident'] as const) {
      const grown = after[kind].withoutPoolsBytes - before[kind].withoutPoolsBytes;
      expect(Math.abs(grown), kind).toBeLessThan(SLACK_BYTES);
    }
    const { rssBytes, withoutPoolsBytes } = after.resident;
    expect(rssBytes - withoutPoolsBytes).toBeGreaterThanOrEqual(POOL_BYTES);
    expect(after.mapped.privateBytes).toBeLessThanOrEqual(after.mapped.withoutPoolsBytes);
    plane.close();
    expect(mappedMemory(process.pid)!.poolBytes).toBeLessThanOrEqual(before.mapped.poolBytes);
  });

  it('is none where there is no process', () => {
    expect(mappedMemory(2 ** 30)).toBeNull();
  });
});
