/** Objects on stores in processes of their own: what a client is promised. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StoreError } from '../../src/runtime/store/index.ts';
import { benchStore, type StoreBenchRow } from '../../src/study/store/bench.ts';
import { describeNative } from '../support/native.ts';
import { BLOCK_BYTES, contentOf, startStores } from '../support/stores.ts';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const SLOTS = 64;

function same(found: unknown, expected: Uint8Array): void {
  expect(found).toBeInstanceOf(Uint8Array);
  expect(Buffer.compare(found as Uint8Array, expected)).toBe(0);
}

describeNative('a store client', () => {
  let stores: Awaited<ReturnType<typeof startStores>>;
  beforeAll(async () => {
    stores = await startStores(3, SLOTS);
  }, 90_000);
  afterAll(() => stores?.stop(), 60_000);

  it.each(['local', 'tcp'] as const)('reads what it wrote, over %s', async (kind) => {
    const rails = [{ kind, bytesPerNs: null, options: {} }];
    const client = await stores.connect({ rails });
    const sizes = [0, 1, 1000, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 77];
    for (const size of sizes) {
      const name = `${kind}/${size}`;
      expect(await client.put(name, contentOf(name, size))).toBe('stored');
      same(await client.get(name), contentOf(name, size));
    }
    const names = sizes.map((size) => `${kind}/${size}`);
    expect(await client.existsBatch([...names, 'no'])).toEqual([...names.map(() => true), false]);
    expect(await client.removeBatch([...names, 'no'])).toEqual([...names.map(() => true), false]);
    expect(await client.getBatch(names)).toEqual(names.map(() => null));
  });

  it('shows others what it wrote, and never changes it', async () => {
    const [one, two] = [await stores.connect(), await stores.connect({ replicas: 2 })];
    await one.put('shared', contentOf('first', 3000));
    expect(await two.put('shared', contentOf('second', 3000))).toBe('exists');
    same(await two.get('shared'), contentOf('first', 3000));
    expect(await two.remove('shared')).toBe(true);
    expect([await one.exists('shared'), await one.get('shared')]).toEqual([false, null]);
    expect(await two.put('shared', contentOf('second', 100))).toBe('stored');
    same(await one.get('shared'), contentOf('second', 100));
    await one.remove('shared');
  });

  it('reads into memory of its pool, and writes from it', async () => {
    const client = await stores.connect();
    const buffer = await client.allocate(BLOCK_BYTES * 2);
    buffer.bytes.set(contentOf('pool', buffer.bytes.length));
    expect(await client.put('pool', buffer)).toBe('stored');
    const into = await client.allocate(BLOCK_BYTES * 3);
    expect(await client.getInto('pool', into)).toBe(BLOCK_BYTES * 2);
    same(into.bytes.subarray(0, BLOCK_BYTES * 2), contentOf('pool', BLOCK_BYTES * 2));
    const small = await client.allocate(10);
    await expect(client.getInto('pool', small)).rejects.toMatchObject({ failure: 'tooLarge' });
    await client.remove('pool');
  });

  it('puts and gets of a batch succeed and fail one by one', async () => {
    const client = await stores.connect({ poolBytes: 80 << 20 });
    await client.put('b/old', contentOf('b/old', 10));
    const large = new Uint8Array((64 << 20) + 1);
    const entries = [
      { name: 'b/1', value: contentOf('b/1', 5000) },
      { name: 'b/large', value: large },
      { name: 'b/old', value: contentOf('other', 10) },
      { name: 'b/2', value: contentOf('b/2', 6000) },
    ];
    const ends = await client.putBatch(entries);
    expect([ends[0], ends[2], ends[3]]).toEqual(['stored', 'exists', 'stored']);
    expect(ends[1]).toMatchObject({ failure: 'tooLarge' });
    const found = await client.getBatch(['b/1', 'b/large', 'b/old', 'b/2']);
    same(found[0], contentOf('b/1', 5000));
    expect(found[1]).toBe(null);
    same(found[2], contentOf('b/old', 10));
    same(found[3], contentOf('b/2', 6000));
    await client.removeBatch(['b/1', 'b/old', 'b/2']);
  });

  it('keeps pins under pressure, soft ones while anything else can go', async () => {
    const client = await stores.connect();
    const put = (name: string, pin: 'none' | 'soft' | 'hard') =>
      client.put(name, contentOf(name, 4 * BLOCK_BYTES), { pin });
    for (let i = 0; i < 3; i++) await put(`hard/${i}`, 'hard');
    for (let i = 0; i < 6; i++) await put(`soft/${i}`, 'soft');
    // Three times what the cluster has room for.
    const loose = (3 * 3 * SLOTS) / 4;
    for (let i = 0; i < loose; i++) expect(await put(`loose/${i}`, 'none')).toBe('stored');
    for (const [kind, count] of [
      ['hard', 3],
      ['soft', 6],
    ] as const) {
      for (let i = 0; i < count; i++) {
        const name = `${kind}/${i}`;
        same(await client.get(name), contentOf(name, 4 * BLOCK_BYTES));
      }
    }
    const left = await client.existsBatch(Array.from({ length: loose }, (_, i) => `loose/${i}`));
    const kept = left.filter(Boolean).length;
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan((3 * SLOTS) / 4);
    // Now only hard pins may stay.
    const failed: string[] = [];
    for (let i = 0; failed.length === 0; i++) {
      const end = await client
        .put(`fill/${i}`, new Uint8Array(4 * BLOCK_BYTES), { pin: 'hard' })
        .catch((error: StoreError) => error);
      if (end instanceof StoreError) failed.push(end.failure);
    }
    expect(failed).toEqual(['noSpace']);
    for (let i = 0; i < 3; i++) {
      same(await client.get(`hard/${i}`), contentOf(`hard/${i}`, 4 * BLOCK_BYTES));
    }
    const soft = await client.existsBatch(Array.from({ length: 6 }, (_, i) => `soft/${i}`));
    expect(soft).toEqual(soft.map(() => false));
    const names: string[] = [];
    for await (const { name } of client.list()) names.push(name);
    await client.removeBatch(names);
    expect((await client.stat()).map(({ dramUsedSlots }) => dramUsedSlots)).toEqual([0, 0, 0]);
  }, 60_000);

  it('serves three clients at once, each what it was promised', async () => {
    const clients = await Promise.all([1, 2, 3].map(() => stores.connect({ replicas: 2 })));
    const wrong: string[] = [];
    const work = async (own: number): Promise<void> => {
      const client = clients[own];
      for (let i = 0; i < 60; i++) {
        // Few names, so that they meet.
        const name = `three/${(i * 7 + own * 3) % 10}`;
        const what = (i + own) % 4;
        if (what === 0) await client.remove(name);
        else if (what === 1) await client.put(name, contentOf(name, (1000 * BLOCK_BYTES) % 99_991));
        else {
          const found = await client.get(name);
          const expected = contentOf(name, (1000 * BLOCK_BYTES) % 99_991);
          if (found !== null && Buffer.compare(found, expected) !== 0) wrong.push(name);
        }
      }
    };
    await Promise.all(clients.map((_, own) => work(own)));
    expect(wrong).toEqual([]);
    for (let i = 0; i < 10; i++) await clients[0].remove(`three/${i}`);
    const used = (await clients[0].stat()).map(({ dramUsedSlots }) => dramUsedSlots);
    expect(used).toEqual([0, 0, 0]);
  }, 60_000);

  it('is a command line too', async () => {
    const file = join(stores.dir, 'value');
    writeFileSync(file, contentOf('file', 200_000));
    const run = (...args: string[]) =>
      new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
        const all = [MAIN, 'store', ...args, '--dir', stores.dir];
        execFile(process.execPath, all, { timeout: 30_000 }, (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
        );
      });
    const put = await run('put', 'cli/a', file, '--replicas', '2', '--pin', 'hard', '--json');
    expect(JSON.parse(put.stdout)).toEqual({
      name: 'cli/a',
      sizeBytes: 200_000,
      outcome: 'stored',
    });
    const copy = join(stores.dir, 'copy');
    expect(await run('get', 'cli/a', '--output', copy)).toMatchObject({ code: 0, stderr: '' });
    same(readFileSync(copy), contentOf('file', 200_000));
    const places = JSON.parse((await run('list', 'cli/', '--json')).stdout);
    expect(places).toHaveLength(2);
    expect(places[0]).toMatchObject({ name: 'cli/a', pin: 'hard', tiers: ['dram'] });
    expect(await run('exists', 'cli/a', 'cli/b')).toMatchObject({
      code: 1,
      stderr: 'moontide: cli/b is not there\n',
    });
    expect((await run('remove', 'cli/a')).code).toBe(0);
    expect(await run('get', 'cli/a')).toMatchObject({ code: 1, stdout: '' });
    expect(await run('put', 'cli/a', join(stores.dir, 'no'))).toMatchObject({
      code: 2,
      stdout: '',
    });
  }, 120_000);
});

describeNative('stores that fail', () => {
  it('a replica serves what a store that was killed had', async () => {
    const stores = await startStores(3, SLOTS);
    try {
      const client = await stores.connect({ replicas: 2, timeoutMs: 3000 });
      const names = Array.from({ length: 24 }, (_, i) => `kill/${i}`);
      for (const name of names) await client.put(name, contentOf(name, 100_000));
      const before = await client.stat();
      expect(before.reduce((sum, { objects }) => sum + objects, 0)).toBe(48);
      const [pid] = stores.cluster.pids();
      process.kill(pid ?? 0, 'SIGKILL');
      for (const name of names) same(await client.get(name), contentOf(name, 100_000));
      // It comes back empty, as another life, and takes part again.
      for (let i = 0; stores.cluster.pids()[0] === pid || client.stores.length < 3; i++) {
        expect(i).toBeLessThan(300);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      for (const name of names) same(await client.get(name), contentOf(name, 100_000));
      expect(await client.existsBatch(names)).toEqual(names.map(() => true));
      expect(await client.put('kill/new', contentOf('kill/new', 5))).toBe('stored');
    } finally {
      await stores.stop();
    }
  }, 120_000);

  it('without a replica the answer is an error or nothing, never other bytes', async () => {
    const stores = await startStores(2, SLOTS);
    try {
      const client = await stores.connect({ timeoutMs: 2000 });
      const names = Array.from({ length: 16 }, (_, i) => `lone/${i}`);
      for (const name of names) await client.put(name, contentOf(name, 70_000));
      process.kill(stores.cluster.pids()[1] ?? 0, 'SIGKILL');
      let lost = 0;
      for (const [i, found] of (await client.getBatch(names)).entries()) {
        if (found instanceof Uint8Array) same(found, contentOf(names[i], 70_000));
        else lost++;
      }
      expect(lost).toBeGreaterThan(0);
      expect(lost).toBeLessThan(16);
    } finally {
      await stores.stop();
    }
  }, 120_000);
});

describeNative('a store with an SSD', () => {
  it('has what its DRAM has no room for', async () => {
    const ssd = ['--ssd', 'DIR', '--ssd-size', '32MiB', '--tiering', 'write-through'];
    const stores = await startStores(1, 16, ssd);
    try {
      const client = await stores.connect();
      const names = Array.from({ length: 24 }, (_, i) => `deep/${i}`);
      for (const name of names) {
        expect(await client.put(name, contentOf(name, 3 * BLOCK_BYTES - 5))).toBe('stored');
      }
      const [{ objects, dramSlots, ssdUsedSlots }] = await client.stat();
      expect([dramSlots, objects > 16 / 3, ssdUsedSlots > 16]).toEqual([16, true, true]);
      let found = 0;
      for (const name of names) {
        const value = await client.get(name);
        if (value === null) continue;
        found++;
        same(value, contentOf(name, 3 * BLOCK_BYTES - 5));
      }
      expect(found).toBe(objects);
      expect(found).toBeGreaterThan(12);
      expect((await client.removeBatch(names)).filter(Boolean)).toHaveLength(found);
      expect(await client.stat()).toMatchObject([{ objects: 0, dramUsedSlots: 0 }]);
    } finally {
      await stores.stop();
    }
  }, 120_000);
});

describeNative('the bench of the store', () => {
  it('has a figure for every row', async () => {
    const rows: StoreBenchRow[] = [];
    const onRow = (row: StoreBenchRow) => void rows.push(row);
    await benchStore({ rounds: 1, roundMs: 20, slotBytes: 1 << 20, onRow });
    const of = (what: string) => rows.filter((row) => row.what === what).length;
    expect([of('get'), of('put'), of('find')]).toEqual([9, 9, 3]);
    for (const { figure } of rows) expect(figure).toBeGreaterThan(0);
  }, 120_000);
});

describe('bad input', () => {
  it('is one line', async () => {
    const dir = join('/tmp', `moontide-none-${process.pid}`);
    const run = new Promise<{ code: number; stderr: string }>((resolve) => {
      const args = [MAIN, 'store', 'stat', '--dir', dir];
      execFile(process.execPath, args, { timeout: 30_000 }, (error, _, stderr) =>
        resolve({ code: Number(error?.code ?? 0), stderr }),
      );
    });
    expect(await run).toMatchObject({ code: 2, stderr: expect.stringMatching(/^moontide: .*\n$/) });
  });
});
