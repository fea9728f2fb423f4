/** Results by class add up to the whole, and say who was shed. */
import { expect, it } from 'vitest';
import { classResults } from '../../src/metrics/classes.ts';
import { requestColumns } from '../../src/metrics/requests.ts';
import { summarise } from '../../src/metrics/result.ts';
import { simulate } from '../support/simulate.ts';
import { randomTrace, tinyPlan, tinyTopology } from '../support/tiny.ts';

const slo = { ttftNs: 300_000, tbtNs: 1e6 };

it('adds up, and shedding by priority shows', async () => {
  const topology = tinyTopology();
  const admission = 'priority-shed:tiers=3,from=0.2';
  const plan = await tinyPlan({ topology, slo, policies: { admission } });
  const plain = randomTrace(5, { requests: 120, gapNs: 40_000 });
  const priority = Int32Array.from({ length: plain.requests }, (_, i) => i % 3);
  const trace = { ...plain, priority };
  const run = simulate({ plan, trace });
  const columns = requestColumns(run.recorder, trace, slo);
  const inputs = { trace, slo, version: '', seed: 1, config: null, evictions: { dram: 0 } };
  const result = summarise({ ...inputs, recorder: run.recorder });
  const classes = result.classes!;
  expect(classes.map((one) => [one.priority, one.sloClass, one.arrived])).toEqual([
    [2, 0, 40],
    [1, 0, 40],
    [0, 0, 40],
  ]);
  const [high, middle, low] = classes.map(({ completed }) => completed);
  expect(high + middle + low).toBe(result.requests.completed);
  expect(high).toBeGreaterThan(low);
  expect(low).toBeLessThan(40);
  const good = classes.reduce((sum, one) => sum + one.effectiveRatio * one.arrived, 0);
  expect(good / 120).toBeCloseTo(result.effectiveRatio!, 12);
  expect(classResults(run.recorder, plain, columns)).toBeNull();
});
