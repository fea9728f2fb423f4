/** Laws that every file in src/policy/eviction obeys. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CheckedTier, evictionModule, evictionNames, futureOf, outcome } from './eviction-tier.ts';

/** Policies that may decline although something could go. */
const MAY_DECLINE = new Map([
  ['leaf-lru', 'a pinned leaf holds its whole prefix'],
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
      tier.access(value, value === 0 ? null : Math.floor(value / 3), Math.ceil(Math.log2(value + 1)));
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

  it('counts its residents, evicts residents without a pin, declines only when all are pinned', () => {
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

  it('never has more hits than belady', async () => {
    const belady = await evictionModule('belady');
    const law = fc.property(streams, ({ slots, blocks }) => {
      const future = futureOf(blocks);
      const tier = new CheckedTier(module, slots, { future });
      const best = new CheckedTier(belady, slots, { future });
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
