/** What live transfers leave behind when they fail: nothing that is held, nothing stale. */
import { expect, it } from 'vitest';
import { assert } from '../../src/core/errors.ts';
import type { Transfer } from '../../src/core/host.ts';
import { Tier } from '../../src/core/topology.ts';
import type { Move, MoveEnd } from '../../src/runtime/data-plane.ts';
import { LiveTransfers } from '../../src/runtime/live/live-transfers.ts';
import type { NodeWord } from '../../src/runtime/live/node-words.ts';
import type { LiveTransfersWorld } from '../../src/runtime/live/transfer-kit.ts';
import { Status } from '../../src/runtime/native.ts';

const PEER = 1;
const PAGES = 100;
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

/** A node whose moves end when the test says so; slot i is to hold block i. */
function nodeOf(incarnation: number) {
  const said: NodeWord[] = [];
  const released: number[] = [];
  const moves: { move: Move; end: (end: MoveEnd) => void }[] = [];
  const users = new Map<number, number>();
  const add = (slot: number, by: number) => users.set(slot, (users.get(slot) ?? 0) + by);
  const plane = {
    onReleased: (_pool: object, _slot: number) => {},
    move: (move: Move, end: (end: MoveEnd) => void) => moves.push({ move, end }),
  };
  const memory = {
    own: {},
    pool: {},
    blockBytes: 4096,
    contents: { sum: () => 7 },
    isPage: (slot: number) => slot >= PAGES,
    isUsed: (slot: number) => (users.get(slot) ?? 0) > 0,
    pagesOf: () => range(PAGES, PAGES + 2),
    generationOf: () => 1,
    use: (slot: number) => add(slot, 1),
    unuse: (slot: number) => add(slot, -1),
    withdraw: () => true,
    publish: () => {},
  };
  const world = {
    node: 0,
    incarnation,
    plane,
    memory,
    ssd: null,
    prompts: { get: () => ({ blocks: { length: 2, at: (i: number) => i } }) },
    blockTokens: 16,
    slotsOf: () => ({ block: (slot: number) => slot, generations: new Int32Array(PAGES) }),
    segmentOf: () => ({ segment: {}, incarnation: 0 }),
    say: (_node: number, word: NodeWord) => said.push(word),
    slotReleased: (_tier: Tier, slot: number) => released.push(slot),
    onWrongByte: (what: string) => {
      throw new Error(what);
    },
  };
  const transfers = new LiveTransfers(world as unknown as LiveTransfersWorld);
  const held = () => [...users].filter(([, count]) => count !== 0).map(([slot]) => slot);
  return { transfers, said, released, moves, held, plane, memory };
}

function transferOf(kind: Transfer['kind'], blocks: number, tier: Tier): Transfer {
  const slots = range(0, blocks);
  const named = {
    segment: 0,
    slots,
    generations: slots.map(() => 0),
    checksums: slots.map(() => 7),
  };
  const source = { node: kind === 'stream' ? 0 : PEER, tier, instance: 0, slots: named };
  const target = { node: kind === 'stream' ? PEER : 0, tier: Tier.dram, instance: 1, slots: named };
  const sizes = { blocks, tokens: 16 * blocks, bytes: 4096 * blocks, weight: 1, afterStep: 0 };
  return { id: 1, kind, request: 3, source, target, ...sizes };
}

it("a fetch from a peer's SSD that times out gives back all that it did not fill", async () => {
  const { transfers, said, released, moves, held, plane, memory } = nodeOf(0);
  const ends: unknown[] = [];
  transfers.start(transferOf('fetch', 12, Tier.ssd), 0, (end) => ends.push(end));
  const [word] = said;
  assert(word[0] === 'wanted', 'it asks');
  const wanted = word[1];
  expect(wanted.slots).toEqual(range(0, 8));
  const blocks = range(0, 8);
  const generations = blocks.map(() => 1);
  const to = { kind: 'wanted', id: wanted.id } as const;
  transfers.hear(PEER, ['offer', { id: 9, node: PEER, to, blocks, slots: blocks, generations }]);
  expect(moves).toHaveLength(8);
  for (const [i, { end }] of moves.entries()) {
    const status = i < 2 ? Status.ok : Status.timedOut;
    end({ status, quarantined: i === 4 } as MoveEnd);
  }
  expect(ends).toMatchObject([{ ok: false, blocksDone: 2, cause: 'timeout' }]);
  // One is under an operation that has not ended; four had not been asked for.
  expect([...released].sort((a, b) => a - b)).toEqual(range(2, 12).filter((slot) => slot !== 4));
  expect(held()).toEqual([4]);
  plane.onReleased(memory.pool, 4);
  expect(released).toContain(4);
  expect(held()).toEqual([]);
  expect(transfers.open).toBe(0);
});

it('an answer to an offer of an earlier life ends nothing of this one', () => {
  const [before, now] = [nodeOf(0), nodeOf(1)];
  const ends: unknown[] = [];
  for (const { transfers } of [before, now]) {
    transfers.start(transferOf('stream', 2, Tier.hbm), 32, (end) => ends.push(end));
  }
  const offered = ([word]: readonly NodeWord[]): number => {
    assert(word[0] === 'offer', 'it offers');
    return word[1].id;
  };
  now.transfers.hear(PEER, ['taken', offered(before.said), 2]);
  expect(ends).toEqual([]);
  expect(now.held()).toHaveLength(2);
  now.transfers.hear(PEER, ['taken', offered(now.said), 2]);
  expect(ends).toMatchObject([{ ok: true }]);
  expect(now.held()).toEqual([]);
});

it('a peer that is lost takes nothing with it', () => {
  const { transfers, held } = nodeOf(0);
  const ends: unknown[] = [];
  transfers.start(transferOf('stream', 2, Tier.hbm), 32, (end) => ends.push(end));
  transfers.start(transferOf('fetch', 12, Tier.ssd), 0, (end) => ends.push(end));
  expect(held()).toHaveLength(2);
  transfers.nodeLost(PEER);
  expect(ends).toMatchObject([{ ok: false }, { ok: false, blocksDone: 0, cause: 'lost' }]);
  expect(held()).toEqual([]);
  expect(transfers.open).toBe(0);
});
