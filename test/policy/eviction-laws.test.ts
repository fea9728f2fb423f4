/** Laws that every file in src/policy/eviction obeys. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { restore, snapshot } from '../../src/core/snapshot.ts';
import {
  CheckedTier,
  evictionModule,
  evictionNames,
  futureOf,
  lateHits,
  outcome,
  randomOf,
} from './eviction-tier.ts';

/** Policies that may decline although something could go. */
const MAY_DECLINE = new Map([
  ['leaf-lru', 'a pinned leaf holds its whole prefix'],
  ['prefix-cost', 'a pinned leaf holds its whole prefix'],
  ['mooncake-store', 'a live read lease holds a block'],
]);

const SLOTS = 7;
const BLOCKS = 24;
type Step = { kind: 'access' | 'invalidate' | 'pin'; value: number; gapNs: number };

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom<Step['kind']>(
      'access',
      'access',
      'access',
      'access',
      'access',
      'pin',
      'invalidate',
    ),
    value: fc.nat(BLOCKS - 1),
    gapNs: fc.constantFrom(0, 1, 1e6, 1e9, 600e9),
  }),
  { maxLength: 120 },
);

/** Block b hangs under block b / 3, so that policies which look at chains have something to see. */
function play(tier: CheckedTier, script: readonly Step[], mayDecline: boolean): void {
  for (const { kind, value, gapNs } of script) {
    tier.context.nowNs += gapNs;
    if (kind === 'pin') tier.togglePin(value % SLOTS);
    else if (kind === 'invalidate') tier.invalidate(value % SLOTS);
    else {
      if (tier.context.future !== null) tier.context.future.position++;
      const refused = tier.refusals;
      const pins = tier.pinned.count;
      tier.access(
        value,
        value === 0 ? null : Math.floor(value / 3),
        Math.ceil(Math.log2(value + 1)),
      );
      if (!mayDecline && pins < SLOTS) expect(tier.refusals).toBe(refused);
    }
  }
}

function futureOfScript(script: readonly Step[]) {
  const accesses = script.filter((step) => step.kind === 'access').map((step) => step.value);
  return { ...futureOf(accesses), position: -1 };
}

const streams = fc.record({
  slots: fc.integer({ min: 1, max: 9 }),
  blocks: fc.array(fc.nat(15), { minLength: 1, maxLength: 150 }),
});

describe.each(evictionNames)('eviction policy %s', async (name) => {
  const module = await evictionModule(name);

  it('counts its residents, evicts unpinned ones, declines only when all are pinned', () => {
    const law = fc.property(steps, fc.integer(), (script, seed) => {
      const tier = new CheckedTier(module, SLOTS, { seed, future: futureOfScript(script) });
      play(tier, script, MAY_DECLINE.has(name));
    });
    fc.assert(law, { numRuns: 150 });
  });

  it('does the same again with the same seed', () => {
    const law = fc.property(streams, fc.integer(), ({ slots, blocks }, seed) => {
      const run = () => {
        const tier = new CheckedTier(module, slots, { seed, future: futureOf(blocks) });
        return outcome(tier, blocks);
      };
      expect(run()).toEqual(run());
    });
    fc.assert(law, { numRuns: 50 });
  });

  it('goes on from a snapshot as if nothing had been', () => {
    // Its future is not its state, and it never runs where snapshots are taken.
    if (name === 'belady') return;
    const law = fc.property(streams, fc.nat(149), ({ slots, blocks }, cut) => {
      const whole = new CheckedTier(module, slots);
      outcome(whole, blocks.slice(0, cut));
      const bytes = snapshot(whole.policy);
      const later = new CheckedTier(module, slots, { seed: 99 });
      restore(later.policy, bytes);
      later.blockOf.splice(0, slots, ...whole.blockOf);
      const before = whole.evicted.length;
      const [marks, evicted] = outcome(whole, blocks.slice(cut));
      expect(outcome(later, blocks.slice(cut))).toEqual([marks, evicted.slice(before)]);
    });
    fc.assert(law, { numRuns: 40 });
  });

  it('never has more hits than belady', async () => {
    // Who may decline is measured against the optimum that may.
    const params = { bypass: MAY_DECLINE.has(name) };
    const belady = await evictionModule('belady');
    const law = fc.property(streams, ({ slots, blocks }) => {
      const future = futureOf(blocks);
      const tier = new CheckedTier(module, slots, { future });
      const best = new CheckedTier(belady, slots, { future, params });
      outcome(tier, blocks);
      outcome(best, blocks);
      expect(tier.hits).toBeLessThanOrEqual(best.hits);
    });
    fc.assert(law, { numRuns: 100 });
  });

  it('has documented parameters whose defaults are legal', () => {
    expect(module.kind).toBe('eviction');
    expect(module.source).not.toBe('');
    for (const [key, param] of Object.entries(module.params)) {
      expect(param.doc, key).not.toBe('');
      if (param.type === 'choice') expect(param.choices).toContain(param.default);
      if (param.type === 'integer') expect(Number.isInteger(param.default), key).toBe(true);
      if (param.type === 'integer' || param.type === 'number') {
        expect(param.default).toBeGreaterThanOrEqual(param.min ?? Number.NEGATIVE_INFINITY);
        expect(param.default).toBeLessThanOrEqual(param.max ?? Number.POSITIVE_INFINITY);
      }
    }
  });
});

it('belady equals exhaustive search on short streams', async () => {
  const belady = await evictionModule('belady');
  const short = fc.record({
    slots: fc.integer({ min: 1, max: 3 }),
    blocks: fc.array(fc.nat(4), { minLength: 1, maxLength: 9 }),
  });
  const law = fc.property(short, fc.boolean(), ({ slots, blocks }, bypass) => {
    const options = { params: { bypass }, future: futureOf(blocks) };
    const tier = new CheckedTier(belady, slots, options);
    outcome(tier, blocks);
    expect(tier.hits).toBe(mostHits(blocks, 0, [], slots, bypass));
  });
  fc.assert(law, { numRuns: 200 });
});

/** The most hits that any choice of victims gives. */
function mostHits(
  blocks: readonly number[],
  at: number,
  resident: readonly number[],
  slots: number,
  bypass: boolean,
): number {
  if (at === blocks.length) return 0;
  const block = blocks[at];
  const next = (kept: readonly number[]) => mostHits(blocks, at + 1, kept, slots, bypass);
  if (resident.includes(block)) return 1 + next(resident);
  if (resident.length < slots) return Math.max(next([...resident, block]));
  const choices = resident.map((gone) => next([...resident.filter((r) => r !== gone), block]));
  if (bypass) choices.push(next(resident));
  return Math.max(...choices);
}

describe.each(['leaf-lru', 'prefix-cost'])('%s', (name) => {
  it('evicts a block only after its resident children', async () => {
    const module = await evictionModule(name);
    // A tree in which block b hangs under (b - 1) / 3; requests are ways from the root to a block.
    const requests = fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 60 });
    const law = fc.property(requests, fc.integer({ min: 6, max: 20 }), (ends, slots) => {
      const tier = new CheckedTier(module, slots);
      for (const end of ends) {
        const way: number[] = [];
        for (let block = end; block > 0; block = Math.floor((block - 1) / 3)) way.unshift(block);
        for (const [depth, block] of [0, ...way].entries()) {
          const residents = new Set(tier.residents());
          const gone = tier.evicted.length;
          tier.access(block, depth === 0 ? null : [0, ...way][depth - 1], depth);
          for (const victim of tier.evicted.slice(gone)) {
            const children = [3 * victim + 1, 3 * victim + 2, 3 * victim + 3];
            expect(children.filter((child) => residents.has(child) && child !== block)).toEqual([]);
          }
        }
      }
    });
    fc.assert(law, { numRuns: 60 });
  });
});

it('lhd learns to keep most of a loop that lru thrashes on', async () => {
  // Every other access walks a loop of 1,500 blocks, the rest are 300 hot ones, on 1,000 slots:
  // LRU has the hot half alone, the best is the hot half and 700 / 1,500 of the other: 0.73.
  const streamOf = (accesses: number) => {
    const random = randomOf(5);
    return Int32Array.from({ length: accesses }, (_, i) =>
      i % 2 === 0 ? (i / 2) % 1500 : 1500 + Math.floor(random() * 300),
    );
  };
  const update = 2 ** 20;
  const lru = lateHits(await evictionModule('lru'), streamOf(update), 1000, update / 2);
  expect(lru).toBeLessThan(0.51);
  const lhd = await evictionModule('lhd');
  expect(lateHits(lhd, streamOf(4 * update), 1000, 3 * update)).toBeGreaterThan(0.7);
  // At the 6th update ages are rescaled from steps of 1,024 accesses to 8, and learnt anew.
  expect(lateHits(lhd, streamOf(12 * update), 1000, 11 * update)).toBeGreaterThan(0.68);
});
