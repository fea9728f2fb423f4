/** A cluster of stores in real processes, as `moontide store up` makes it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StoreClient, type StoreClientOptions } from '../../src/runtime/store/index.ts';
import { storeUp } from '../../src/study/store/up.ts';

export const BLOCK_BYTES = 65_536;

/** `serve`: further options of `store serve`. */
export async function startStores(nodes: number, slots: number, serve: readonly string[] = []) {
  const dir = mkdtempSync(join(tmpdir(), 'moontide-store-'));
  const warnings: string[] = [];
  const sizes = ['--dram', `${slots * BLOCK_BYTES}B`, '--block', `${BLOCK_BYTES}B`];
  const cluster = await storeUp({
    nodes,
    dir,
    serve: (store) => [
      ...sizes,
      ...serve.map((arg) => arg.replace('DIR', join(dir, `ssd-${store}`))),
    ],
    onWarning: (message) => warnings.push(message),
  });
  const clients: StoreClient[] = [];
  const connect = async (options: Partial<StoreClientOptions> = {}): Promise<StoreClient> => {
    const { registry, token } = cluster;
    const client = await StoreClient.connect({ registry, token, ...options });
    clients.push(client);
    await client.atLeast(nodes, 10_000);
    return client;
  };
  const stop = async () => {
    for (const client of clients) await client.close();
    await cluster.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  return { dir, cluster, warnings, connect, stop };
}

/** Bytes that no other name and size have. */
export function contentOf(name: string, sizeBytes: number): Uint8Array {
  const value = new Uint8Array(sizeBytes);
  let state = sizeBytes ^ 0x9e3779b9;
  for (const char of name) state = Math.imul(state ^ char.charCodeAt(0), 0x85ebca6b);
  for (let i = 0; i < value.length; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x297a2d39;
    value[i] = state >>> 24;
  }
  return value;
}
