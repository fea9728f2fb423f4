/** What only the loopback can show: real bytes, their checksums, and a wrong one. */
import { describe, expect, it } from 'vitest';
import type { Transfer } from '../../src/core/host.ts';
import type { TransferEnded } from '../../src/core/messages.ts';
import { AddressBook, Tier, WORKLOAD } from '../../src/core/topology.ts';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { Loopback } from '../../src/runtime/loopback.ts';
import { LoopbackMemory } from '../../src/runtime/loopback-memory.ts';
import { tinyCosts, tinyTopology, traceOf } from '../support/tiny.ts';

const topology = tinyTopology({ prefill: 2, decode: 1, dramBlocks: 4 });
const addresses = new AddressBook(topology);
const trace = traceOf([{ atNs: 0, blocks: [7, 8, 9], inputTokens: 40, outputTokens: 1 }]);

/** Slot s of node n holds block 7 + s. */
const blockAt = (_node: number, _tier: number, slot: number) => 7 + slot;
const isInHbm = () => false;

function place(
  node: number,
  tier: Tier,
  slots: readonly number[] | null,
  checksums: number[] = [],
) {
  const range = slots && { segment: 1, slots, generations: [], checksums };
  return { node, tier, instance: tier === Tier.hbm ? node : -1, slots: range };
}

function transfer(kind: Transfer['kind'], more: Partial<Transfer>): Transfer {
  return {
    id: 1,
    kind,
    request: 0,
    source: place(0, Tier.hbm, null),
    target: place(0, Tier.dram, null),
    tokens: 40,
    bytes: 160,
    blocks: 0,
    afterStep: 0,
    weight: 1,
    ...more,
  };
}

const SAVE = transfer('save', { target: place(0, Tier.dram, [0, 1]), blocks: 2 });

it('computes CRC-32C', () => {
  const bytes = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  // Check value of the CRC catalogue, and 32 bytes of zeros of RFC 3720, B.4.
  expect(crc32c(bytes('123456789')) >>> 0).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32)) >>> 0).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(0))).toBe(0);
});

describe('loopback memory', () => {
  const copy = (memory: LoopbackMemory, move: Transfer, toToken = 40) => {
    const slices = memory.slices(move, toToken);
    for (const { source, target } of slices) target.set(source);
    return slices;
  };

  it('holds after every move what the blocks must hold', () => {
    const memory = new LoopbackMemory({ topology, trace, blockAt, isInHbm });
    memory.compute(0, 0, 0, 40);
    memory.checkPrompt(0, 0, 40);
    const fetch = transfer('fetch', {
      source: place(0, Tier.dram, [0, 1]),
      target: place(1, Tier.dram, [0, 1]),
      blocks: 2,
    });
    const load = transfer('load', {
      source: place(1, Tier.dram, [0, 1]),
      target: place(1, Tier.hbm, null),
      blocks: 2,
    });
    for (const move of [SAVE, fetch, load]) {
      for (const { target, block } of copy(memory, move)) memory.checkBlock(target, block);
    }
    memory.checkPrompt(1, 0, 32);
    expect(() => memory.checkPrompt(1, 0, 33)).toThrow('byte 128 of request 0 in instance 1');
    memory.compute(1, 0, 32, 40);
    memory.checkPrompt(1, 0, 40);
  });

  it('streams ranges of tokens, and what was parked', () => {
    const memory = new LoopbackMemory({ topology, trace, blockAt, isInHbm });
    memory.compute(0, 0, 0, 40);
    const target = place(2, Tier.hbm, null);
    copy(memory, transfer('stream', { target, tokens: 20 }), 20);
    memory.checkPrompt(2, 0, 20);
    expect(() => memory.checkPrompt(2, 0, 21)).toThrow('wrong');
    copy(memory, transfer('park', {}));
    const parked = place(0, Tier.dram, null);
    copy(memory, transfer('stream', { source: parked, target, tokens: 20 }));
    memory.checkPrompt(2, 0, 40);
  });

  it('notices a wrong byte', () => {
    const memory = new LoopbackMemory({ topology, trace, blockAt, isInHbm });
    memory.compute(0, 0, 0, 40);
    const [slice] = copy(memory, SAVE);
    slice.target[5] ^= 1;
    expect(() => memory.checkBlock(slice.target, 7)).toThrow('byte 5 of block 7 is wrong');
    expect(() => memory.checkBlock(slice.source, 8)).toThrow('of block 8 is wrong');
  });

  it('forgets a request that is over, when others ended after it', () => {
    const memory = new LoopbackMemory({ topology, trace, blockAt, isInHbm });
    memory.compute(0, 0, 0, 40);
    for (let request = 0; request <= 64; request++) memory.forget(request);
    expect(() => memory.checkPrompt(0, 0, 1)).toThrow('wrong');
  });
});

describe('the loopback host', () => {
  /** Starts transfers one after the other on node 1's store; answers how each ended. */
  async function play(moves: readonly Transfer[], compute = true): Promise<TransferEnded[]> {
    const loopback = new Loopback({
      topology,
      costs: tinyCosts(topology),
      speed: 1,
      trace,
      blockAt,
      isInHbm,
      observers: [],
    });
    const ends: TransferEnded[] = [];
    const instance = addresses.instance(0);
    const host = loopback.host(instance);
    const chunk = { request: 0, fromToken: 0, toToken: 40, first: true, last: true, loads: [] };
    const next = () => {
      if (ends.length < moves.length)
        host.startTransfer({ ...moves[ends.length], id: ends.length });
    };
    const machines = Array.from({ length: addresses.count }, (_, address) => ({
      handle({ body }: { body: { kind: string } }) {
        if (address === WORKLOAD && compute)
          host.startStep({ id: 1, chunks: [chunk], decode: null });
        else if (address === WORKLOAD) next();
        if (body.kind === 'transferEnded') ends.push(body as TransferEnded);
        if (body.kind !== 'wake') next();
      },
    }));
    loopback.setMachines(machines);
    await loopback.run();
    return ends;
  }

  const fetch = (checksums: number[]) =>
    transfer('fetch', {
      source: place(0, Tier.dram, [0, 1], checksums),
      target: place(1, Tier.dram, [0, 1]),
      blocks: 2,
    });

  it('reports the checksum of every block that it moved', async () => {
    const [saved] = await play([SAVE]);
    expect(saved).toMatchObject({ ok: true, blocksDone: 2, cause: '' });
    const [, fetched] = await play([SAVE, fetch([...saved.checksums!])]);
    expect(fetched).toMatchObject({ ok: true, blocksDone: 2 });
    expect([...fetched.checksums!]).toEqual([...saved.checksums!]);
  });

  it('fails a fetch whose bytes are not what their owner said', async () => {
    const [saved] = await play([SAVE]);
    const wrong = [saved.checksums![0], saved.checksums![1] ^ 1];
    const [, fetched] = await play([SAVE, fetch(wrong)]);
    expect(fetched).toMatchObject({ ok: false, blocksDone: 1, cause: 'checksum' });
  });

  it('stops when a block is not what its id says', async () => {
    await expect(play([SAVE], false)).rejects.toThrow('byte 0 of block 7 is wrong');
  });

  it('stops when a machine throws', async () => {
    const costs = tinyCosts(topology);
    const loopback = new Loopback({
      topology,
      costs,
      speed: 1,
      trace,
      blockAt,
      isInHbm,
      observers: [],
    });
    loopback.setMachines([
      {
        handle: () => {
          throw new Error('lost my way');
        },
      },
    ]);
    await expect(loopback.run()).rejects.toThrow('lost my way');
  });
});
