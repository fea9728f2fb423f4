/** Rail policies: the laws that every file keeps, and each rule by hand. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadPolicy, policyNames } from '../../src/config/policies.ts';
import { parsePolicyRef } from '../../src/config/policy-ref.ts';
import type { RailEnd, RailPolicy, RailTransfer } from '../../src/core/policy.ts';
import { dealToLevel } from '../../src/core/rail-kit.ts';
import { RAIL_ERRORS_MAX, RAIL_REST_NS, RailTable } from '../../src/core/rail-table.ts';

const SLICE = 65_536;

interface RailState {
  readonly rate?: number;
  readonly queued?: number;
  readonly observed?: number;
  readonly near?: boolean;
  readonly resting?: boolean;
}

function end(rails: readonly RailState[]): RailEnd {
  const table = new RailTable(rails.map(({ rate }) => rate ?? 25));
  for (const [r, { queued = 0, observed, resting = false }] of rails.entries()) {
    table.queuedBytes[r] = queued;
    if (observed !== undefined) table.observedBytesPerNs[r] = observed;
    if (resting) table.rest(r, Number.POSITIVE_INFINITY);
  }
  return { rails: table, near: Uint8Array.from(rails, ({ near }) => (near === false ? 0 : 1)) };
}

function transfer(source: RailEnd, target: RailEnd, slices: number): RailTransfer {
  return { source, target, bytes: slices * SLICE, sliceBytes: SLICE, slices };
}

async function policy(spec: string): Promise<RailPolicy> {
  const { module, params } = await loadPolicy(parsePolicyRef('rail', spec, 'test'));
  return module.create({ random: () => 0.5 }, params);
}

function spread(by: RailPolicy, of: RailTransfer): number[] {
  const pairs = new Int32Array(of.source.rails.count * of.target.rails.count);
  by.spread(of, pairs);
  return [...pairs];
}

/** Slices of each rail at one end. */
function marginals(pairs: readonly number[], sources: number, targets: number) {
  const at = (s: number, t: number) => pairs[s * targets + t];
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  return {
    source: range(sources).map((s) => range(targets).reduce((sum, t) => sum + at(s, t), 0)),
    target: range(targets).map((t) => range(sources).reduce((sum, s) => sum + at(s, t), 0)),
  };
}

describe.each(policyNames('rail'))('rail policy %s', (name) => {
  const rail = fc.record({
    rate: fc.constantFrom(12.5, 25, 50),
    queued: fc.nat(50_000_000),
    observed: fc.double({ min: 0.01, max: 60, noNaN: true }),
    near: fc.boolean(),
    resting: fc.boolean(),
  });
  const rails = fc.array(rail, { minLength: 1, maxLength: 8 });

  it('sends every slice once, none over a rail that rests while another works', async () => {
    const by = await policy(name);
    fc.assert(
      fc.property(rails, rails, fc.nat(20_000), (sources, targets, slices) => {
        const pairs = spread(by, transfer(end(sources), end(targets), slices));
        expect(Math.min(...pairs)).toBeGreaterThanOrEqual(0);
        const ends = marginals(pairs, sources.length, targets.length);
        for (const [own, states] of [
          [ends.source, sources],
          [ends.target, targets],
        ] as const) {
          expect(own.reduce((sum, n) => sum + n, 0)).toBe(slices);
          if (states.every(({ resting }) => resting)) continue;
          for (const [r, { resting }] of states.entries()) if (resting) expect(own[r]).toBe(0);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('answers equally for equal questions, from equal beginnings', async () => {
    const [a, b] = [await policy(name), await policy(name)];
    for (let slices = 1; slices < 40; slices += 3) {
      const states = [{ queued: slices }, { near: false }, { queued: 9e6 }, { resting: true }];
      const of = transfer(end(states), end(states), slices);
      expect(spread(a, of)).toEqual(spread(b, of));
    }
  });
});

describe('who gets what', () => {
  const four = [{}, {}, { near: false }, { near: false }];

  it('even: equal parts, rails of one number to each other', async () => {
    const pairs = spread(await policy('even'), transfer(end(four), end(four), 8));
    expect(pairs).toEqual([2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2]);
  });

  it('round-robin: goes on where it stopped', async () => {
    const by = await policy('round-robin');
    const of = transfer(end(four), end(four), 3);
    expect(marginals(spread(by, of), 4, 4).source).toEqual([1, 1, 1, 0]);
    expect(marginals(spread(by, of), 4, 4).source).toEqual([1, 1, 0, 1]);
  });

  it('nearest: near rails alone, the others when those rest', async () => {
    const by = await policy('nearest');
    const of = transfer(end(four), end(four), 8);
    expect(marginals(spread(by, of), 4, 4).source).toEqual([4, 4, 0, 0]);
    const lost = end([{ resting: true }, { resting: true }, { near: false }, { near: false }]);
    const { source, target } = marginals(spread(by, transfer(lost, end(four), 8)), 4, 4);
    expect(source).toEqual([0, 0, 4, 4]);
    expect(target).toEqual([4, 4, 0, 0]);
  });

  it('least-queued: fills up to one level of time', async () => {
    // 25 B/ns each. 12 slices queued on the first: 20 more make (12 + 20) / 2 = 16 each.
    const source = end([{ queued: 12 * SLICE }, {}]);
    const by = await policy('least-queued');
    const of = transfer(source, end([{}, {}]), 20);
    expect(marginals(spread(by, of), 2, 2).source).toEqual([4, 16]);
    // A rail of twice the rate takes twice as much.
    const unequal = transfer(end([{ rate: 50 }, { rate: 25 }]), end([{}, {}]), 30);
    expect(marginals(spread(by, unequal), 2, 2).source).toEqual([20, 10]);
  });

  it('spray: less to a rail that was slow, or is far', async () => {
    const by = await policy('spray');
    const slow = transfer(end([{ observed: 5 }, { observed: 20 }]), end([{}, {}]), 25);
    expect(marginals(spread(by, slow), 2, 2).source).toEqual([5, 20]);
    const far = transfer(end([{}, { near: false }]), end([{}, {}]), 40);
    expect(marginals(spread(by, far), 2, 2).source).toEqual([30, 10]);
  });

  it('dealToLevel is slice by slice to whoever is through first', () => {
    const rail = fc.record({ rate: fc.constantFrom(1, 2, 4), busy: fc.nat(100) });
    const rails = fc.array(rail, { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(rails, fc.nat(300), (states, slices) => {
        const rate = Float64Array.from(states, (s) => s.rate);
        const busy = Float64Array.from(states, (s) => s.busy);
        const use = new Uint8Array(states.length).fill(1);
        const out = new Int32Array(states.length);
        dealToLevel(slices, 4, use, states.length, rate, busy, out);
        const through = states.map((s, r) => s.busy + (out[r] * 4) / s.rate);
        const last = Math.max(...states.map((_, r) => (out[r] > 0 ? through[r] : 0)));
        // Nobody would have been through sooner with the last slice than the one who got it.
        for (const [r, s] of states.entries()) {
          expect(through[r] + 4 / s.rate).toBeGreaterThanOrEqual(last - 1e-9);
        }
        expect(out.reduce((sum, n) => sum + n, 0)).toBe(slices);
      }),
    );
  });
});

describe('what a node knows of rails', () => {
  it('learns the rate at which a rail works off what is given to it', () => {
    const table = new RailTable([10]);
    const first = table.posted(0, 1_000);
    const second = table.posted(0, 1_000);
    expect([first, second, table.queuedBytes[0]]).toEqual([0, 1_000, 2_000]);
    // 5 B/ns: the first after 200 ns, the second, with the first before it, after 400.
    table.ended(0, 1_000, first, 200, true);
    table.ended(0, 1_000, second, 400, true);
    expect(table.observedBytesPerNs[0]).toBeCloseTo(5 + 5 * 0.8 ** 2);
    expect(table.queuedBytes[0]).toBe(0);
  });

  it('lets a rail rest after errors in a row, for a while', () => {
    const table = new RailTable([10, 10]);
    for (let i = 1; i < RAIL_ERRORS_MAX; i++) expect(table.failed(1, 0)).toBe(false);
    expect(table.failed(1, 0)).toBe(true);
    expect([...table.resting]).toEqual([0, 1]);
    table.tick(RAIL_REST_NS - 1);
    expect([...table.resting]).toEqual([0, 1]);
    table.tick(RAIL_REST_NS);
    expect([...table.resting]).toEqual([0, 0]);
  });
});
