/** DRAM and SSD of a node: what goes down, what comes up, what is read where. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { ClusterPlan } from '../../src/config/wire.ts';
import { HEARTBEAT } from '../../src/core/cache-tiers.ts';
import { Count } from '../../src/core/host.ts';
import type { TieringPolicy } from '../../src/core/policy.ts';
import { CopyDown, Promotion } from '../../src/core/policy.ts';
import { Pin, Tier } from '../../src/core/topology.ts';
import { type Done, ended, requestOf, tellers } from '../support/teller.ts';
import { BLOCK_TOKENS, tinyPlan, tinyTopology } from '../support/tiny.ts';

const DRAM_BLOCKS = 10;
const topology = tinyTopology({ dramBlocks: DRAM_BLOCKS, ssdBlocks: 20, hbmTokens: 2_000 });

let cluster: ReturnType<typeof tellers>;
let store: (typeof cluster)['stores'][0];
let instance: number;

async function use(tiering: string, store_ = {}): Promise<void> {
  wire(await tinyPlan({ topology, policies: { tiering }, settings: { store: store_ } }));
}

function wire(plan: ClusterPlan): void {
  cluster = tellers(plan);
  store = cluster.stores[0];
  instance = cluster.addresses.instance(0);
}

/** Moves between tiers that a fact started, ended at once; and what those started. */
function settleMoves(done: Done): string[] {
  const moves: string[] = [];
  let transfers = done.transfers;
  while (transfers.length > 0) {
    const [transfer, ...rest] = transfers;
    moves.push(`${transfer.kind} ${transfer.blocks}`);
    transfers = [...rest, ...store.tell(ended(transfer)).transfers];
  }
  return moves;
}

const acquire = (id: number, blocks: readonly number[]) => {
  const request = requestOf(id, blocks);
  const { inputTokens: hbmTokens } = request;
  return store.tell({ kind: 'acquire', request, instance: 0, hbmTokens }, instance);
};

const release = (request: number) =>
  store.tell({ kind: 'release', request, attempt: 0, instance: 0 }, instance);

/** Computes a prompt and lets all moves end. */
function fill(id: number, blocks: readonly number[]): string[] {
  const moves = settleMoves(acquire(id, blocks));
  const request = requestOf(id, blocks);
  const save = {
    kind: 'saveBlocks',
    request,
    instance: 0,
    step: 1,
    fromBlock: 0,
    nodes: [],
    answer: false,
  } as const;
  moves.push(...settleMoves(store.tell({ ...save, toBlock: blocks.length }, instance)));
  moves.push(...settleMoves(release(id)));
  store.machine.check();
  return moves;
}

const inDram = (block: number) => store.machine.dram.findReady(block) >= 0;
const onSsd = (block: number) => store.machine.ssd!.findReady(block) >= 0;

describe('write-back', () => {
  beforeEach(() => use('write-back'));

  it('takes down what leaves above the watermark, in the order of eviction', () => {
    expect(fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8])).toEqual(['save 9']);
    expect(fill(1, [9])).toEqual(['save 1', 'demote 2']);
    expect([0, 1, 2].map(inDram)).toEqual([false, false, true]);
    expect([0, 1, 2].map(onSsd)).toEqual([true, true, false]);
  });

  it('keeps a slot until its bytes are away, and tells the directory of both tiers', () => {
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    acquire(1, [9]);
    const request = requestOf(1, [9]);
    const saving = store.tell(
      {
        kind: 'saveBlocks',
        request,
        instance: 0,
        step: 1,
        fromBlock: 0,
        toBlock: 1,
        nodes: [],
        answer: false,
      },
      instance,
    );
    const demote = saving.transfers.find(({ kind }) => kind === 'demote')!;
    expect(demote).toMatchObject({ tokens: 2 * BLOCK_TOKENS, request: -1 });
    expect(demote.source.tier).toBe(Tier.dram);
    expect(demote.target.tier).toBe(Tier.ssd);
    expect(saving.messages('delta')).toMatchObject([{ tier: Tier.dram, removed: [0, 1] }]);
    expect(store.machine.dram.usedSlots).toBe(10);
    const done = store.tell(ended(demote));
    expect(done.messages('delta')).toMatchObject([{ tier: Tier.ssd, stored: [0, 1] }]);
    expect(done.of('count')).toEqual([[Count.demoted, 2]]);
    expect(store.machine.dram.usedSlots).toBe(8);
    store.machine.check();
  });

  it('drops what must go at once', () => {
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7]);
    acquire(1, [10, 11, 12, 13]);
    const request = requestOf(1, [10, 11, 12, 13]);
    const done = store.tell(
      {
        kind: 'saveBlocks',
        request,
        instance: 0,
        step: 1,
        fromBlock: 0,
        toBlock: 4,
        nodes: [],
        answer: false,
      },
      instance,
    );
    expect(done.of('count')).toEqual([
      [Count.droppedDemotion, 1],
      [Count.droppedDemotion, 1],
    ]);
    expect([0, 1].map(onSsd)).toEqual([false, false]);
  });

  it('reads SSD straight into HBM and brings a copy back', () => {
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    fill(1, [9]);
    const done = acquire(2, [0, 1, 2, 30]);
    const loads = done.transfers.filter(({ kind }) => kind === 'load');
    expect(loads.map(({ source, tokens }) => [source.tier, tokens])).toEqual([
      [Tier.dram, BLOCK_TOKENS],
      [Tier.ssd, 2 * BLOCK_TOKENS],
    ]);
    expect(done.messages('acquired')).toMatchObject([
      {
        hitBlocks: 3,
        cachedTokens: 3 * BLOCK_TOKENS,
        ssdTokens: 2 * BLOCK_TOKENS,
        loads: loads.map(({ id }) => id),
      },
    ]);
    expect(settleMoves(done)).toContain('promote 2');
    expect([0, 1].map((block) => inDram(block) && onSsd(block))).toEqual([true, true]);
    settleMoves(release(2));
    store.machine.checkIdle(0);
  });

  it('counts the tokens of a last block that is cached but for one', () => {
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    fill(1, [9]);
    const done = acquire(2, [0, 1]);
    expect(done.messages('acquired')).toMatchObject([{ cachedTokens: 31, ssdTokens: 31 }]);
  });

  it('carries a pin down, and up again', () => {
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    fill(1, [9]);
    store.tell({ kind: 'pinBlocks', blocks: [0, 2], pin: Pin.hard });
    const { dram, ssd } = store.machine;
    expect(ssd!.pinOf(ssd!.find(0))).toBe(Pin.hard);
    settleMoves(acquire(2, [0, 1, 2, 30]));
    expect(dram.pinOf(dram.find(0))).toBe(Pin.hard);
  });
});

describe('the other edges', () => {
  it('write-through copies what is stored, and evicts without a write', async () => {
    await use('write-through');
    expect(fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8])).toEqual(['save 9', 'demote 9']);
    expect(fill(1, [9])).toEqual(['save 1', 'demote 1']);
    expect([0, 8, 9].map(onSsd)).toEqual([true, true, true]);
    expect(inDram(0)).toBe(false);
  });

  it('selective copies what was used twice', async () => {
    await use('selective');
    expect(fill(0, [0, 1, 2])).toEqual(['save 3']);
    const done = acquire(1, [0, 1, 20]);
    expect(settleMoves(done)).toEqual(['load 2', 'demote 2']);
    expect([0, 1, 2].map(onSsd)).toEqual([true, true, false]);
  });

  it('promote-on-hit keeps a block in one tier', async () => {
    await use('promote-on-hit');
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    fill(1, [9]);
    settleMoves(acquire(2, [0, 1, 30]));
    settleMoves(release(2));
    expect([0, 1].map((block) => [inDram(block), onSsd(block)])).toEqual([
      [true, false],
      [true, false],
    ]);
    store.machine.check();
  });

  it('mooncake-store copies at the heartbeat, and sleeps when there is nothing', async () => {
    await use('mooncake-store');
    store.nowNs = 3e9;
    acquire(0, [0, 1]);
    const request = requestOf(0, [0, 1]);
    const save = {
      kind: 'saveBlocks',
      request,
      instance: 0,
      step: 1,
      fromBlock: 0,
      nodes: [],
      answer: false,
    } as const;
    const [transfer] = store.tell({ ...save, toBlock: 2 }, instance).transfers;
    const saved = store.tell(ended(transfer));
    expect(saved.of('wakeAt')).toEqual([[10e9, HEARTBEAT]]);
    store.nowNs = 10e9;
    const beat = store.tell({ kind: 'wake', token: HEARTBEAT });
    expect(settleMoves(beat)).toEqual(['demote 2']);
    expect(beat.of('wakeAt')).toEqual([]);
  });

  it('prefetch fills free DRAM with what a waiting prompt has on SSD', async () => {
    await use('write-back:promote=false');
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    fill(1, [9]);
    const done = store.tell({ kind: 'prefetch', request: requestOf(2, [0, 1, 2, 30]) }, instance);
    expect(settleMoves(done)).toContain('prefetch 2');
    expect([0, 1].map(inDram)).toEqual([true, true]);
  });
});

describe('a peer that reads from both tiers', () => {
  it('is granted one tier at a time and told that there is more', async () => {
    await use('write-back');
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    fill(1, [9]);
    const ask = (lease: number, blocks: number[]) =>
      store.tell({ kind: 'leaseRequest', lease, blocks }, cluster.addresses.store(1));
    const first = ask(1, [0, 1, 2, 3, 40]).messages('leaseGrant')[0];
    expect([first.tier, first.range.slots.length, first.more]).toEqual([Tier.ssd, 2, true]);
    const second = ask(2, [2, 3, 40]).messages('leaseGrant')[0];
    expect([second.tier, second.range.slots.length, second.more]).toEqual([Tier.dram, 2, false]);
  });

  it('asks again for the rest', async () => {
    await use('write-back');
    const request = requestOf(5, [1, 2, 3, 4]);
    const fetch = {
      kind: 'fetchBlocks',
      request,
      instance: 0,
      sources: [1],
      untils: [],
      keepsFetched: true,
      sourceBlocks: 4,
    };
    const peer = cluster.addresses.store(1);
    const grant = (lease: number, tier: Tier, blocks: number, more: boolean) => {
      const slots = Array.from({ length: blocks }, (_, i) => i);
      const range = { segment: 1, slots, generations: slots, checksums: slots };
      return store.tell({ kind: 'leaseGrant', lease, tier, more, ttlNs: 10e6, range }, peer);
    };
    const [asked] = store.tell(fetch as never, instance).messages('leaseRequest');
    const [move] = grant(asked.lease, Tier.ssd, 1, true).transfers;
    expect(move.source.tier).toBe(Tier.ssd);
    const again = store.tell(ended(move));
    const [rest] = again.messages('leaseRequest');
    expect(rest.blocks).toEqual([2, 3, 4]);
    const [last] = grant(rest.lease, Tier.dram, 3, false).transfers;
    expect(store.tell(ended(last)).messages('fetched')).toMatchObject([{ blocks: 4 }]);
    expect(again.of('count')).toEqual([]);
  });
});

describe('an SSD that fails', () => {
  const LOST = { kind: 'tierLost', tier: Tier.ssd } as const;
  const BACK = { kind: 'tierBack', tier: Tier.ssd } as const;

  /** Blocks 0 and 1 on SSD, 2 to 9 in DRAM. */
  beforeEach(async () => {
    await use('write-back');
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    fill(1, [9]);
  });

  it('takes its blocks along, which the directory hears, pinned ones too', () => {
    store.tell({ kind: 'pinBlocks', blocks: [0], pin: Pin.hard });
    const lost = store.tell(LOST);
    expect(lost.messages('delta')).toMatchObject([{ tier: Tier.ssd, stored: [], removed: [0, 1] }]);
    expect(store.machine.ssd!.usedSlots).toBe(0);
    expect(acquire(2, [0, 1, 2]).messages('acquired')).toMatchObject([{ hitBlocks: 0 }]);
    store.machine.check();
  });

  it('is written to no more, until it is back', () => {
    store.tell(LOST);
    expect(fill(2, [10, 11])).toEqual(['save 2']);
    expect(fill(3, [12])).toEqual(['save 1']);
    expect(inDram(2)).toBe(false);
    store.tell(BACK);
    expect(fill(4, [13, 14])).toEqual(['save 2', 'demote 2']);
    expect(store.machine.ssd!.usedSlots).toBe(2);
    store.machine.checkIdle(0);
  });

  it('keeps leased slots until their readers are done', () => {
    const peer = cluster.addresses.store(1);
    const asked = store.tell({ kind: 'leaseRequest', lease: 1, blocks: [0, 1] }, peer);
    expect(asked.messages('leaseGrant')[0].range.slots).toHaveLength(2);
    store.tell(LOST);
    store.tell(BACK);
    expect(store.machine.ssd!.usedSlots).toBe(2);
    expect(
      store.tell({ kind: 'leaseRequest', lease: 2, blocks: [0, 1] }, peer).messages('leaseGrant')[0]
        .range.slots,
    ).toEqual([]);
    store.tell({ kind: 'leaseRelease', lease: 1 }, peer);
    expect(store.machine.ssd!.usedSlots).toBe(0);
    store.machine.check();
  });

  it('publishes nothing of a copy that was under way, and uses its slots after its end', () => {
    acquire(2, [10, 11]);
    const save = {
      kind: 'saveBlocks',
      request: requestOf(2, [10, 11]),
      instance: 0,
      step: 1,
      fromBlock: 0,
      toBlock: 2,
      nodes: [],
      answer: false,
    } as const;
    const [demote] = store.tell(save, instance).transfers.filter(({ kind }) => kind === 'demote');
    store.tell(LOST);
    store.tell(BACK);
    const { ssd } = store.machine;
    expect(ssd!.usedSlots).toBe(demote.blocks);
    const failed = store.tell(ended(demote, 1));
    expect(failed.of('count')).toEqual([[Count.transferFailed, 1]]);
    expect([failed.messages('delta'), ssd!.usedSlots]).toEqual([[], 0]);
    expect([2, 3].map((block) => inDram(block) || onSsd(block))).toEqual([false, false]);
    store.machine.check();
  });

  it('ends a promotion with what had arrived', () => {
    const done = acquire(2, [0, 1, 30]);
    const [promote] = done.transfers.filter(({ kind }) => kind === 'promote');
    store.tell(LOST);
    const failed = store.tell(ended(promote, 1));
    expect(failed.messages('delta')).toMatchObject([{ tier: Tier.dram, stored: [0] }]);
    expect([0, 1].map(inDram)).toEqual([true, false]);
  });

  it('tells the instance what a load did not bring, and keeps no save built on that', () => {
    const done = acquire(2, [0, 1, 30]);
    const [load] = done.transfers.filter(({ kind }) => kind === 'load');
    const save = {
      kind: 'saveBlocks',
      request: requestOf(2, [0, 1, 30]),
      instance: 0,
      step: 1,
      fromBlock: 2,
      toBlock: 3,
      nodes: [],
      answer: false,
    } as const;
    const [saving] = store.tell(save, instance).transfers.filter(({ kind }) => kind === 'save');
    store.tell(LOST);
    const failed = store.tell(ended(load, 0));
    expect(failed.messages('loadFailed')).toMatchObject([{ request: 2, blocks: [0, 1] }]);
    expect(store.tell(ended(saving)).messages('delta')).toEqual([]);
    expect(inDram(30)).toBe(false);
    store.machine.check();
  });
});

describe('a tiering policy that answers nonsense', () => {
  const SANE: TieringPolicy = {
    heartbeatNs: 0,
    onStored: () => CopyDown.none,
    onHit: () => CopyDown.none,
    onEvict: () => true,
    onSsdHit: () => Promotion.none,
  };

  async function answers(policy: Partial<TieringPolicy>): Promise<void> {
    const plan = await tinyPlan({ topology });
    const tiering = { name: 'mine', create: () => ({ ...SANE, ...policy }) };
    wire({ ...plan, policies: { ...plan.policies, tiering } });
  }

  it('is stopped at the port', async () => {
    await answers({ onStored: () => 7 as never });
    expect(() => fill(0, [0])).toThrow('the tiering policy answered 7, expected a CopyDown');
    await answers({ onStored: () => CopyDown.later });
    expect(() => fill(0, [0])).toThrow('puts copies off and has no heartbeatNs above 0');
    await answers({ onSsdHit: () => true as never });
    fill(0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    fill(1, [9]);
    expect(() => acquire(2, [0, 30])).toThrow('answered true, expected a Promotion');
  });
});
