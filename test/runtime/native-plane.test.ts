/** Laws of moving: every byte arrives intact or the move is reported failed; nobody hangs. */
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import nearest from '../../src/policy/rail/nearest.ts';
import {
  DataPlane,
  PLANE_DEFAULTS,
  type RailKind,
  type Segment,
} from '../../src/runtime/data-plane.ts';
import { Status } from '../../src/runtime/native.ts';
import { Grant, type Pool } from '../../src/runtime/native-pool.ts';
import { describeNative, native } from '../support/native.ts';
import { fill, moved, moveOf, openPlane, publishAll, SLOT_BYTES, SLOTS } from '../support/plane.ts';

interface Side {
  plane: DataPlane;
  pool: Pool;
}

const crcOf = (bytes: Uint8Array): number => native().crc32c(bytes, 0);

for (const kind of ['local', 'tcp'] as const) {
  describeNative(`moves over ${kind}`, () => {
    let here: Side;
    let there: Side;
    let segment: Segment;

    beforeEach(() => {
      here = openPlane([kind], { sliceBytes: 64 * 1024 });
      there = openPlane([kind]);
      publishAll(there.pool, 1);
      segment = here.plane.importSegment(there.pool.describe())!;
    });

    afterEach(() => {
      expect(here.plane.close()).toBe(true);
      expect(there.plane.close()).toBe(true);
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

    it('writes, delivered when it ends', async () => {
      fill(here.pool.bytes(2), 77);
      const crc = crcOf(here.pool.bytes(2));
      const move = moveOf(here.pool, segment, { write: true, slot: 2, remoteSlot: 4, crc });
      const end = await moved(here.plane, move);
      expect(end).toMatchObject({ status: Status.ok, crc });
      expect(Buffer.compare(here.pool.bytes(2), there.pool.bytes(4))).toBe(0);
    });

    it('moves many at once, each to its place', async () => {
      const ends = await Promise.all(
        Array.from({ length: 400 }, (_, i) => {
          const slot = i % SLOTS;
          const urgent = i % 3 === 0;
          return moved(here.plane, moveOf(here.pool, segment, { slot, remoteSlot: slot, urgent }));
        }),
      );
      expect(ends.every(({ status }) => status === Status.ok)).toBe(true);
      for (let slot = 0; slot < SLOTS; slot++) {
        expect(Buffer.compare(here.pool.bytes(slot), there.pool.bytes(slot))).toBe(0);
      }
      expect(here.pool.inUse(0) || there.pool.inUse(0)).toBe(false);
    });

    it('refuses another generation and what is not granted', async () => {
      const stale = await moved(here.plane, moveOf(here.pool, segment, { generation: 2 }));
      expect(stale.status).toBe(Status.staleSlot);
      there.pool.publish(5, 1, Grant.read);
      const over = { write: true, remoteSlot: 5 };
      const write = await moved(here.plane, moveOf(here.pool, segment, over));
      expect(write.status).toBe(Status.staleSlot);
      there.pool.withdraw(5, 2);
      const read = await moved(here.plane, moveOf(here.pool, segment, { remoteSlot: 5 }));
      expect(read.status).toBe(Status.staleSlot);
      const good = await moved(here.plane, moveOf(here.pool, segment, { remoteSlot: 6 }));
      expect(good.status).toBe(Status.ok);
    });

    it('goes on after refusals between moves that succeed', async () => {
      const ends = await Promise.all(
        Array.from({ length: 200 }, (_, i) => {
          const over = { slot: i % SLOTS, remoteSlot: i % SLOTS, generation: i % 5 === 0 ? 2 : 1 };
          return moved(here.plane, moveOf(here.pool, segment, { ...over, sum: true }));
        }),
      );
      ends.forEach(({ status, crc }, i) => {
        expect(status).toBe(i % 5 === 0 ? Status.staleSlot : Status.ok);
        if (i % 5 !== 0) expect(crc).toBe(crcOf(there.pool.bytes(i % SLOTS)));
      });
    });

    it('reports a checksum that differs', async () => {
      const end = await moved(here.plane, moveOf(here.pool, segment, { crc: 1 }));
      expect(end.status).toBe(Status.checksumMismatch);
    });

    it('checks bounds on this side', async () => {
      for (const over of [
        { bytes: SLOT_BYTES + 1 },
        { bytes: 0 },
        { remoteSlot: SLOTS },
        { offset: 1 },
      ]) {
        const end = await moved(here.plane, moveOf(here.pool, segment, over));
        expect(end.status).toBe(Status.outOfBounds);
      }
    });

    it('says that the peer is gone, soon', async () => {
      expect((await moved(here.plane, moveOf(here.pool, segment, {}))).status).toBe(Status.ok);
      there.plane.close();
      const end = await moved(here.plane, moveOf(here.pool, segment, { deadlineNs: 3e9 }));
      expect([Status.peerUnreachable, Status.peerReset]).toContain(end.status);
      expect(end.quarantined).toBe(false);
      expect(here.pool.inUse(0)).toBe(false);
    });

    it('does not close a pool under its moves, and ends them when it closes', async () => {
      const pending = moved(here.plane, moveOf(here.pool, segment, {}));
      here.plane.flush();
      const closed = here.pool.close();
      const end = await pending;
      if (!closed) expect(here.pool.close()).toBe(true);
      expect(end.status).toBe(Status.ok);
    });
  });
}

describeNative('pools and descriptors', () => {
  it('detaches what JavaScript saw of a closed pool', () => {
    const { plane, pool } = openPlane([]);
    const view = pool.bytes(1);
    expect(view.length).toBe(SLOT_BYTES);
    expect(pool.close()).toBe(true);
    expect(view.length).toBe(0);
    plane.close();
  });

  it('takes the rails that the topology matrix prefers for the memory', async () => {
    const policy = nearest.create({ random: () => 0.5 }, {});
    const plane = new DataPlane(native(), policy, { ...PLANE_DEFAULTS, sliceBytes: 4096 });
    const tcp = { kind: 'tcp', bytesPerNs: null, options: {} } as const;
    plane.addRail(tcp, 'nic0');
    plane.addRail(tcp, 'nic1');
    plane.setTopology({ 'cpu:0': [['nic1'], ['nic0']], 'cpu:1': [['nic0'], ['nic1']] });
    const shape = { slotBytes: SLOT_BYTES, slots: 2, hugetlb: false, prefault: false };
    const there = openPlane(['tcp', 'tcp']);
    publishAll(there.pool, 1);
    const segment = plane.importSegment(there.pool.describe())!;
    for (const [location, used] of [
      ['cpu:0', 1],
      ['cpu:1', 0],
    ] as const) {
      const pool = plane.createPool(shape, location);
      const before = plane.rails().map(({ movedBytes }) => movedBytes);
      expect((await moved(plane, moveOf(pool, segment, {}))).status).toBe(Status.ok);
      const bytes = plane.rails().map(({ movedBytes }, i) => movedBytes - before[i]);
      expect([bytes[used], bytes[1 - used]]).toEqual([SLOT_BYTES, 0]);
    }
    plane.close();
    there.plane.close();
  });

  it('takes no descriptor that was changed, cut or made up', () => {
    const { plane, pool } = openPlane(['local', 'tcp']);
    const blob = pool.describe();
    expect(plane.importSegment(blob)).not.toBeNull();
    for (let i = 0; i < blob.length; i++) {
      const changed = Uint8Array.from(blob);
      changed[i] ^= 1 << (i % 8);
      expect(plane.importSegment(changed)).toBeNull();
      expect(plane.importSegment(blob.slice(0, i))).toBeNull();
    }
    plane.close();
  });

  it('says what is wrong with a rail', () => {
    const { plane } = openPlane([]);
    const add = (options: Record<string, string>) => () =>
      plane.addRail({ kind: 'tcp', bytesPerNs: null, options });
    expect(add({ host: 'nowhere.example' })).toThrow(/found 'nowhere.example'/);
    expect(add({ host: '0.0.0.0', token: 'x' })).toThrow(/advertise/);
    expect(add({ host: '0.0.0.0', advertise: '127.0.0.1' })).toThrow(/token/);
    plane.close();
  });
});

describeNative('tcp against strangers', () => {
  const open = (token: string) => openPlane(['tcp'], { attemptsMax: 1 }, { token });

  it('refuses another token', async () => {
    const here = open('one');
    const there = open('two');
    publishAll(there.pool, 1);
    const segment = here.plane.importSegment(there.pool.describe())!;
    const end = await moved(here.plane, moveOf(here.pool, segment, {}));
    expect(end.status).toBe(Status.peerUnreachable);
    here.plane.close();
    there.plane.close();
  });

  it('closes on garbage and serves others meanwhile', async () => {
    const here = open('same');
    const there = open('same');
    publishAll(there.pool, 1);
    const segment = here.plane.importSegment(there.pool.describe())!;
    const [host, port] = there.plane.rails()[0].detail.split(':');
    for (let round = 0; round < 10; round++) {
      const garbage = new Uint8Array(1 + round * 997);
      fill(garbage.subarray(0, garbage.length & ~3), round);
      const closed = new Promise<void>((resolve) => {
        const socket = connect(Number(port), host, () => socket.write(garbage));
        socket.on('error', () => {}).on('close', () => resolve());
        socket.resume();
        if (round === 0) socket.end();
      });
      const end = await moved(here.plane, moveOf(here.pool, segment, { sum: true }));
      expect(end).toMatchObject({ status: Status.ok, crc: crcOf(there.pool.bytes(0)) });
      if (round > 0 || garbage.length >= 56) await closed;
    }
    here.plane.close();
    there.plane.close();
  });
});

describeNative('local without the socket', () => {
  it('reads by process_vm_readv and leaves writes to others', async () => {
    const here = openPlane(['local', 'tcp'], {}, { map: '0' });
    const there = openPlane(['local', 'tcp']);
    publishAll(there.pool, 1);
    const segment = here.plane.importSegment(there.pool.describe())!;
    const read = await moved(here.plane, moveOf(here.pool, segment, { remoteSlot: 3, sum: true }));
    expect(read).toMatchObject({ status: Status.ok, crc: crcOf(there.pool.bytes(3)) });
    expect(here.plane.rails()[0].movedBytes).toBe(SLOT_BYTES);
    const write = await moved(here.plane, moveOf(here.pool, segment, { write: true }));
    expect(write.status).toBe(Status.ok);
    expect(here.plane.rails()[1].movedBytes).toBe(SLOT_BYTES);
    here.plane.close();
    there.plane.close();
  });
});

describeNative('several rails', () => {
  const kinds: RailKind[] = ['tcp', 'tcp', 'tcp'];

  it('stripes a block over all of them', async () => {
    const here = openPlane(kinds, { sliceBytes: 16 * 1024 });
    const there = openPlane(kinds);
    publishAll(there.pool, 1);
    const segment = here.plane.importSegment(there.pool.describe())!;
    const crc = crcOf(there.pool.bytes(0));
    const end = await moved(here.plane, moveOf(here.pool, segment, { crc }));
    expect(end).toMatchObject({ status: Status.ok, crc });
    expect(end.slices.length).toBe(16);
    for (const rail of here.plane.rails()) expect(rail.movedBytes).toBeGreaterThan(0);
    here.plane.close();
    there.plane.close();
  });
});

describe('status texts', () => {
  it('has one for every number', async () => {
    const { statusText } = await import('../../src/runtime/native.ts');
    for (const status of Object.values(Status)) expect(statusText(status)).toBeTruthy();
  });
});
