/** A store on its own: space, leases, fetches, and what it tells the directory. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Count } from '../../src/core/host.ts';
import type { LeaseGrant } from '../../src/core/messages.ts';
import type { Request } from '../../src/core/request.ts';
import { CONDUCTOR, Tier } from '../../src/core/topology.ts';
import { ended, requestOf, tellers } from '../support/teller.ts';
import { BLOCK_TOKENS, TINY_SETTINGS, tinyPlan, tinyTopology } from '../support/tiny.ts';

const DRAM_BLOCKS = 6;
const HBM_TOKENS = 200;
const { leaseTtlNs, guardNs } = TINY_SETTINGS.store;

const topology = tinyTopology({
  prefill: 3,
  decode: 1,
  dramBlocks: DRAM_BLOCKS,
  hbmTokens: HBM_TOKENS,
});
const plan = await tinyPlan({ topology });

let cluster: ReturnType<typeof tellers>;
let store: (typeof cluster)['stores'][0];
let instance: number;
let peers: number[];

beforeEach(() => {
  cluster = tellers(plan);
  store = cluster.stores[0];
  instance = cluster.addresses.instance(0);
  peers = [1, 2, 3].map((node) => cluster.addresses.store(node));
});

const acquire = (request: Request) =>
  ({ kind: 'acquire', request, instance: 0, hbmTokens: request.inputTokens }) as const;
/** All blocks of a prompt, which one step makes. */
const save = (request: Request) =>
  ({
    kind: 'saveBlocks',
    request,
    instance: 0,
    step: 1,
    fromBlock: 0,
    toBlock: request.blocks.length,
    nodes: [],
    answer: false,
  }) as const;

/** Computes a prompt: its blocks are in DRAM afterwards. */
function fill(id: number, blocks: readonly number[]): void {
  const request = requestOf(id, blocks);
  store.tell(acquire(request), instance);
  const saved = store.tell(
    {
      kind: 'saveBlocks',
      request,
      instance: 0,
      step: 1,
      fromBlock: 0,
      toBlock: blocks.length,
      nodes: [],
      answer: false,
    },
    instance,
  );
  for (const transfer of saved.transfers) store.tell(ended(transfer));
  store.tell({ kind: 'release', request: id, attempt: 0, instance: 0 }, instance);
}

const reserve = (request: number, tokens: number, ttlNs = 1e6) =>
  ({ kind: 'reserve', request, attempt: 0, instance: 0, tokens, ttlNs }) as const;
const unreserve = (request: number) =>
  ({ kind: 'unreserve', request, attempt: 0, instance: 0 }) as const;
const claim = (request: number) => ({ kind: 'claim', request, attempt: 0, instance: 0 }) as const;

describe('a store as memory of an instance', () => {
  it('loads the longest prefix that it has', () => {
    fill(0, [1, 2, 3]);
    const request = requestOf(1, [1, 2, 9]);
    const done = store.tell(acquire(request), instance);
    const [load] = done.transfers;
    expect(load).toMatchObject({ kind: 'load', blocks: 2, tokens: 2 * BLOCK_TOKENS });
    expect(done.messages('acquired')).toMatchObject([
      { hitBlocks: 2, peerTokens: 0, loads: [load.id], cachedTokens: 2 * BLOCK_TOKENS },
    ]);
  });

  it('leaves one token to compute of a prompt that it has whole', () => {
    fill(0, [1, 2]);
    const done = store.tell(acquire(requestOf(1, [1, 2])), instance);
    expect(done.messages('acquired')).toMatchObject([{ hitBlocks: 2, cachedTokens: 31 }]);
  });

  it('tells the conductor when blocks are whole, and when they go', () => {
    const request = requestOf(0, [7, 8]);
    store.tell(acquire(request), instance);
    const saving = store.tell(save(request), instance);
    expect(saving.messages('delta')).toEqual([]);
    const saved = store.tell(ended(saving.transfers[0]));
    expect(saved.sent).toEqual([
      [
        CONDUCTOR,
        {
          kind: 'delta',
          node: 0,
          tier: Tier.dram,
          instance: -1,
          sequence: 1,
          stored: [7, 8],
          removed: [],
        },
      ],
    ]);
    store.tell({ kind: 'release', request: 0, attempt: 0, instance: 0 }, instance);
    fill(1, [20, 21, 22, 23, 24]);
    const { dram } = store.machine;
    expect([dram.findReady(7), dram.findReady(8) >= 0]).toEqual([-1, true]);
  });

  it('drops a save that has no room, and computes on', () => {
    const request = requestOf(0, [0, 1, 2, 3, 4, 5, 6, 7]);
    store.tell(acquire(request), instance);
    const done = store.tell(save(request), instance);
    expect(done.transfers[0].blocks).toBe(DRAM_BLOCKS);
    expect(done.of('count')).toEqual([[Count.droppedSave, 2]]);
  });

  it('keeps memory until the last move out of it has ended', () => {
    const request = requestOf(0, [0]);
    store.tell({ kind: 'acquire', request, instance: 0, hbmTokens: HBM_TOKENS }, instance);
    const [transfer] = store.tell(save(request), instance).transfers;
    store.tell(reserve(1, 10), peers[0]);
    const released = store.tell({ kind: 'release', request: 0, attempt: 0, instance: 0 }, instance);
    expect(released.messages('reserved')).toEqual([]);
    expect(store.tell(ended(transfer)).messages('reserved')).toMatchObject([{ status: 'granted' }]);
  });
});

describe('a store that is asked for decode space', () => {
  it('grants, queues in order, and serves when space comes back', () => {
    expect(store.tell(reserve(1, 150), peers[0]).messages('reserved')[0].status).toBe('granted');
    expect(store.tell(reserve(2, 100), peers[0]).messages('reserved')[0].status).toBe('queued');
    expect(store.tell(reserve(3, 10), peers[1]).messages('reserved')[0].status).toBe('queued');
    const done = store.tell(unreserve(1), peers[0]);
    expect(done.sent.map(([to, body]) => [to, (body as { request: number }).request])).toEqual([
      [peers[0], 2],
      [peers[1], 3],
    ]);
  });

  it('answers the same question alike, whenever it is asked again', () => {
    for (let i = 0; i < 2; i++) {
      expect(store.tell(reserve(1, 150), peers[0]).messages('reserved')[0].status).toBe('granted');
      expect(store.tell(reserve(2, 150), peers[0]).messages('reserved')[0].status).toBe('queued');
    }
    expect(store.tell(unreserve(1), peers[0]).messages('reserved')).toHaveLength(1);
    store.machine.check();
  });

  it('refuses beyond the bound of its queue', async () => {
    const settings = { store: { reserveQueueRequests: 1 } };
    const small = tellers(await tinyPlan({ topology, settings })).stores[0];
    const status = (id: number) => small.tell(reserve(id, 150)).messages('reserved')[0].status;
    expect([1, 2, 3].map(status)).toEqual(['granted', 'queued', 'refused']);
  });

  it('gives unclaimed space to those who wait when its ttl runs out, by itself', () => {
    store.tell(reserve(1, 150, 1_000), peers[0]);
    const waits = store.tell(reserve(2, 100, 1_000), peers[0]);
    expect(waits.of('wakeAt')).toEqual([[1_000, 0]]);
    store.nowNs = 1_000;
    const woken = store.tell({ kind: 'wake', token: 0 });
    expect(woken.messages('reserved')).toMatchObject([{ request: 2, status: 'granted' }]);
    expect(store.tell(claim(1)).messages('claimed')[0].ok).toBe(false);
    expect(store.tell(claim(2)).messages('claimed')[0].ok).toBe(true);
  });

  it('keeps claimed space', () => {
    store.tell(reserve(1, 150, 1_000), peers[0]);
    store.tell(claim(1), instance);
    const waits = store.tell(reserve(2, 100, 1_000), peers[0]);
    expect(waits.of('wakeAt')).toEqual([]);
    store.nowNs = 1e9;
    expect(store.tell(reserve(3, 100), peers[0]).messages('reserved')[0].status).toBe('queued');
  });
});

describe('a store that lends blocks', () => {
  const ask = (lease: number, blocks: readonly number[]) =>
    ({ kind: 'leaseRequest', lease, blocks }) as const;
  const grantOf = (done: { messages(kind: 'leaseGrant'): LeaseGrant[] }) =>
    done.messages('leaseGrant')[0].range.slots.length;

  it('grants the longest leading run that it has', () => {
    fill(0, [1, 2, 3]);
    expect(grantOf(store.tell(ask(1, [1, 2, 9, 3]), peers[0]))).toBe(2);
    expect(grantOf(store.tell(ask(2, [9, 1]), peers[0]))).toBe(0);
  });

  it('evicts nothing that is lent, until it is returned', () => {
    fill(0, [1, 2, 3]);
    store.tell(ask(1, [1, 2, 3]), peers[0]);
    fill(1, [10, 11, 12, 13, 14, 15]);
    const { dram } = store.machine;
    expect([1, 2, 3].every((block) => dram.findReady(block) >= 0)).toBe(true);
    store.tell({ kind: 'leaseRelease', lease: 1 }, peers[0]);
    fill(2, [20, 21, 22, 23, 24, 25]);
    expect([1, 2, 3].some((block) => dram.findReady(block) >= 0)).toBe(false);
  });

  it('takes back what no one returned after ttl + guard, and not before', () => {
    fill(0, [1]);
    store.tell(ask(1, [1]), peers[0]);
    const slot = store.machine.dram.find(1);
    store.nowNs = leaseTtlNs + guardNs - 1;
    store.tell(ask(2, [5]), peers[1]);
    expect(store.machine.dram.isLeased(slot)).toBe(true);
    store.nowNs = leaseTtlNs + guardNs;
    store.tell(ask(3, [5]), peers[1]);
    expect(store.machine.dram.isLeased(slot)).toBe(false);
    store.tell({ kind: 'leaseRelease', lease: 1 }, peers[0]);
    store.machine.checkIdle(store.nowNs);
  });

  it('gives a lease once, however often it is asked', () => {
    fill(0, [1]);
    store.tell(ask(1, [1]), peers[0]);
    store.tell(ask(1, [1]), peers[0]);
    store.tell({ kind: 'leaseRelease', lease: 1 }, peers[0]);
    store.machine.checkIdle(0);
  });
});

describe('a store that fetches', () => {
  const request = requestOf(5, [1, 2, 3, 4]);
  const fetchBlocks = {
    kind: 'fetchBlocks',
    request,
    instance: 0,
    untils: [],
    keepsFetched: true,
    sourceBlocks: 4,
  } as const;

  /** Begins a fetch of blocks 1 to 4; answers the lease that it asks for. */
  function begin(sources: readonly number[]): number {
    const done = store.tell({ ...fetchBlocks, sources }, instance);
    expect(done.sent[0][0]).toBe(cluster.addresses.store(sources[0]));
    return done.messages('leaseRequest')[0].lease;
  }

  function grant(lease: number, blocks: number): LeaseGrant {
    const slots = Array.from({ length: blocks }, (_, i) => 40 + i);
    const range = { segment: 1, slots, generations: slots, checksums: slots };
    return { kind: 'leaseGrant', lease, tier: Tier.dram, more: false, ttlNs: leaseTtlNs, range };
  }

  it('brings what is granted, returns the lease and says so', () => {
    const lease = begin([1]);
    const [move] = store.tell(grant(lease, 3), peers[0]).transfers;
    expect(move).toMatchObject({ kind: 'fetch', blocks: 3, tokens: 3 * BLOCK_TOKENS });
    const done = store.tell(ended(move));
    expect(done.sent).toContainEqual([peers[0], { kind: 'leaseRelease', lease }]);
    expect(done.messages('fetched')).toMatchObject([{ request: 5, blocks: 3 }]);
    expect(done.messages('delta')[0].stored).toEqual([1, 2, 3]);
  });

  it('keeps what it fetched for the request that fetched it', () => {
    const [move] = store.tell(grant(begin([1]), 4), peers[0]).transfers;
    store.tell(ended(move));
    fill(6, [10, 11, 12, 13, 14, 15]);
    const done = store.tell(acquire(request), instance);
    expect(done.messages('acquired')).toMatchObject([{ hitBlocks: 4, peerTokens: 63 }]);
  });

  it('lets go of what no copy is wanted of, once it is loaded, but not of what others read', () => {
    const done = store.tell({ ...fetchBlocks, sources: [1], keepsFetched: false }, instance);
    const [{ lease }] = done.messages('leaseRequest');
    store.tell(ended(store.tell(grant(lease, 4), peers[0]).transfers[0]));
    const [load] = store.tell(acquire(request), instance).transfers;
    expect(load).toMatchObject({ kind: 'load', blocks: 4 });
    store.tell({ kind: 'leaseRequest', lease: 9, blocks: [1] }, peers[1]);
    expect(store.tell(ended(load)).messages('delta')[0].removed).toEqual([2, 3, 4]);
    expect(store.machine.dram.findReady(1)).toBeGreaterThanOrEqual(0);
  });

  it('tries another replica for what broke off, and then gives up', () => {
    const [move] = store.tell(grant(begin([1, 2]), 4), peers[0]).transfers;
    const broken = store.tell(ended(move, 1));
    const [second] = broken.messages('leaseRequest');
    expect(broken.sent).toContainEqual([peers[1], second]);
    expect(second.blocks).toEqual([2, 3, 4]);
    const [again] = store.tell(grant(second.lease, 3), peers[1]).transfers;
    const done = store.tell(ended(again, 0));
    expect(done.messages('fetched')).toMatchObject([{ blocks: 1 }]);
    expect(store.machine.dram.findReady(1)).toBeGreaterThanOrEqual(0);
    expect(store.machine.dram.find(2)).toBe(-1);
  });

  it('discards bytes that came after ttl - guard from its asking: the slot may be reused', () => {
    store.nowNs = 100;
    const lease = begin([1]);
    store.nowNs = 200;
    const [move] = store.tell(grant(lease, 4), peers[0]).transfers;
    store.nowNs = 100 + leaseTtlNs - guardNs + 1;
    const done = store.tell(ended(move));
    expect(done.messages('fetched')).toMatchObject([{ blocks: 0 }]);
    expect(done.messages('delta')).toEqual([]);
    expect(store.machine.dram.find(1)).toBe(-1);
  });

  it('takes bytes that came at ttl - guard', () => {
    const [move] = store.tell(grant(begin([1]), 4), peers[0]).transfers;
    store.nowNs = leaseTtlNs - guardNs;
    expect(store.tell(ended(move)).messages('fetched')).toMatchObject([{ blocks: 4 }]);
  });

  it('starts no move on a grant that is too old', () => {
    const lease = begin([1]);
    store.nowNs = leaseTtlNs;
    const done = store.tell(grant(lease, 4), peers[0]);
    expect(done.transfers).toEqual([]);
    expect(done.sent).toContainEqual([peers[0], { kind: 'leaseRelease', lease }]);
    expect(done.messages('fetched')).toMatchObject([{ blocks: 0 }]);
  });

  it('asks the next source when the channel to the first one broke, and returns the lease', () => {
    const lease = begin([1, 2]);
    const done = store.tell({ kind: 'peerReset', peer: peers[0] });
    expect(done.sent).toContainEqual([peers[0], { kind: 'leaseRelease', lease }]);
    expect(done.sent.map(([to, { kind }]) => [to, kind])).toContainEqual([
      peers[1],
      'leaseRequest',
    ]);
    const late = store.tell(grant(lease, 4), peers[0]);
    expect(late.commands).toEqual([['count', Count.lateFact, 1]]);
  });

  it('returns the lease of a fetch that was given up, before and during its move', () => {
    const release = { kind: 'release', request: 5, attempt: 0, instance: 0 } as const;
    const asked = begin([1]);
    const dropped = store.tell(release, instance);
    expect(dropped.sent).toEqual([[peers[0], { kind: 'leaseRelease', lease: asked }]]);
    store.machine.checkIdle(0);

    const lease = begin([1]);
    const [move] = store.tell(grant(lease, 4), peers[0]).transfers;
    expect(store.tell(release, instance).sent).toEqual([]);
    const done = store.tell(ended(move));
    expect(done.sent[0]).toEqual([peers[0], { kind: 'leaseRelease', lease }]);
    expect(done.messages('fetched')).toEqual([]);
    expect(store.machine.dram.findReady(1)).toBeGreaterThanOrEqual(0);
    store.machine.checkIdle(0);
  });

  it('keeps slots out of use that a timed-out move may still write', () => {
    const [move] = store.tell(grant(begin([1]), 4), peers[0]).transfers;
    const timeout = { ...ended(move, 2), cause: 'timeout' as const };
    expect(store.tell(timeout).messages('fetched')).toMatchObject([{ blocks: 2 }]);
    const { dram } = store.machine;
    const { slots } = move.target.slots!;
    expect(dram.usedSlots).toBe(4);
    store.tell({ kind: 'slotReleased', tier: Tier.dram, slot: slots[3] });
    expect(dram.usedSlots).toBe(3);
    store.machine.check();
  });
});

describe('a store and the directory', () => {
  it('sends everything after the channel to the conductor broke', () => {
    fill(0, [1, 2]);
    const done = store.tell({ kind: 'peerReset', peer: CONDUCTOR });
    expect(done.sent).toEqual([
      [
        CONDUCTOR,
        {
          kind: 'blockInventory',
          node: 0,
          tier: Tier.dram,
          instance: -1,
          incarnation: 0,
          sequence: 2,
          blocks: [1, 2],
        },
      ],
    ]);
  });

  it('sends everything when there is too much to say', async () => {
    const plan = await tinyPlan({ topology, settings: { store: { deltaLimitBlocks: 2 } } });
    store = tellers(plan).stores[0];
    const request = requestOf(0, [1, 2, 3]);
    store.tell(acquire(request), instance);
    const [transfer] = store.tell(save(request), instance).transfers;
    expect(store.tell(ended(transfer)).messages('blockInventory')[0].blocks).toEqual([1, 2, 3]);
  });

  it('counts the end of a move that it does not know', () => {
    const done = store.tell({
      kind: 'transferEnded',
      transfer: 99,
      ok: true,
      blocksDone: 0,
      cause: '',
      checksums: null,
    });
    expect(done.commands).toEqual([['count', Count.lateFact, 1]]);
  });
});
