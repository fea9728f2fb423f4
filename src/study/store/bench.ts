/**
 * The bench of the store client: get and put against a store in another process over TCP and over
 * shared memory, and in this process, beside a bare stream and a copy, measured in turn; lookups
 * per second. Mooncake Store's figures beside them were measured on a 2-core x86-64 machine.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { RailKind } from '../../runtime/data-plane.ts';
import { nativeProgram } from '../../runtime/native.ts';
import type { RegistryRef } from '../../runtime/registry/open.ts';
import { StoreAgent } from '../../runtime/store/agent.ts';
import { type StoreBuffer, StoreClient, StoreError } from '../../runtime/store/index.ts';
import { STORE_DEFAULTS } from '../../runtime/store/spec.ts';
import { Hub } from '../live/hub.ts';
import { storeUp } from './up.ts';

export interface StoreBenchOptions {
  /** Own and baseline in turn, this often; the best of each counts. */
  readonly rounds: number;
  readonly roundMs: number;
  readonly slotBytes: number;
  readonly onRow: (row: StoreBenchRow) => void;
}

export interface StoreBenchRow {
  readonly what: 'get' | 'put' | 'find';
  /** How the bytes go, and where the store is. */
  readonly path: 'tcp' | 'local' | 'same process';
  readonly sizeBytes: number;
  /** Objects, or keys, of one call. */
  readonly batch: number;
  /** Calls at once: of one client, or one each of several. */
  readonly clients: number;
  /** 1e9 bytes per second, or keys per second. */
  readonly figure: number;
  /** What the machine does without us at the same time: a bare stream, a copy; GB/s. */
  readonly baseline: number | null;
  readonly mooncake: number | null;
}

const MIB = 1 << 20;
const POOL_BYTES = 64 * MIB;
const STORE_BYTES = 256 * MIB;
/** Names that are found in the lookups, as long as a block's hash in hexadecimal. */
const NAMES = 1024;
const LOOKUP_CLIENTS = 4;
const LOOKUP_BATCH = 128;
/** Single lookups that one client has open at once, where it has several. */
const LOOKUPS_OPEN = 16;

/** Mooncake Store, get: bytes of an object / objects at once: GB/s. Over TCP, between processes. */
const MOONCAKE_GET: Readonly<Record<string, number>> = { '1/1': 0.99, '1/8': 1.4, '4/8': 1.57 };
const MOONCAKE_SAME = 9.05;
const MOONCAKE_FIND = { single: 27_000, batch: 555_000 };

/** @throws InputError where the native addon is missing */
export async function benchStore(options: StoreBenchOptions): Promise<StoreBenchRow[]> {
  const rows: StoreBenchRow[] = [];
  const row = (made: StoreBenchRow) => {
    rows.push(made);
    options.onRow(made);
  };
  await withStore(options, async (connect) => {
    for (const path of ['tcp', 'local'] as const) {
      const client = await connect(path);
      await benchBytes(options, client, path, row);
      await client.close();
    }
    await benchLookups(options, connect, row);
  });
  await withOwnStore(options, (client) => benchBytes(options, client, 'same process', row));
  return rows;
}

type Connect = (kind: RailKind) => Promise<StoreClient>;

function clientOf(registry: RegistryRef, token: string, kind: RailKind): Promise<StoreClient> {
  const rails = [{ kind, bytesPerNs: null, options: {} }];
  return StoreClient.connect({ registry, token, rails, poolBytes: POOL_BYTES });
}

/** A store in another process. */
async function withStore(
  { slotBytes }: StoreBenchOptions,
  work: (connect: Connect) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'moontide-bench-'));
  const sizes = ['--dram', `${STORE_BYTES}B`, '--block', `${slotBytes}B`];
  const stores = await storeUp({ nodes: 1, dir, serve: () => sizes, onWarning: () => {} });
  try {
    await work((kind) => clientOf(stores.registry, stores.token, kind));
  } finally {
    await stores.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A store in this process. */
async function withOwnStore(
  { slotBytes }: StoreBenchOptions,
  work: (client: StoreClient) => Promise<void>,
): Promise<void> {
  const token = 'bench';
  const security = { token, tls: null };
  const hub = await Hub.start('127.0.0.1:0', security);
  const registry = { hub: `127.0.0.1:${hub.port}` };
  const agent = new StoreAgent({
    name: 'store',
    listen: '127.0.0.1:0',
    security,
    registry,
    settings: { ...STORE_DEFAULTS, slotBytes, dramBytes: STORE_BYTES },
    onError: () => {},
    onWarning: () => {},
  });
  try {
    await agent.join();
    const client = await clientOf(registry, token, 'local');
    await work(client);
    await client.close();
  } finally {
    await agent.leave();
    await hub.close();
  }
}

// --- bytes --------------------------------------------------------------------------------------

async function benchBytes(
  options: StoreBenchOptions,
  client: StoreClient,
  path: StoreBenchRow['path'],
  row: (row: StoreBenchRow) => void,
): Promise<void> {
  for (const [sizeBytes, batch] of [
    [MIB, 1],
    [MIB, 8],
    [4 * MIB, 8],
  ]) {
    const names = Array.from(
      { length: STORE_BYTES / 4 / sizeBytes },
      (_, i) => `${sizeBytes}/${i}`,
    );
    const buffers: StoreBuffer[] = [];
    for (let i = 0; i < batch; i++) buffers.push(await client.allocate(sizeBytes));
    for (const name of names) await client.put(name, buffers[0]);
    const what = { path, sizeBytes, batch, clients: 1 };
    const known = MOONCAKE_GET[`${sizeBytes / MIB}/${batch}`] ?? null;
    const get = await measure(options, path, sizeBytes, (round) =>
      getRound(client, names, buffers, round),
    );
    const mooncake = path === 'tcp' ? known : path === 'local' ? null : MOONCAKE_SAME;
    row({ what: 'get', ...what, ...get, mooncake });
    await client.removeBatch(names);
    const put = await measure(options, path, sizeBytes, (round) =>
      putRound(client, buffers, round),
    );
    row({ what: 'put', ...what, ...put, mooncake: null });
    for (const buffer of buffers) buffer.free();
  }
}

/** Objects moved in a call. */
type Round = (at: number) => Promise<number>;

async function getRound(
  client: StoreClient,
  names: readonly string[],
  buffers: readonly StoreBuffer[],
  round: number,
): Promise<number> {
  const some = buffers.map((_, i) => names[(round * buffers.length + i) % names.length]);
  const sizes = await client.getIntoBatch(some, buffers);
  for (const size of sizes) {
    if (size instanceof StoreError) throw size;
    if (size === null) throw new Error('bench: an object is not there');
  }
  return sizes.length;
}

let puts = 0;

async function putRound(
  client: StoreClient,
  buffers: readonly StoreBuffer[],
  _round: number,
): Promise<number> {
  const ends = await client.putBatch(buffers.map((value) => ({ name: `put/${puts++}`, value })));
  for (const end of ends) if (end !== 'stored') throw end;
  return ends.length;
}

async function measure(
  { rounds, roundMs }: StoreBenchOptions,
  path: StoreBenchRow['path'],
  sizeBytes: number,
  once: Round,
): Promise<{ figure: number; baseline: number | null }> {
  const program = nativeProgram('baseline');
  const kind = path === 'tcp' ? 'stream' : 'memcpy';
  let figure = 0;
  let baseline: number | null = null;
  // The first touches pages and opens connections.
  await run(once, roundMs / 5);
  for (let round = 0; round < rounds; round++) {
    figure = Math.max(figure, ((await run(once, roundMs)) * sizeBytes) / 1e9);
    if (program === null) continue;
    const args = [kind, String(sizeBytes), String(POOL_BYTES), String(Math.round(roundMs))];
    baseline = Math.max(baseline ?? 0, Number(execFileSync(program, args, { encoding: 'utf8' })));
  }
  return { figure, baseline };
}

/** Things per second. */
async function run(once: Round, forMs: number): Promise<number> {
  const startMs = performance.now();
  let count = 0;
  for (let round = 0; performance.now() - startMs < forMs; round++) count += await once(round);
  return count / ((performance.now() - startMs) / 1e3);
}

// --- lookups ------------------------------------------------------------------------------------

async function benchLookups(
  { rounds, roundMs, slotBytes }: StoreBenchOptions,
  connect: Connect,
  row: (row: StoreBenchRow) => void,
): Promise<void> {
  const clients = await Promise.all(Array.from({ length: LOOKUP_CLIENTS }, () => connect('tcp')));
  const fits = Math.min(NAMES, Math.floor(STORE_BYTES / slotBytes / 2));
  const hash = (i: number) => (i * 0x9e3779b97f4a7).toString(16).padStart(64, '0');
  const names = Array.from({ length: fits }, (_, i) => hash(i + 1));
  const value = new Uint8Array(100);
  await clients[0].putBatch(names.map((name) => ({ name, value })));
  const rate = async (open: number, of: (client: StoreClient) => Round) => {
    let best = 0;
    for (let round = 0; round < rounds; round++) {
      const all = clients.flatMap((client) =>
        Array.from({ length: open }, () => run(of(client), roundMs)),
      );
      best = Math.max(
        best,
        (await Promise.all(all)).reduce((sum, one) => sum + one, 0),
      );
    }
    return best;
  };
  const single = (client: StoreClient) => async (at: number) => {
    if (!(await client.exists(names[at % names.length]))) throw new Error('bench: not there');
    return 1;
  };
  const batch = (client: StoreClient) => async (at: number) => {
    const from = (at * LOOKUP_BATCH) % names.length;
    const some = Array.from({ length: LOOKUP_BATCH }, (_, i) => names[(from + i) % names.length]);
    if ((await client.existsBatch(some)).includes(false)) throw new Error('bench: not there');
    return LOOKUP_BATCH;
  };
  const what = { what: 'find', path: 'tcp', sizeBytes: value.length, baseline: null } as const;
  const count = LOOKUP_CLIENTS;
  const alone = { ...what, batch: 1, mooncake: MOONCAKE_FIND.single };
  row({ ...alone, clients: count, figure: await rate(1, single) });
  row({ ...alone, clients: count * LOOKUPS_OPEN, figure: await rate(LOOKUPS_OPEN, single) });
  const mooncake = MOONCAKE_FIND.batch;
  const figure = await rate(1, batch);
  row({ ...what, batch: LOOKUP_BATCH, clients: count, figure, mooncake });
  for (const client of clients) await client.close();
}
