/** Stores and clients in one process: what only a hand inside can do to them. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { hashText } from '../../src/core/kit/hash128.ts';
import type { ObjectsLeased } from '../../src/core/object-messages.ts';
import type { ObjectStore } from '../../src/core/object-store.ts';
import type { Pool } from '../../src/runtime/native-pool.ts';
import { StoreAgent } from '../../src/runtime/store/agent.ts';
import { StoreClient } from '../../src/runtime/store/index.ts';
import { STORE_DEFAULTS, STORE_LETTER } from '../../src/runtime/store/spec.ts';
import type { Stores } from '../../src/runtime/store/stores.ts';
import { Hub } from '../../src/study/live/hub.ts';
import { describeNative } from '../support/native.ts';
import { contentOf } from '../support/stores.ts';

const SLOT_BYTES = 8192;
const SLOTS = 16;
const TOKEN = 'test';

/** What a store hides. */
interface Inside {
  readonly store: {
    readonly machine: ObjectStore;
    readonly parts: { readonly pool: Pool };
  };
}

let hub: Hub;
let agents: StoreAgent[];
let clients: StoreClient[];

async function start(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const agent = new StoreAgent({
      name: `store-${i}`,
      listen: '127.0.0.1:0',
      security: { token: TOKEN, tls: null },
      registry: { hub: `127.0.0.1:${hub.port}` },
      settings: { ...STORE_DEFAULTS, slotBytes: SLOT_BYTES, dramBytes: SLOTS * SLOT_BYTES },
      onError: (error) => {
        throw error;
      },
      onWarning: () => {},
    });
    await agent.join();
    agents.push(agent);
  }
}

async function connect(replicas = 1): Promise<StoreClient> {
  const registry = { hub: `127.0.0.1:${hub.port}` };
  const client = await StoreClient.connect({ registry, token: TOKEN, replicas, timeoutMs: 2000 });
  clients.push(client);
  await client.atLeast(agents.length, 5000);
  return client;
}

const inside = (agent: StoreAgent) => (agent as unknown as Inside).store;
const storesOf = (client: StoreClient) =>
  (client as unknown as { made: { parts: { stores: Stores } } }).made.parts.stores;

function keyOf(name: string): Uint8Array {
  const words = new Int32Array(4);
  hashText(name, words, 0);
  return new Uint8Array(words.buffer);
}

function versionOf(version: number, sizeBytes: number): Uint8Array {
  const value = contentOf(`v${version}`, sizeBytes);
  new DataView(value.buffer).setUint32(0, version);
  return value;
}

/** Turns one bit of an object on a store. */
function damage(agent: StoreAgent, name: string, at: number): void {
  const { machine, parts } = inside(agent);
  const block = machine.table.findName(name)?.blocks[Math.floor(at / SLOT_BYTES)] ?? -1;
  const slot = machine.tiers.dram.pool.findReady(block);
  parts.pool.bytes(slot)[at % SLOT_BYTES] ^= 1;
}

/** Those that hold it, the one that is asked first before the others. */
async function holders(client: StoreClient, name: string): Promise<StoreAgent[]> {
  const words = new Int32Array(4);
  hashText(name, words, 0);
  const order = storesOf(client).ranked(words, 0);
  return order.map((store) => agents[Number(store.name.slice('store-'.length))]);
}

describeNative('a store', () => {
  beforeEach(async () => {
    hub = await Hub.start('127.0.0.1:0', { token: TOKEN, tls: null });
    agents = [];
    clients = [];
  });

  afterEach(async () => {
    for (const client of clients) await client.close();
    for (const agent of agents) await agent.leave();
    await hub.close();
  });

  it('never passes damaged bytes on: a replica serves, and what is damaged goes', async () => {
    await start(2);
    const client = await connect(2);
    const value = contentOf('a', 3 * SLOT_BYTES - 9);
    await client.put('a', value);
    const [first] = await holders(client, 'a');
    for (const at of [0, 2 * SLOT_BYTES + 100]) damage(first, 'a', at);
    for (let i = 0; i < 3; i++) {
      const found = await client.get('a');
      expect(found !== null && Buffer.compare(found, value)).toBe(0);
    }
    const stats = await client.stat();
    expect(stats.reduce((sum, { damagedObjects }) => sum + damagedObjects, 0)).toBe(1);
    expect(await client.places('a')).toHaveLength(1);
  });

  it('says so when no store has right bytes', async () => {
    await start(1);
    const client = await connect();
    await client.put('a', contentOf('a', 100));
    await client.put('b', contentOf('b', 100));
    damage(agents[0], 'a', 50);
    const [a, b] = await client.getBatch(['a', 'b']);
    expect(a).toMatchObject({ failure: 'checksum' });
    expect(b !== null && Buffer.compare(b as Uint8Array, contentOf('b', 100))).toBe(0);
    expect(await client.get('a')).toBe(null);
  });

  it('evicts nothing that a reader holds', async () => {
    await start(1);
    const client = await connect();
    const stores = storesOf(client);
    const [store] = stores.all;
    const value = contentOf('held', 4 * SLOT_BYTES);
    await client.put('held', value);
    const keys = keyOf('held');
    const leased = await stores.ask<ObjectsLeased>(store, (lease) => ({
      kind: 'objectsRead',
      lease,
      keys,
    }));
    const { pool } = inside(agents[0]).parts;
    const fill = async (round: number) => {
      for (let i = 0; i < 2 * SLOTS; i++) {
        await client.put(`fill/${round}/${i}`, contentOf(`${i}`, SLOT_BYTES));
      }
    };
    await fill(0);
    const bytes = Buffer.concat([...leased.slots].map((slot) => pool.bytes(slot)));
    expect(Buffer.compare(bytes, value)).toBe(0);
    expect(await client.exists('held')).toBe(true);
    // Taken away, it is there for its reader alone.
    expect(await client.remove('held')).toBe(true);
    await fill(1);
    const later = Buffer.concat([...leased.slots].map((slot) => pool.bytes(slot)));
    expect(Buffer.compare(later, value)).toBe(0);
    stores.release(store, leased.lease);
    await fill(2);
    const after = Buffer.concat([...leased.slots].map((slot) => pool.bytes(slot)));
    expect(Buffer.compare(after, value)).not.toBe(0);
    inside(agents[0]).machine.check();
  });

  it('never shows what was before, however often a name is given away', async () => {
    await start(2);
    const [writer, reader] = [await connect(), await connect()];
    const sizeBytes = 2 * SLOT_BYTES;
    let version = 0;
    let done = false;
    const wrong: string[] = [];
    const read = async () => {
      let hits = 0;
      for (; !done || hits === 0; ) {
        const least = version;
        const found = await reader.get('name');
        if (found === null) continue;
        hits++;
        // Versions differ in their first bytes, which say which they are.
        const of = new DataView(found.buffer, found.byteOffset).getUint32(0);
        const whole = Buffer.compare(found, versionOf(of, sizeBytes)) === 0;
        if (!whole || of < least) wrong.push(`${of} after ${least}`);
      }
    };
    const reading = read();
    for (let next = 1; next <= 60; next++) {
      await writer.remove('name');
      expect(await writer.put('name', versionOf(next, sizeBytes))).toBe('stored');
      version = next;
      await reader.get('other');
    }
    done = true;
    await reading;
    expect(wrong).toEqual([]);
  });

  it('ends the link of who speaks nonsense, and serves the others', async () => {
    await start(1);
    const [good, bad] = [await connect(), await connect()];
    await good.put('a', contentOf('a', 10));
    const { channels } = (bad as unknown as { made: { channels: { links: LinksLike } } }).made;
    for (const body of [
      null,
      { kind: 'objectsFind', ask: 1, keys: new Uint8Array(15) },
      { kind: 'objectsPut', put: 1, names: ['a'], sizes: Float64Array.of(-1), pin: 0 },
      { kind: 'objectsRead', lease: -1, keys: new Uint8Array(16) },
      { kind: 'wake', token: 0 },
      { kind: 'objectsWritten', put: 5, done: [1], checksums: [] },
    ]) {
      channels.links.send('store-0', [STORE_LETTER, body]);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await good.exists('a')).toBe(true);
    }
    expect(inside(agents[0]).machine.table.size).toBe(1);
  });

  it('refuses what a client has no memory for, and what has too few stores', async () => {
    await start(1);
    const registry = { hub: `127.0.0.1:${hub.port}` };
    const small = await StoreClient.connect({ registry, token: TOKEN, poolBytes: 2 * SLOT_BYTES });
    clients.push(small);
    const large = await connect();
    const value = contentOf('a', 3 * SLOT_BYTES);
    const [a, b] = await small.putBatch([
      { name: 'a', value },
      { name: 'b', value: contentOf('b', 10) },
    ]);
    expect([a, b]).toMatchObject([{ failure: 'tooLarge' }, 'stored']);
    await large.put('a', value);
    const [first, second] = await small.getBatch(['a', 'b']);
    expect(first).toMatchObject({ failure: 'tooLarge' });
    expect(Buffer.compare(second as Uint8Array, contentOf('b', 10))).toBe(0);
    await expect(large.put('c', value, { replicas: 2 })).rejects.toMatchObject({
      failure: 'noSpace',
    });
    expect(await large.exists('c')).toBe(false);
    await agents[0].leave();
    agents = [];
    for (let i = 0; large.stores.length > 0 && i < 100; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    for (const call of [() => large.get('a'), () => large.exists('a'), () => large.remove('a')]) {
      await expect(call()).rejects.toMatchObject({ failure: 'unreachable' });
    }
  });

  it('is told by its clients that they are there, and by the registry that they went', async () => {
    await start(1);
    const client = await connect();
    const names = async () => [...(await hub.registry.list('store/clients/')).keys()];
    expect(await names()).toHaveLength(1);
    await client.close();
    expect(await names()).toHaveLength(0);
    await expect(client.get('a')).rejects.toMatchObject({ failure: 'closed' });
  });
});

interface LinksLike {
  send(peer: string, message: unknown): void;
}
