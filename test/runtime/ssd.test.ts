/** The SSD store on a real filesystem: what it stores, refuses, loses and finds again. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { SSD_KEY_BYTES, SSD_STATUS, type SsdOptions } from '../../src/runtime/ssd.ts';
import { describeNative } from '../support/native.ts';
import {
  bytesOf,
  keyOf,
  keysOf,
  lengthOf,
  SLOT_BYTES,
  SsdBench,
  tempFolder,
} from '../support/ssd.ts';

const { ok, missing, exists, busy, full, lost, invalid } = SSD_STATUS;
const all = (count: number, status: number) => new Array<number>(count).fill(status);
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

let folder: ReturnType<typeof tempFolder>;
const open: SsdBench[] = [];

async function bench(options: Partial<SsdOptions> = {}): Promise<SsdBench> {
  const opened = await SsdBench.open(join(folder.path, 'store'), options);
  open.push(opened);
  return opened;
}

async function reopen(old: SsdBench, options: Partial<SsdOptions> = {}): Promise<SsdBench> {
  await old.store.close();
  return bench(options);
}

async function listed({ store }: SsdBench): Promise<number[]> {
  const blocks: number[] = [];
  for await (const { key } of store.list())
    blocks.push(new DataView(key.buffer).getUint32(0, true));
  return blocks.sort((a, b) => a - b);
}

beforeEach(() => {
  folder = tempFolder();
});

afterEach(async () => {
  await Promise.all(open.splice(0).map(({ store }) => store.close()));
  folder.remove();
});

/** Flips a bit of a file, or changes nothing and says what is there. */
function flip(file: string, at: number): void {
  const fd = openSync(join(folder.path, 'store', file), 'r+');
  const byte = new Uint8Array(1);
  readSync(fd, byte, 0, 1, at);
  byte[0] ^= 0x10;
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
}

for (const backend of ['io_uring', 'threads'] as const) {
  describeNative(`SSD store, ${backend}`, () => {
    it('gives back what was put, verified, also after reopening', async () => {
      let a = await bench({ backend });
      expect(a.store.capabilities.backend).toBe(backend);
      const blocks = range(0, 40);
      expect([...(await a.put(blocks)).statuses]).toEqual(all(40, ok));
      for (const reopened of [false, true]) {
        if (reopened) a = await reopen(a, { backend });
        const { statuses, sizes, crcs } = await a.get(blocks);
        expect([...statuses]).toEqual(all(40, ok));
        for (const block of blocks) {
          const bytes = bytesOf(block, 1).subarray(0, lengthOf(block, 1));
          expect(a.holds(block, block)).toBe(true);
          expect(sizes[block]).toBe(bytes.length);
          expect(crcs[block] | 0).toBe(crc32c(bytes));
        }
        expect(await listed(a)).toEqual(blocks);
      }
    });

    it('removes for good, and uses the slots again', async () => {
      let a = await bench({ backend, capacityBytes: 8 * SLOT_BYTES });
      for (let round = 0; round < 5; round++) {
        expect([...(await a.put(range(0, 8), round)).statuses]).toEqual(all(8, ok));
        expect([...(await a.store.remove(keysOf(range(0, 8)))).statuses]).toEqual(all(8, ok));
      }
      await a.put([3], 9);
      a = await reopen(a, { backend, capacityBytes: 8 * SLOT_BYTES });
      expect(await listed(a)).toEqual([3]);
      expect([...(await a.get([2, 3])).statuses]).toEqual([missing, ok]);
      expect(a.holds(1, 3, 9)).toBe(true);
      expect([...(await a.store.exists(keysOf([2, 3]))).statuses]).toEqual([missing, ok]);
      expect([...(await a.store.remove(keysOf([2]))).statuses]).toEqual([missing]);
    });

    it('says full at its capacity, and takes blocks again after a removal', async () => {
      const a = await bench({ backend, capacityBytes: 10 * SLOT_BYTES });
      const { statuses } = await a.put(range(0, 12));
      expect([...statuses].sort()).toEqual([...all(10, ok), ...all(2, full)]);
      const stored = range(0, 12).filter((i) => statuses[i] === ok);
      expect(await listed(a)).toEqual(stored);
      await a.store.remove(keyOf(stored[0]));
      expect([...(await a.put([100])).statuses]).toEqual([ok]);
    });

    it('stores a key once', async () => {
      const a = await bench({ backend });
      const both = await Promise.all([a.put([1]), a.putAt(1, 1, 2)]);
      expect(both.map(({ statuses }) => statuses[0])).toEqual([ok, busy]);
      expect([...(await a.put([1], 2)).statuses]).toEqual([exists]);
      await a.get([1]);
      expect(a.holds(0, 1, 1)).toBe(true);
    });

    it('detects flipped bits and a truncated segment, and serves neither', async () => {
      let a = await bench({ backend });
      await a.put(range(0, 8));
      const places = await Promise.all(range(0, 8).map((block) => placeOf(block)));
      flip('segment-000000', places[5]);
      expect([...(await a.get([4, 5, 6])).statuses]).toEqual([ok, lost, ok]);
      expect(Buffer.concat(a.lost)).toEqual(Buffer.from(keyOf(5)));
      expect([...(await a.get([5])).statuses]).toEqual([missing]);
      expect(a.store.stats()).toMatchObject({ lostBlocks: 1, quarantinedSlots: 1 });
      a = await reopen(a, { backend });
      expect(await listed(a)).toEqual([0, 1, 2, 3, 4, 6, 7]);
      expect(a.store.stats()).toMatchObject({ lostBlocks: 0, quarantinedSlots: 1 });
      await a.store.close();
      truncateSync(join(folder.path, 'store/segment-000000'), Math.max(...places));
      a = await bench({ backend });
      const last = places.indexOf(Math.max(...places));
      expect(await listed(a)).toEqual([0, 1, 2, 3, 4, 6, 7].filter((block) => block !== last));
      expect(a.store.stats().lostBlocks).toBe(1);
      expect([...(await a.put([5, last])).statuses]).toEqual([ok, ok]);
      expect([...(await a.get(range(0, 8))).statuses]).toEqual(all(8, ok));
    });

    it('finds a flipped bit by scrubbing', async () => {
      let a = await bench({ backend });
      await a.put(range(0, 6));
      const place = await placeOf(2);
      flip('segment-000000', place + lengthOf(2, 1) - 1);
      a = await reopen(a, { backend, scrubBytesPerSec: 100e6 });
      while (a.store.stats().scrubPasses < 1) await a.store.exists(keyOf(0));
      expect(Buffer.concat(a.lost)).toEqual(Buffer.from(keyOf(2)));
      expect(await listed(a)).toEqual([0, 1, 3, 4, 5]);
    });

    it('keeps to the scrub rate', async () => {
      const a = await bench({ backend, scrubBytesPerSec: SLOT_BYTES });
      await a.put(range(0, 20));
      for (let i = 0; i < 50; i++) await a.get(range(0, 20));
      // One block a second: at most what the time that passed allows, and one ahead.
      const { scrubbedBytes } = a.store.stats();
      expect(scrubbedBytes).toBeLessThan(20 * SLOT_BYTES);
    });

    it('refuses what does not fit', async () => {
      const a = await bench({ backend });
      await a.put([1]);
      const ask = (offset: number, size: number, keys = keyOf(1)) => ({
        memory: a.memory,
        keys,
        offsets: Float64Array.of(offset),
        sizes: Uint32Array.of(size),
        crcs: null,
      });
      const end = a.bytes.length;
      const wrong: [number, number][] = [
        [512, SLOT_BYTES],
        [-4096, SLOT_BYTES],
        [end, SLOT_BYTES],
        [end - SLOT_BYTES + 4096, SLOT_BYTES],
        [Number.NaN, SLOT_BYTES],
        [0, 4095],
      ];
      for (const [offset, size] of wrong) {
        expect([...(await a.store.get(ask(offset, size))).statuses]).toEqual([invalid]);
      }
      for (const size of [0, SLOT_BYTES + 1]) {
        expect([...(await a.store.put(ask(0, size, keyOf(2)))).statuses]).toEqual([invalid]);
      }
      const nowhere = { ...ask(0, SLOT_BYTES), memory: { index: 7, unregisteredReason: null } };
      expect([...(await a.store.get(nowhere)).statuses]).toEqual([invalid]);
    });

    it('takes a known checksum, and holds the bytes to it', async () => {
      const a = await bench({ backend });
      const bytes = bytesOf(1, 1).subarray(0, lengthOf(1, 1));
      a.bytes.set(bytes);
      const places = {
        memory: a.memory,
        offsets: Float64Array.of(0),
        sizes: Uint32Array.of(bytes.length),
      };
      const right = Uint32Array.of(crc32c(bytes));
      await a.store.put({ ...places, keys: keyOf(1), crcs: right });
      await a.store.put({ ...places, keys: keyOf(2), crcs: Uint32Array.of(right[0] ^ 1) });
      expect([...(await a.get([1, 2])).statuses]).toEqual([ok, lost]);
    });

    /** Where a block's bytes are in the one segment, found by looking. */
    async function placeOf(block: number): Promise<number> {
      const fd = openSync(join(folder.path, 'store/segment-000000'), 'r');
      const expected = bytesOf(block, 1).subarray(0, Math.min(64, lengthOf(block, 1)));
      const found = Buffer.alloc(expected.length);
      for (let slot = 0; readSync(fd, found, 0, found.length, slot * SLOT_BYTES) > 0; slot++) {
        if (found.equals(expected)) {
          closeSync(fd);
          return slot * SLOT_BYTES;
        }
      }
      closeSync(fd);
      throw new Error(`block ${block} is nowhere`);
    }
  });
}

describeNative('SSD store', () => {
  it('answers many batches in one callback, and all of them', async () => {
    const a = await bench();
    await a.put(range(0, 32));
    const batches = range(0, 200).map((i) => a.store.exists(keyOf(i % 40)));
    const answers = await Promise.all(batches);
    answers.forEach(({ statuses }, i) => {
      expect(statuses[0]).toBe(i % 40 < 32 ? ok : missing);
    });
  });

  it('does not lose a journal to flipped bits in one page', async () => {
    let a = await bench();
    for (const block of range(0, 8)) await a.put([block]);
    await a.store.close();
    // The third of eight pages: each put was its own commit.
    flip('journal-a', (2 + 2) * 4096 + 100);
    a = await bench();
    expect(await listed(a)).toEqual([0, 1, 3, 4, 5, 6, 7]);
    expect(a.store.stats().lostJournalPages).toBe(1);
    expect((await a.put([2])).statuses[0]).toBe(ok);
    a = await reopen(a);
    expect(await listed(a)).toEqual(range(0, 8));
    expect(a.store.stats().lostJournalPages).toBe(0);
  });

  it('takes a torn last page for what it is: never acknowledged', async () => {
    let a = await bench();
    for (const block of range(0, 4)) await a.put([block]);
    await a.store.close();
    flip('journal-a', (2 + 3) * 4096 + 100);
    a = await bench();
    expect(await listed(a)).toEqual([0, 1, 2]);
    expect(a.store.stats().lostJournalPages).toBe(0);
    expect((await a.put([3])).statuses[0]).toBe(ok);
    expect(await listed(await reopen(a))).toEqual([0, 1, 2, 3]);
  });

  it('compacts its journal, and keeps every block through it', async () => {
    let a = await bench();
    await a.put(range(0, 10));
    for (let i = 0; i < 400; i++) {
      await a.put([20]);
      await a.store.remove(keyOf(20));
    }
    expect(a.store.stats().compactions).toBeGreaterThan(0);
    a = await reopen(a);
    expect(await listed(a)).toEqual(range(0, 10));
    expect([...(await a.get(range(0, 10))).statuses]).toEqual(all(10, ok));
  });

  it('is opened by one process at a time, and only as it was made', async () => {
    const a = await bench();
    await expect(bench()).rejects.toThrow('another process has this store open');
    await a.store.close();
    await expect(bench({ slotBytes: 2 * SLOT_BYTES })).rejects.toThrow(
      'made with slots of 65536 bytes, 16384 in a segment; asked for 131072 and 8192',
    );
    await expect(bench({ slotBytes: 1000 })).rejects.toThrow('expected a multiple of 4096');
    for (const name of ['journal-a', 'journal-b']) {
      truncateSync(join(folder.path, 'store', name), 0);
    }
    // Never by taking what is there for an empty store.
    const segments = readdirSync(join(folder.path, 'store')).filter((n) => n.startsWith('segment'));
    if (segments.length === 0) await bench();
    else await expect(bench()).rejects.toThrow('segments without a journal');
  });

  it('names a folder that it cannot have', async () => {
    await expect(SsdBench.open(join(folder.path, 'a/b'))).rejects.toThrow('No such file');
  });

  it('answers what still waits when it is closed', async () => {
    const a = await bench();
    await a.put(range(0, 4));
    const gets = range(0, 50).map(() => a.get(range(0, 4)));
    await a.store.close();
    const statuses = (await Promise.all(gets)).flatMap((answer) => [...answer.statuses]);
    for (const status of statuses) expect([ok, SSD_STATUS.closed]).toContain(status);
    await expect(a.get([1])).rejects.toThrow('closed');
  });

  it('does not lose a block because its reader wrote to the place', async () => {
    const a = await bench();
    await a.put(range(0, 4));
    // All into the same four places, which are zeroed meanwhile.
    const gets = range(0, 50).map(() => a.get(range(0, 4)));
    for (const { statuses } of await Promise.all(gets)) expect([...statuses]).toEqual(all(4, ok));
    expect(a.store.stats().lostBlocks).toBe(0);
  });

  it('keys have the size that is promised', () => {
    expect(keysOf([1, 2]).length).toBe(2 * SSD_KEY_BYTES);
  });
});

/** A script in a place where something is forbidden or small; it prints one JSON line. */
function inPlace(prefix: readonly string[], script: string): unknown {
  const [command, ...args] = [...prefix, process.execPath];
  const whole = [...args, '--import', 'tsx', '--input-type=module', '-e', script];
  const root = new URL('../..', import.meta.url).pathname;
  const { stdout, stderr, status } = spawnSync(command, whole, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

const FILL = (path: string, options: string) => `
  import { SsdBench, keysOf } from './test/support/ssd.ts';
  const bench = await SsdBench.open(${JSON.stringify(path)}, { ${options} });
  const blocks = Array.from({ length: 60 }, (_, i) => i);
  const put = [...(await bench.put(blocks)).statuses];
  const stored = blocks.filter((i) => put[i] === 0);
  const got = [...(await bench.get(stored)).statuses];
  await bench.store.remove(keysOf(stored.slice(0, 5)));
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const again = [...(await bench.put([100, 101, 102])).statuses];
  console.log(JSON.stringify({ put, got, again, ...bench.store.capabilities }));
  await bench.store.close();`;

interface Filled {
  readonly put: readonly number[];
  readonly got: readonly number[];
  readonly again: readonly number[];
  readonly backend: string;
  readonly backendReason: string | null;
  readonly direct: boolean;
  readonly directReason: string | null;
}

describeNative('SSD store in narrow places', () => {
  const own = (mount: string) => ['unshare', '-rm', 'sh', '-c', `${mount} && exec "$@"`, 'sh'];

  function expectBackPressure({ put, got, again }: Filled): void {
    expect(new Set(put)).toEqual(new Set([ok, full]));
    expect(new Set(got)).toEqual(new Set([ok]));
    expect(again).toEqual([ok, ok, ok]);
  }

  it('pushes back when the disk is full', () => {
    const place = own(`mount -t tmpfs -o size=3m tmpfs ${folder.path}`);
    expectBackPressure(inPlace(place, FILL(join(folder.path, 's'), '')) as Filled);
  });

  it('pushes back at a limit on file sizes', () => {
    const place = ['prlimit', '--fsize=2000000'];
    expectBackPressure(inPlace(place, FILL(join(folder.path, 's'), '')) as Filled);
  });

  it('goes through the page cache, with the reason, where there is no O_DIRECT', () => {
    const place = own(`mount -t ramfs ramfs ${folder.path}`);
    const filled = inPlace(place, FILL(join(folder.path, 's'), '')) as Filled;
    expect(filled.direct).toBe(false);
    expect(filled.directReason).toBe('the filesystem has no O_DIRECT');
    expect(new Set([...filled.put, ...filled.got])).toEqual(new Set([ok]));
  });

  it('falls back to threads, with the reason, where io_uring is forbidden', async () => {
    const { buildDriver } = await import('../support/driver.ts');
    const place = [buildDriver('without-io-uring', /^$/)];
    const path = join(folder.path, 's');
    const filled = inPlace(place, FILL(path, '')) as Filled;
    expect(filled.backend).toBe('threads');
    expect(filled.backendReason).toBe('io_uring is forbidden here (EPERM)');
    expect(new Set([...filled.put, ...filled.got])).toEqual(new Set([ok]));
    const script = FILL(path, "backend: 'io_uring'");
    expect(() => inPlace(place, script)).toThrow('io_uring is forbidden here');
  });
});
