/**
 * The owner reuses a slot under a reader, without asking, 10,000 seeded times per kind of rail: a
 * block is accepted only if its bytes are those of the generation that was leased.
 */
import { expect, it } from 'vitest';
import { Status } from '../../src/runtime/native.ts';
import { Grant } from '../../src/runtime/native-pool.ts';
import { describeNative, native } from '../support/native.ts';
import { fill, moved, moveOf, openPlane } from '../support/plane.ts';

const RACES = 10_000;
const BYTES = 32 * 1024;
/** Contents take turns, so that each and its checksum is made once. */
const CONTENTS = 8;

describeNative(`${RACES} races for a slot`, () => {
  for (const kind of ['local', 'tcp'] as const) {
    it(`none accepted stale over ${kind}`, { timeout: 300_000 }, async () => {
      const here = openPlane([kind]);
      const there = openPlane([kind]);
      const segment = here.plane.importSegment(there.pool.describe())!;
      const contents = Array.from({ length: CONTENTS }, (_, i) => {
        const bytes = new Uint8Array(BYTES);
        fill(bytes, i);
        return { bytes, crc: native().crc32c(bytes, 0) };
      });
      const seen = { accepted: 0, stale: 0, checksum: 0 };
      let state = 1;
      for (let race = 0; race < RACES; race++) {
        state = (state * 48_271) % 2_147_483_647;
        const generation = race + 1;
        const { bytes, crc } = contents[generation % CONTENTS];
        const slot = there.pool.bytes(0).subarray(0, BYTES);
        slot.set(bytes);
        there.pool.publish(0, generation, Grant.read);
        const pending = moved(
          here.plane,
          moveOf(here.pool, segment, { generation, crc, bytes: BYTES }),
        );
        here.plane.flush();
        // Up to about 60 us, then reuse it whatever goes on.
        for (let spin = state % 20_000; spin > 0; spin--) state ^= spin & 0;
        const next = contents[(generation + 1) % CONTENTS].bytes;
        // Every third owner is so rude that only the checksum can tell.
        if (race % 3 !== 0) there.pool.withdraw(0, generation + 1);
        slot.set(next);
        const { status } = await pending;
        if (status === Status.ok) {
          seen.accepted++;
          const same = Buffer.compare(here.pool.bytes(0).subarray(0, BYTES), bytes) === 0;
          if (!same) throw new Error(`race ${race}: a stale block was accepted`);
        } else if (status === Status.staleSlot) seen.stale++;
        else if (status === Status.checksumMismatch) seen.checksum++;
        else throw new Error(`race ${race}: status ${status}`);
      }
      expect(seen.accepted).toBeGreaterThan(0);
      expect(seen.stale).toBeGreaterThan(0);
      expect(seen.checksum).toBeGreaterThan(0);
      here.plane.close();
      there.plane.close();
    });
  }
});
