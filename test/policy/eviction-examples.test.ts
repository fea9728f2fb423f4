/**
 * Hand-checked traces, at most ten accesses each, with the arithmetic. `m` is a miss, `h` a hit;
 * queues are written oldest first.
 */
import { expect, it } from 'vitest';
import { CheckedTier, evictionModule, evictionNames, futureOf, outcome } from './eviction-tier.ts';

interface Example {
  readonly policy: string;
  readonly params?: Record<string, unknown>;
  readonly slots: number;
  readonly blocks: readonly number[];
  readonly marks: string;
  readonly evicted: readonly number[];
}

/** Accesses that stand alone. */
const examples: readonly Example[] = [
  // The hit on 1 changes nothing: 4 drops 1, then 1 drops 2.
  { policy: 'fifo', slots: 3, blocks: [1, 2, 3, 1, 4, 1], marks: 'mmmhmm', evicted: [1, 2] },

  // After the hit the order is 2 3 1: 4 drops 2. After the next hit it is 3 4 1: 2 drops 3.
  { policy: 'lru', slots: 3, blocks: [1, 2, 3, 1, 4, 1, 2], marks: 'mmmhmhm', evicted: [2, 3] },

  // Counts 1:1 2:2 3:1; of the ones 1 is the older: 4 drops 1. Then 3:1 4:1: 5 drops 3; 2 stays.
  { policy: 'lfu', slots: 3, blocks: [1, 2, 3, 2, 4, 5, 2], marks: 'mmmhmmh', evicted: [1, 3] },

  // Keys 1:3 2:1. 3 drops 2, L = 1, 3 gets 1+1 = 2. 4 drops 3, L = 2, 4 gets 3. Now 1:3 4:3, and 1
  // is the older: 5 drops it, where LFU would keep 1 for ever.
  {
    policy: 'lfu-da',
    slots: 2,
    blocks: [1, 1, 1, 2, 3, 4, 5],
    marks: 'mhhmmmm',
    evicted: [2, 3, 1],
  },
  { policy: 'gdsf', slots: 2, blocks: [1, 1, 1, 2, 3, 4, 5], marks: 'mhhmmmm', evicted: [2, 3, 1] },

  // 1 has its bit: cleared and reinserted, queue 2 3 1; 2 has none and goes. Queue 3 1 4: 5 drops
  // 3.
  { policy: 'clock', slots: 3, blocks: [1, 2, 3, 1, 4, 5, 1], marks: 'mmmhmmh', evicted: [2, 3] },

  // Two bits: 1 counts 2. 3: 1 sinks to 1, 2 goes. 4: 1 sinks to 0, 3 goes. 5: 1 goes.
  {
    policy: 'clock',
    params: { bits: 2 },
    slots: 2,
    blocks: [1, 2, 1, 1, 3, 4, 5],
    marks: 'mmhhmmm',
    evicted: [2, 3, 1],
  },

  // Queue 1* 2 3. 4: the hand clears 1 and takes 2; it rests on 3. Queue 1* 3 4 after the hit. 5:
  // takes 3 and rests on 4. 6: takes 4. 1 was never asked again.
  {
    policy: 'sieve',
    slots: 3,
    blocks: [1, 2, 3, 1, 4, 1, 5, 6],
    marks: 'mmmhmhmm',
    evicted: [2, 3, 4],
  },

  // Small holds all four, main may hold 3. 5: 1 was used and moves to main, 2 goes and is a ghost.
  // 2 comes back: 3 goes, 2 enters main. Small is 4 5, main 1 2.
  {
    policy: 's3-fifo',
    params: { small: 0.25, threshold: 1 },
    slots: 4,
    blocks: [1, 2, 3, 4, 1, 5, 2, 1],
    marks: 'mmmmhmmh',
    evicted: [2, 3],
  },
  // Threshold 2 (default): one hit is not enough for 1, which goes first. It is a ghost: it comes
  // back into main, and 2 goes.
  {
    policy: 's3-fifo',
    params: { small: 0.25 },
    slots: 4,
    blocks: [1, 2, 3, 4, 1, 5, 1],
    marks: 'mmmmhmm',
    evicted: [1, 2],
  },

  // Small 1 slot, main 1. 3: 1 was used and moves to main, 2 goes and is a ghost. 2 comes back: 3
  // goes from small, and main, which is full with 1, drops 1 for 2. So 1 finds a free slot.
  {
    policy: 'qdlp',
    params: { small: 0.5 },
    slots: 2,
    blocks: [1, 2, 1, 3, 2, 1],
    marks: 'mmhmmm',
    evicted: [2, 3, 1],
  },

  // A1in may hold 1, ghosts 2. 5 drops 1 (ghost). 1 returns to Am, 2 goes (ghost). 2 returns, 3
  // goes. 3 returns, 4 goes: A1in 5, Am 1 2 3. 6: A1in is not above its share, so Am's 1 goes.
  {
    policy: '2q',
    slots: 4,
    blocks: [1, 2, 3, 4, 5, 1, 1, 2, 3, 6],
    marks: 'mmmmmmhmmm',
    evicted: [1, 2, 3, 4, 1],
  },

  // Two segments of 2. 1 2 fill the lower, 3 4 the upper. 1 moves up, 3 comes down: low 2 3, up 4
  // 1. 5 drops 2. 3 moves up, 4 comes down: low 5 4. 6 drops 5.
  {
    policy: 'slru',
    params: { segments: 2 },
    slots: 4,
    blocks: [1, 2, 3, 4, 1, 5, 3, 6],
    marks: 'mmmmhmhm',
    evicted: [2, 5],
  },

  // c = 2. T2 1, T1 2. 3 (new): T1 = 1 > p = 0, so 2 goes to B1. 2 is in B1: p = 1; T1 = 1 is not
  // above p, so T2's 1 goes to B2; T1 3, T2 2. 1 is in B2: p = 0, T1's 3 goes. T2 2 1.
  {
    policy: 'arc',
    slots: 2,
    blocks: [1, 1, 2, 3, 2, 1, 2],
    marks: 'mhmmmmh',
    evicted: [2, 1, 3],
  },

  // c = 2. T1 1* 2. 3: T1 >= max(1, 0): 1 moves to T2 without its bit, 2 goes to B1. 2 is in B1:
  // T1's 3 goes first, then p = 1 and 2 enters T2: T2 1 2.
  { policy: 'car', slots: 2, blocks: [1, 2, 1, 3, 2, 1], marks: 'mmhmmh', evicted: [2, 3] },

  // 2 LIR slots, 1 HIR. 1 2 LIR, 3 HIR. 4 drops 3, which the stack remembers: 1 2 3' 4. 3: 4 goes,
  // 3 is LIR, 1 becomes HIR: stack 2 4' 3. 2: stack 3 2 after pruning 4'. So 4 is new: HIR 1 goes
  // for it.
  {
    policy: 'lirs',
    slots: 3,
    blocks: [1, 2, 3, 4, 3, 2, 4],
    marks: 'mmmmmhm',
    evicted: [3, 4, 1],
  },

  // Window 1, main 3. All four start in the window; 1 counts 2. 5: 2 3 4 move to main, which is
  // full; 1 (2 uses) beats 2 (1 use), so 2 goes. 6: 5 (1 use) does not beat 3 (1 use) and goes.
  {
    policy: 'w-tinylfu',
    params: { window: 0.25, rule: 'paper' },
    slots: 4,
    blocks: [1, 2, 3, 4, 1, 5, 6],
    marks: 'mmmmhmm',
    evicted: [2, 5],
  },

  // LRU and LFU agree on 2.
  { policy: 'lecar', slots: 2, blocks: [1, 2, 1, 3, 1], marks: 'mmhmh', evicted: [2] },

  // At 3 the clock is 3: block 1 has 2 uses in 3 accesses, block 2 has 1 in 1. 1 goes.
  {
    policy: 'hyperbolic',
    params: { samples: 64 },
    slots: 2,
    blocks: [1, 1, 2, 3, 2],
    marks: 'mhmmh',
    evicted: [1],
  },

  // All ages are in the first step. A block without a hit is in class 0, density 17; with one at
  // age 0 it is in class 15, density 32. So 2 goes.
  { policy: 'lhd', slots: 2, blocks: [1, 2, 1, 3, 1], marks: 'mmhmh', evicted: [2] },

  // One slot leaves no choice.
  { policy: 'random', slots: 1, blocks: [1, 2, 1, 1], marks: 'mmmh', evicted: [1, 2] },

  // At 3 the next uses are 1 -> 3, 2 -> 4: 2 goes.
  { policy: 'belady', slots: 2, blocks: [1, 2, 3, 1], marks: 'mmmh', evicted: [2] },
  // 3 is never used again: declined.
  {
    policy: 'belady',
    params: { bypass: true },
    slots: 2,
    blocks: [1, 2, 3, 1, 2],
    marks: 'mmmhh',
    evicted: [],
  },
];

it.each(examples)(
  '$policy on $blocks',
  async ({ policy, params, slots, blocks, marks, evicted }) => {
    const module = await evictionModule(policy);
    const options = { future: futureOf(blocks), ...(params === undefined ? {} : { params }) };
    expect(outcome(new CheckedTier(module, slots, options), blocks)).toEqual([marks, evicted]);
  },
);

/** Policies that look at chains or at time; each has its own test below. */
const told = ['leaf-lru', 'length-aware', 'prefix-cost', 'ttl', 'mooncake-store'];

it('has an example for every policy', () => {
  const shown = new Set([...examples.map((example) => example.policy), ...told]);
  expect(evictionNames.filter((name) => !shown.has(name))).toEqual([]);
});

it('leaf-lru takes the least recent leaf', async () => {
  const tier = new CheckedTier(await evictionModule('leaf-lru'), 4);
  // Chain 1 - 2 - 3, then root 4. Only 3 and 4 are leaves, 3 is the older one.
  tier.access(1);
  tier.access(2, 1, 1);
  tier.access(3, 2, 2);
  tier.access(4);
  tier.access(5);
  expect(tier.evicted).toEqual([3]);
  // Leaves are 2, 4, 5. Touching 2 leaves 4 as the oldest.
  tier.access(2);
  tier.access(6);
  expect(tier.evicted).toEqual([3, 4]);
  // Leaves 5, 2, 6: 5 goes, then 2, then its parent 1 is a leaf and the oldest.
  tier.access(7);
  tier.access(8);
  tier.access(9);
  expect(tier.evicted).toEqual([3, 4, 5, 2, 1]);
});

it('length-aware takes the deepest of the least used', async () => {
  const tier = new CheckedTier(await evictionModule('length-aware'), 3);
  // Counts 1:1 2:1 3:1 at depths 0 1 2: 3 is the deepest. 4 at depth 0.
  tier.access(1);
  tier.access(2, 1, 1);
  tier.access(3, 2, 2);
  tier.access(4);
  expect(tier.evicted).toEqual([3]);
  // 2 counts 2 now; of 1 and 4, both at depth 0 with count 1, 1 is the older.
  tier.access(2);
  tier.access(5);
  expect(tier.evicted).toEqual([3, 1]);
});

it('gdsf with cost=recompute keeps what is dear', async () => {
  const params = { cost: 'recompute' };
  const recomputeNs = (depth: number) => 1 + depth;
  const tier = new CheckedTier(await evictionModule('gdsf'), 2, { params, recomputeNs });
  // Priorities: 1 at depth 5: 6; 2 at depth 0: 1. 3 drops 2, L = 1, and gets 1 + 1 = 2.
  tier.access(1, null, 5);
  tier.access(2);
  tier.access(3);
  expect(tier.evicted).toEqual([2]);
  // 4 drops 3, L = 2, and gets 2 + 4 = 6 at depth 3. Tie with 1, the older, which 5 drops.
  tier.access(4, null, 3);
  tier.access(5);
  expect(tier.evicted).toEqual([2, 3, 1]);
});

it('prefix-cost takes the leaf that is worth least', async () => {
  const tier = new CheckedTier(await evictionModule('prefix-cost'), 3);
  // Nothing is learnt yet, all ages are below 8: a leaf is worth 0.02 x its cost. Leaf 2 at depth
  // 1 costs 2, leaf 3 costs 1; 1 has a child.
  tier.access(1);
  tier.access(2, 1, 1);
  tier.access(3);
  tier.access(4);
  expect(tier.evicted).toEqual([3]);
  // 5 says depth 3 but its parent is not there: it drops 4, and goes before anything else.
  tier.access(5, null, 3);
  tier.access(6);
  expect(tier.evicted).toEqual([3, 4, 5]);
});

it('ttl expires blocks', async () => {
  const tier = new CheckedTier(await evictionModule('ttl'), 3, { params: { ttl: 10 } });
  const at = (seconds: number, block: number) => {
    tier.context.nowNs = seconds * 1e9;
    return tier.access(block);
  };
  // 1 expires at 10, 2 at 15. A slot is free at 10, yet 1 goes.
  expect([at(0, 1), at(5, 2), at(10, 3)]).toEqual([false, false, false]);
  expect(tier.evicted).toEqual([1]);
  // The hit at 14 moves 2's end to 24; 3 ends at 20. At 21 only 3 is gone.
  expect([at(14, 2), at(21, 4), at(22, 2)]).toEqual([true, false, true]);
  expect(tier.evicted).toEqual([1, 3]);
});

it('mooncake-store evicts rounds in order of the leases', async () => {
  const params = { watermark: 0.9, ratio: 0.25, lease: 10 };
  const tier = new CheckedTier(await evictionModule('mooncake-store'), 4, { params });
  const at = (seconds: number, block: number) => {
    tier.context.nowNs = seconds * 1e9;
    return tier.access(block);
  };
  // Ends of leases: 1 written at 0, read at 3: 13. 2: 1. 3 and 4: 2.
  at(0, 1);
  at(1, 2);
  at(2, 3);
  at(2, 4);
  at(3, 1);
  // Full. Share max(0.25, 1 - 0.9 + 0.25) = 0.35 of 4, rounded up: 2 objects, 2 and 3; 4 ties with
  // 3.
  at(4, 5);
  expect(tier.evicted).toEqual([2, 3, 4]);
  // 1 5 6 7 are there; at 12 the lease of 1 is live, and ends at 13: 5 (4) and 6 (11) go.
  at(11, 6);
  at(12, 7);
  at(12, 8);
  expect(tier.evicted).toEqual([2, 3, 4, 5, 6]);
});

it('mooncake-store looks at its watermark every 10 ms', async () => {
  const params = { watermark: 0.5, ratio: 0.25 };
  const tier = new CheckedTier(await evictionModule('mooncake-store'), 4, { params });
  // 1 2 3 at 0 ms; the tick at 0 saw an empty tier. At 5 ms none is due. At 10 ms 4 of 4 would be
  // used: at the look 3 of 4 are, above half; share max(0.25, 0.75 - 0.5 + 0.25) = 0.5 of 3,
  // rounded up: 2. All three tie at 0.
  for (const block of [1, 2, 3]) tier.access(block);
  tier.context.nowNs = 10e6;
  tier.access(4);
  expect(tier.evicted).toEqual([1, 2, 3]);
});

it('lfu-da is gdsf for blocks of one size', async () => {
  const blocks = Array.from({ length: 300 }, (_, i) => (i * i + 3 * i) % 17);
  const runs = ['lfu-da', 'gdsf'].map(async (name) =>
    outcome(new CheckedTier(await evictionModule(name), 5), blocks),
  );
  const [lfuDa, gdsf] = await Promise.all(runs);
  expect(lfuDa).toEqual(gdsf);
  expect(lfuDa[1].length).toBeGreaterThan(20);
});
