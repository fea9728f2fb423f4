/** Loads of the pools: by hand, and equal to what the conductor of a run believes. */
import { describe, expect, it } from 'vitest';
import { CONDUCTOR } from '../../src/core/topology.ts';
import { PoolLoads, swingOf } from '../../src/metrics/pool-loads.ts';
import { prepare, type Simulated } from '../support/simulate.ts';
import { randomTrace, tinyPlan, tinyTopology } from '../support/tiny.ts';

describe('loads of the pools', () => {
  it('swing: mean, deviation, correlation', () => {
    const against = swingOf([1, 3, 1, 3], [0.6, 0.2, 0.6, 0.2]);
    expect(against.prefill).toEqual({ mean: 2, deviation: 1 });
    expect(against.decode.deviation).toBeCloseTo(0.2, 12);
    expect(against.correlation).toBeCloseTo(-1, 12);
    expect(swingOf([1, 2, 3], [2, 4, 6]).correlation).toBeCloseTo(1, 12);
    expect(swingOf([1, 2, 3], [5, 5, 5]).correlation).toBe(0);
    expect(swingOf([], []).correlation).toBe(0);
  });

  it('are those that the conductor believes, at every sample', async () => {
    const topology = tinyTopology({ prefill: 2, decode: 2 });
    const slo = { ttftNs: 1e6, tbtNs: 50_000 };
    const plan = await tinyPlan({ topology, slo, policies: { admission: 'early-rejection' } });
    const loads = new PoolLoads(topology, plan.estimator, slo, 7_000);
    let checked = 0;
    let run: Simulated | undefined;
    const checker = {
      onFact(to: number, { atNs }: { atNs: number }) {
        if (to !== CONDUCTOR || run === undefined) return;
        const { views } = run.cluster.conductor;
        while (checked < loads.prefill.length) {
          views.nowNs = checked * loads.intervalNs;
          const prefill = [0, 1].map((of) => views.queueNs(of) / slo.ttftNs);
          const decode = [2, 3].map((of) => {
            const { requests, tokens } = views.decodingNow(of);
            return requests === 0 ? 0 : plan.estimator.decodeStepNs(of, requests, tokens) / 50_000;
          });
          expect(loads.prefill[checked]).toBeCloseTo((prefill[0] + prefill[1]) / 2, 12);
          expect(loads.decode[checked]).toBeCloseTo((decode[0] + decode[1]) / 2, 12);
          checked++;
        }
        views.nowNs = atNs;
      },
    };
    const trace = randomTrace(3, { requests: 80, gapNs: 20_000 });
    const prepared = prepare({ plan, trace, observers: [loads, checker] });
    run = prepared;
    prepared.simulation.run();
    expect(checked).toBeGreaterThan(100);
    expect(Math.max(...loads.decode)).toBeGreaterThan(0.5);
    expect(Math.max(...loads.prefill)).toBeGreaterThan(0.1);
    const { prefill, decode } = loads.binned(70_000, Math.ceil(checked / 10));
    const mean = (from: readonly number[]) => from.reduce((sum, v) => sum + v, 0) / from.length;
    expect(prefill[1]).toBeCloseTo(mean(loads.prefill.slice(10, 20)), 12);
    expect(decode[2]).toBeCloseTo(mean(loads.decode.slice(20, 30)), 12);
  });
});
