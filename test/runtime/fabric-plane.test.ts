/** The fabric rail over libfabric's TCP providers on the loopback: the same laws, without RDMA. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DataPlane, Segment } from '../../src/runtime/data-plane.ts';
import { readHardware } from '../../src/runtime/hardware.ts';
import { Status } from '../../src/runtime/native.ts';
import type { Pool } from '../../src/runtime/native-pool.ts';
import { chooseRails } from '../../src/runtime/rail-discovery.ts';
import { bundle } from '../support/bundle.ts';
import { fabricProviders } from '../support/fabric.ts';
import { native } from '../support/native.ts';
import { fill, moved, moveOf, openPlane, publishAll, SLOT_BYTES, SLOTS } from '../support/plane.ts';

const { providers, reason } = fabricProviders();
if (reason !== null) it.skip(`moves over libfabric (skipped: ${reason})`, () => {});

const crcOf = (bytes: Uint8Array): number => native().crc32c(bytes, 0);

for (const provider of providers) {
  const options = { provider, address: '127.0.0.1' };

  describe(`fabric over ${provider}`, () => {
    let here: { plane: DataPlane; pool: Pool };
    let there: { plane: DataPlane; pool: Pool };
    let segment: Segment;

    beforeEach(() => {
      here = openPlane(['fabric'], { sliceBytes: 64 * 1024 }, options);
      there = openPlane(['fabric'], {}, options);
      publishAll(there.pool, 1);
      segment = here.plane.importSegment(there.pool.describe())!;
    });

    afterEach(() => {
      expect(here.plane.close()).toBe(true);
      expect(there.plane.close()).toBe(true);
    });

    it('says what it runs on and what it can', () => {
      expect(here.plane.rails()[0]).toMatchObject({
        kind: 'fabric',
        detail: `${provider} lo`,
        read: true,
        write: true,
        deliveryComplete: true,
        enforcesGrants: false,
      });
    });

    it('reads whole blocks and parts, with the checksum of what arrived', async () => {
      for (const [offset, remoteOffset, bytes] of [
        [0, 0, SLOT_BYTES],
        [5, 1_234, 100_001],
        [SLOT_BYTES - 1, 7, 1],
      ]) {
        fill(here.pool.bytes(3), 99);
        const before = here.pool.bytes(3).slice();
        const move = moveOf(here.pool, segment, { slot: 3, remoteSlot: 9, sum: true });
        const end = await moved(here.plane, { ...move, offset, remoteOffset, bytes });
        const source = there.pool.bytes(9).subarray(remoteOffset, remoteOffset + bytes);
        expect(end).toMatchObject({ status: Status.ok, attempts: 1, crc: crcOf(source) });
        before.set(source, offset);
        expect(Buffer.compare(here.pool.bytes(3), before)).toBe(0);
      }
    });

    it('writes, delivered when it ends; the rail has no sum of what arrived', async () => {
      for (let slot = 0; slot < SLOTS; slot++) {
        fill(here.pool.bytes(slot), 1_000 + slot);
        const crc = crcOf(here.pool.bytes(slot));
        const move = moveOf(here.pool, segment, { write: true, slot, remoteSlot: slot, crc });
        const end = await moved(here.plane, move);
        expect(end).toMatchObject({ status: Status.ok, crc: null, unverified: true });
        expect(Buffer.compare(here.pool.bytes(slot), there.pool.bytes(slot))).toBe(0);
      }
    });

    it('scatters many parts at once, each to its place', async () => {
      const part = SLOT_BYTES / 16;
      const ends = await Promise.all(
        Array.from({ length: SLOTS * 16 }, (_, i) => {
          // A permutation: 7 and 256 have no common divisor.
          const to = (i * 7) % (SLOTS * 16);
          return moved(here.plane, {
            ...moveOf(here.pool, segment, { slot: to >> 4, remoteSlot: i >> 4 }),
            offset: (to & 15) * part,
            remoteOffset: (i & 15) * part,
            bytes: part,
          });
        }),
      );
      expect(ends.every(({ status }) => status === Status.ok)).toBe(true);
      for (let i = 0; i < SLOTS * 16; i++) {
        const to = (i * 7) % (SLOTS * 16);
        const source = there.pool.bytes(i >> 4).subarray((i & 15) * part, ((i & 15) + 1) * part);
        const target = here.pool.bytes(to >> 4).subarray((to & 15) * part, ((to & 15) + 1) * part);
        expect(Buffer.compare(source, target)).toBe(0);
      }
      expect(here.pool.inUse(0)).toBe(false);
    });

    it('sees another content by its checksum', async () => {
      const crc = crcOf(there.pool.bytes(2));
      fill(there.pool.bytes(2), 4_711);
      const end = await moved(here.plane, moveOf(here.pool, segment, { remoteSlot: 2, crc }));
      expect(end.status).toBe(Status.checksumMismatch);
    });

    it('reaches nothing behind the slots', async () => {
      // The slot table follows them in memory; the registration ends before it.
      const shape = segment.info.slots * segment.info.slotBytes;
      expect(shape).toBe(SLOTS * SLOT_BYTES);
      const end = await moved(here.plane, moveOf(here.pool, segment, { remoteSlot: SLOTS }));
      expect(end.status).toBe(Status.outOfBounds);
    });

    it('serves a pool that was made after others were closed', async () => {
      expect(there.pool.close()).toBe(true);
      const pool = there.plane.createPool({
        slotBytes: SLOT_BYTES,
        slots: SLOTS,
        hugetlb: false,
        prefault: false,
      });
      publishAll(pool, 1);
      const fresh = here.plane.importSegment(pool.describe())!;
      const crc = crcOf(pool.bytes(1));
      const end = await moved(here.plane, moveOf(here.pool, fresh, { remoteSlot: 1, crc }));
      expect(end.status).toBe(Status.ok);
    });
  });

  describe(`fabric over ${provider}, to a process that dies`, () => {
    let target: ChildProcess;
    let descriptorBytes: Uint8Array;

    beforeEach(async () => {
      const program = await bundle('test/support/fabric-target.ts');
      target = fork(program, [`${SLOT_BYTES}`, `${SLOTS}`, provider, '127.0.0.1']);
      const [{ descriptor }] = await once(target, 'message');
      descriptorBytes = Uint8Array.from(descriptor);
    });

    afterEach(() => {
      target.kill('SIGKILL');
    });

    it('ends every move by its deadline, and those that succeed are intact', async () => {
      const { plane, pool } = openPlane(['fabric'], { attemptNs: 1e9, attemptsMax: 2 }, options);
      const segment = plane.importSegment(descriptorBytes)!;
      const wanted = new Uint8Array(SLOT_BYTES);
      fill(wanted, 5);
      const crc = crcOf(wanted);
      const move = () => moved(plane, moveOf(pool, segment, { remoteSlot: 5, crc }));
      expect((await move()).status).toBe(Status.ok);
      expect(Buffer.compare(pool.bytes(0), wanted)).toBe(0);

      const over = (i: number) => ({ slot: i % SLOTS, remoteSlot: 5, crc, deadlineNs: 4e9 });
      const open = Array.from({ length: 300 }, (_, i) =>
        moved(plane, moveOf(pool, segment, over(i))),
      );
      plane.flush();
      await Promise.race(open);
      target.kill('SIGKILL');
      const ends = await Promise.all(open);
      const allowed: Status[] = [
        Status.ok,
        Status.peerReset,
        Status.peerUnreachable,
        Status.timedOut,
        Status.railDown,
        Status.cancelled,
      ];
      for (const { status } of ends) expect(allowed).toContain(status);
      const late = await moved(plane, moveOf(pool, segment, over(0)));
      expect(late.status).not.toBe(Status.ok);
      for (let slot = 0; slot < SLOTS; slot++) expect(pool.inUse(slot)).toBe(false);
      expect(plane.close()).toBe(true);
    });
  });
}

describe.runIf(reason === null)('discovery', () => {
  it('offers the loopback over TCP and chooses rails that open', () => {
    const fabric = native().fabric('');
    expect(fabric.version).toMatch(/^[12]\.\d+$/);
    expect(fabric.offers).toContainEqual(
      expect.objectContaining({ domain: 'lo', address: '127.0.0.1', up: true }),
    );
    const rails = chooseRails(fabric.offers, readHardware());
    expect(rails.length).toBeGreaterThan(0);
    for (const { provider, domain, address } of rails) {
      const { plane } = openPlane(['fabric'], {}, { provider, domain, address: address ?? '' });
      expect(plane.rails()[0].detail).toBe(`${provider} ${domain}`);
      expect(plane.close()).toBe(true);
    }
  });

  it('says what is not there', () => {
    const add = (options: Record<string, string>) => () => openPlane(['fabric'], {}, options);
    expect(add({ provider: 'nonesuch' })).toThrow(/libfabric has no nonesuch/);
    expect(add({ provider: providers[0], domain: 'mlx9' })).toThrow(/on mlx9/);
  });
});
