/**
 * `npm run bench:ssd`: reads of the SSD store, each verified, against fio with O_DIRECT on the very
 * same file at the same depth, in turn, best of five.
 * --folder=PATH (default: the temporary folder), --depth=N, --json.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { loadNative, type NativeAddon } from '../../src/runtime/native.ts';
import { SSD_DEFAULTS, SSD_KEY_BYTES, SSD_STATUS, SsdStore } from '../../src/runtime/ssd.ts';

const ROUNDS = 5;
const SECONDS = 2;
const TOTAL_BYTES = 2 ** 30;
const BATCH = 8;
const BATCHES_OPEN = 4;

function option(name: string): string | null {
  const prefix = `--${name}=`;
  return process.argv.find((arg) => arg.startsWith(prefix))?.slice(prefix.length) ?? null;
}

const DEPTH = Number(option('depth') ?? 16);
const BASE = option('folder') ?? tmpdir();

function keysOf(blocks: readonly number[]): Uint8Array {
  const keys = new Uint8Array(blocks.length * SSD_KEY_BYTES);
  const view = new DataView(keys.buffer);
  blocks.forEach((block, i) => {
    view.setUint32(i * SSD_KEY_BYTES, block, true);
  });
  return keys;
}

interface Reader {
  readonly name: string;
  /** GB/s, and the share of the time that the event loop was busy. */
  run(): Promise<{ gbPerSec: number; loop: number }>;
  close(): Promise<void>;
}

async function storeReader(
  addon: NativeAddon,
  folder: string,
  blockBytes: number,
  backend: 'io_uring' | 'threads',
): Promise<Reader> {
  const options = { ...SSD_DEFAULTS, folder, slotBytes: blockBytes, capacityBytes: TOTAL_BYTES };
  const store = await SsdStore.open(addon, { ...options, queueDepth: DEPTH, backend }, () => {
    throw new Error('a block was lost');
  });
  const count = TOTAL_BYTES / blockBytes;
  const buffer = addon.alignedMemory(BATCH * BATCHES_OPEN * blockBytes);
  const memory = await store.attach(buffer);
  const sizes = new Uint32Array(BATCH).fill(blockBytes);
  const offsets = (lane: number) =>
    Float64Array.from({ length: BATCH }, (_, i) => (lane * BATCH + i) * blockBytes);
  const batch = (from: number, step: number) =>
    keysOf(Array.from({ length: BATCH }, (_, i) => ((from + i) * step) % count));
  if (store.stats().blocks === 0) {
    new Uint32Array(buffer).forEach((_, i, words) => {
      words[i] = Math.imul(i, 2_654_435_761);
    });
    for (let from = 0; from < count; from += BATCH) {
      const places = { memory, keys: batch(from, 1), offsets: offsets(0), sizes, crcs: null };
      const { statuses } = await store.put(places);
      if (statuses.some((status) => status !== SSD_STATUS.ok)) throw new Error('a put failed');
    }
  }
  let next = 0;
  async function lane(number: number, untilNs: number): Promise<number> {
    let bytes = 0;
    while (Number(process.hrtime.bigint()) < untilNs) {
      next += BATCH;
      // Odd, so that every block comes, in no order of the device's.
      const keys = batch(next, 7919);
      const { statuses } = await store.get({
        memory,
        keys,
        offsets: offsets(number),
        sizes,
        crcs: null,
      });
      if (statuses.some((status) => status !== SSD_STATUS.ok)) throw new Error('a get failed');
      bytes += BATCH * blockBytes;
    }
    return bytes;
  }
  return {
    name: backend,
    async run() {
      const start = Number(process.hrtime.bigint());
      const before = performance.eventLoopUtilization();
      const lanes = Array.from({ length: BATCHES_OPEN }, (_, i) => lane(i, start + SECONDS * 1e9));
      const bytes = (await Promise.all(lanes)).reduce((sum, one) => sum + one, 0);
      const gbPerSec = bytes / (Number(process.hrtime.bigint()) - start);
      return { gbPerSec, loop: performance.eventLoopUtilization(before).utilization };
    },
    close: () => store.close(),
  };
}

function fioReader(file: string, blockBytes: number): Reader {
  const args = [
    ...['--name=read', '--readonly', '--rw=randread', '--direct=1', '--ioengine=io_uring'],
    ...['--fixedbufs=1', `--iodepth=${DEPTH}`, `--bs=${blockBytes}`, `--filename=${file}`],
    ...[`--runtime=${SECONDS}`, '--time_based', '--norandommap', '--output-format=json'],
  ];
  return {
    name: 'fio',
    async run() {
      const { jobs } = JSON.parse(execFileSync('fio', args, { encoding: 'utf8' }));
      return { gbPerSec: jobs[0].read.bw_bytes / 1e9, loop: 0 };
    },
    async close() {},
  };
}

async function compare(addon: NativeAddon, blockBytes: number) {
  const folder = mkdtempSync(join(BASE, 'moontide-ssd-bench-'));
  const store = join(folder, 'store');
  const best: Record<string, number> = {};
  let loop = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const backend of ['io_uring', 'threads', 'fio'] as const) {
      const reader =
        backend === 'fio'
          ? fioReader(join(store, 'segment-000000'), blockBytes)
          : await storeReader(addon, store, blockBytes, backend);
      const result = await reader.run();
      await reader.close();
      best[backend] = Math.max(best[backend] ?? 0, result.gbPerSec);
      if (backend === 'io_uring') loop = Math.max(loop, result.loop);
    }
  }
  rmSync(folder, { recursive: true });
  const rounded = Object.entries(best).map(([name, value]) => [name, Number(value.toFixed(3))]);
  const ratio = Number((best.io_uring / best.fio).toFixed(3));
  const gbPerSec = Object.fromEntries(rounded) as Record<string, number>;
  return { blockBytes, depth: DEPTH, gbPerSec, ratio, eventLoop: Number(loop.toFixed(3)) };
}

const { addon, reason } = loadNative();
if (addon === null) throw new Error(reason ?? '');
for (const blockBytes of [2 ** 20, 65_536]) {
  const row = await compare(addon, blockBytes);
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify(row));
  } else {
    const { io_uring: ring, threads, fio } = row.gbPerSec;
    const figures = `io_uring ${ring} GB/s, threads ${threads}, fio ${fio}; ratio ${row.ratio}`;
    console.log(`${blockBytes} bytes, depth ${DEPTH}: ${figures}, event loop ${row.eventLoop}`);
  }
}
