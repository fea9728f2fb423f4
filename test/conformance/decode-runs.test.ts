/**
 * A decode run is its steps: one long run, the same cut anywhere, and one step at a time give the
 * same integers, ns for ns.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CostModel } from '../../src/core/cost.ts';
import type { Machine } from '../../src/core/host.ts';
import { AddressBook } from '../../src/core/topology.ts';
import { FAST25_A800X8, PolynomialCost } from '../../src/model/polynomial.ts';
import { Simulation } from '../../src/sim/simulation.ts';
import { TinyCost, tinyTopology } from '../support/tiny.ts';

const topology = tinyTopology({ prefill: 0, decode: 0, coupled: 1 });
const addresses = new AddressBook(topology);
const INSTANCE = addresses.instance(0);

const COSTS: Record<string, CostModel> = {
  'a polynomial': new PolynomialCost(FAST25_A800X8),
  'a cost made up for tests': new TinyCost(),
};

interface Batch {
  readonly batch: number;
  readonly contextTokens: number;
  readonly steps: number;
}

/** How the machine plays the batch: steps asked for at once, and cuts at these times. */
interface Play {
  readonly maxSteps: number;
  readonly cutsNs: readonly number[];
}

/** The gaps of all steps, and the time after the last. */
function decode(cost: CostModel, { batch, contextTokens, steps }: Batch, play: Play) {
  const simulation = new Simulation({
    topology,
    costs: [cost],
    loadOverlap: 'layerwise',
    rails: null,
    observers: [],
    disturbance: null,
  });
  const host = simulation.host(INSTANCE);
  const gaps: number[] = [];
  let run = 0;
  let endNs = -1;
  const start = () => {
    const maxSteps = Math.min(play.maxSteps, steps - gaps.length);
    const context = contextTokens + gaps.length * batch;
    host.startRun({ id: ++run, batch, contextTokens: context, maxSteps, requests: [] });
  };
  const machine: Machine = {
    handle({ atNs, body }) {
      if (body.kind === 'wake') host.cutRun(run);
      if (body.kind !== 'runEnded') return;
      gaps.push(...body.gapsNs.subarray(body.from, body.from + body.steps));
      if (gaps.length < steps) start();
      else endNs = atNs;
    },
  };
  const idle: Machine = { handle: () => {} };
  simulation.setMachines(
    Array.from({ length: addresses.count }, (_, i) => (i === INSTANCE ? machine : idle)),
  );
  start();
  for (const cutNs of play.cutsNs) host.wakeAt(cutNs, 0);
  simulation.run();
  return { gaps, endNs };
}

const batches = fc.record({
  batch: fc.integer({ min: 1, max: 300 }),
  contextTokens: fc.integer({ min: 1, max: 200_000 }),
  steps: fc.integer({ min: 1, max: 2_500 }),
});

describe.each(Object.entries(COSTS))('decoding with %s', (_name, cost) => {
  const WHOLE: Play = { maxSteps: Number.POSITIVE_INFINITY, cutsNs: [] };

  it('takes the same, whether in one run or one step at a time', () => {
    const law = fc.property(batches, (batch) => {
      const whole = decode(cost, batch, WHOLE);
      expect(whole.gaps).toHaveLength(batch.steps);
      expect(whole.gaps.every(Number.isInteger)).toBe(true);
      expect(whole.endNs).toBe(whole.gaps.reduce((sum, gap) => sum + gap, 0));
      expect(decode(cost, batch, { ...WHOLE, maxSteps: 1 })).toEqual(whole);
    });
    fc.assert(law, { numRuns: 40 });
  });

  it('takes the same, wherever it is cut', () => {
    const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 });
    const law = fc.property(
      batches,
      shares,
      fc.integer({ min: 1, max: 50 }),
      (batch, cuts, max) => {
        const whole = decode(cost, batch, WHOLE);
        const cutsNs = cuts.map((share) => Math.floor(share * whole.endNs)).sort((a, b) => a - b);
        expect(decode(cost, batch, { ...WHOLE, cutsNs })).toEqual(whole);
        expect(decode(cost, batch, { maxSteps: max, cutsNs })).toEqual(whole);
      },
    );
    fc.assert(law, { numRuns: 40 });
  });

  it('takes what the cost model says of each step', () => {
    const { gaps } = decode(cost, { batch: 3, contextTokens: 3_000, steps: 200 }, WHOLE);
    expect(gaps).toEqual(gaps.map((_, i) => cost.decodeStepNs(3, 3_000 + 3 * i)));
  });
});
