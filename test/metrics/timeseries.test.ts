/** Tables and series of runs add up to what the recorder, the stores and the result say. */
import { beforeAll, describe, expect, it } from 'vitest';
import { Mark } from '../../src/core/host.ts';
import { requestColumns, requestTable } from '../../src/metrics/requests.ts';
import { type Result, summarise } from '../../src/metrics/result.ts';
import { seriesOf, seriesTable, type TimeSeries } from '../../src/metrics/series.ts';
import { numbers, type Table, texts } from '../../src/metrics/table.ts';
import { METRICS, TimeSeriesSampler } from '../../src/metrics/timeseries.ts';
import { type Simulated, simulate } from '../support/simulate.ts';
import { randomTrace, type TinyShape, tinyPlan, tinyTopology } from '../support/tiny.ts';

interface Sampled {
  readonly run: Simulated;
  readonly result: Result;
  readonly requests: Table;
  readonly series: TimeSeries;
}

const SHAPES: readonly Partial<TinyShape>[] = [
  {},
  { prefill: 0, decode: 0, coupled: 3 },
  { prefill: 0, decode: 0, mixed: 2, dramBlocks: 20 },
  { dramBlocks: 12, ssdBlocks: 40, hbmTokens: 512, railBytesPerNs: 0.01 },
];

async function sampledRun(shape: Partial<TinyShape>, seed: number): Promise<Sampled> {
  const topology = tinyTopology(shape);
  const trace = randomTrace(seed, { requests: 80 });
  // TTFTs are a few hundred us: a target that some miss, and an admission that turns some away.
  const slo = { ttftNs: 220_000, tbtNs: 1e6 };
  const admission = seed % 2 === 0 ? 'slo' : 'none';
  const plan = await tinyPlan({ topology, seed, slo, policies: { admission } });
  const sampler = new TimeSeriesSampler(topology, trace.arrivalNs.at(-1)!, plan.estimator, slo);
  const run = simulate({ plan, trace, observers: [sampler] });
  const dram = run.cluster.stores.reduce((all, store) => all + store.dram.evictions, 0);
  const evictions = { dram };
  const inputs = { recorder: run.recorder, trace, slo, version: '', seed, config: null, evictions };
  const requests = requestTable(run.recorder, trace, requestColumns(run.recorder, trace, slo));
  return { run, result: summarise(inputs), requests, series: sampler.finish(requests) };
}

const runs: Sampled[] = [];
beforeAll(async () => {
  for (const shape of SHAPES) for (const seed of [1, 2]) runs.push(await sampledRun(shape, seed));
});

const sum = (values: Iterable<number>) => {
  let total = 0;
  for (const value of values) total += value || 0;
  return total;
};

/** Sum of a metric over things and time. */
function total({ series }: Sampled, metric: string): number {
  return sum(
    series.series.filter((one) => one.metric === metric).flatMap(({ values }) => [...values]),
  );
}

describe('the table of requests', () => {
  it('adds up to the result', () => {
    for (const { requests, result } of runs) {
      const outcome = texts(requests, 'outcome');
      const count = (name: string) => outcome.filter((o) => o === name).length;
      expect(requests.rows).toBe(result.requests.arrived);
      for (const name of ['completed', 'rejected', 'failed', 'cancelled', 'inFlight'] as const) {
        expect(count(name)).toBe(result.requests[name]);
      }
      const causes = texts(requests, 'cause').filter((cause) => cause !== '');
      expect(causes.length).toBe(result.requests.rejected);
      for (const source of ['hbm', 'dram', 'ssd', 'peer', 'miss'] as const) {
        expect(sum(numbers(requests, `${source}_tokens`))).toBe(result.hit.bySource[source]);
      }
      const good = sum(numbers(requests, 'within_slo'));
      expect(good / requests.rows).toBe(result.effectiveRatio);
    }
    expect(runs.some(({ result }) => result.requests.rejected > 0)).toBe(true);
    expect(runs.some(({ result }) => result.effectiveRatio! < 1)).toBe(true);
  });

  it('splits every TTFT and every whole time into its parts', () => {
    for (const { requests } of runs) {
      const parts = ['queue_ns', 'transfer_ns', 'load_ns', 'compute_ns', 'handoff_ns', 'decode_ns'];
      const of = parts.map((name) => numbers(requests, name));
      const [ttft, e2e] = ['ttft_ns', 'e2e_ns'].map((name) => numbers(requests, name));
      for (let i = 0; i < requests.rows; i++) {
        const values = of.map((column) => column[i]);
        if (!Number.isNaN(ttft[i])) expect(sum(values.slice(0, 4))).toBe(ttft[i]);
        if (!Number.isNaN(e2e[i])) expect(sum(values)).toBe(e2e[i]);
        for (const value of values) expect(Number.isNaN(value) || value >= 0).toBe(true);
      }
    }
  });
});

describe('series over time', () => {
  it('add up to the result', () => {
    for (const one of runs) {
      const { result, run } = one;
      expect(total(one, 'arrived_requests')).toBe(result.requests.arrived);
      expect(total(one, 'completed_requests')).toBe(result.requests.completed);
      expect(total(one, 'rejected_ttft_requests')).toBe(result.requests.causes.ttft ?? 0);
      expect(total(one, 'good_requests')).toBe(result.effectiveRatio! * result.requests.arrived);
      // A block that comes and goes within one fact, as under a watermark, is not seen in deltas.
      const evicted = total(one, 'dram_evicted_blocks');
      if (run.cluster.stores[0].ssd === null) expect(evicted).toBe(result.counts.evictions);
      else expect(evicted).toBeLessThanOrEqual(result.counts.evictions);
      for (const [kind, name] of [
        ['railsOut', 'rails_out'],
        ['railsIn', 'rails_in'],
        ['hostToDevice', 'host_to_device'],
        ['deviceToHost', 'device_to_host'],
      ] as const) {
        expect(total(one, `${name}_bytes`)).toBeCloseTo(result.bytes[kind], 3);
      }
      for (const source of ['dram', 'peer', 'miss'] as const) {
        expect(total(one, `${source}_tokens`)).toBe(result.hit.bySource[source]);
      }
      const resident = sum(run.cluster.stores.map((store) => store.dram.readyBlocks().length));
      const stored = total(one, 'dram_stored_blocks');
      expect(stored - total(one, 'dram_evicted_blocks')).toBe(resident);
    }
  });

  it('keep the time that things were busy, and that requests waited and decoded', () => {
    for (const one of runs) {
      const { run, series } = one;
      const { recorder } = run;
      const { binNs, bins } = series;
      const endNs = recorder.endNs;
      const lastNs = Math.max(1, endNs - (bins - 1) * binNs);
      const integral = (metric: string) =>
        sum(
          series.series
            .filter((s) => s.metric === metric)
            .flatMap(({ values }) =>
              [...values].map((v, i) => v * (i < bins - 1 ? binNs : lastNs)),
            ),
        );
      expect(integral('prefill_busy_ratio')).toBeCloseTo(sum(recorder.prefillBusyNs), 0);
      expect(integral('decode_busy_ratio')).toBeCloseTo(sum(recorder.decodeBusyNs), 0);
      const column = (mark: Mark) => recorder.column(mark);
      const decoded = column(Mark.joinedNs).map((ns, i) => column(Mark.finishedNs)[i] - ns);
      expect(integral('decoding_requests')).toBeCloseTo(sum(decoded), 0);
      const waited = column(Mark.dispatchedNs).map((ns, i) => column(Mark.startedNs)[i] - ns);
      expect(integral('queued_requests')).toBeCloseTo(sum(waited), 0);
    }
  });

  it('stay within what things can do', () => {
    for (const { series } of runs) {
      for (const { metric, values } of series.series) {
        // A transfer's bytes are spread evenly: links may seem to do a little more than they can.
        if (!/(busy|used)_ratio$/.test(metric)) continue;
        for (const value of values) {
          expect(value).toBeGreaterThanOrEqual(0);
          expect(value).toBeLessThanOrEqual(1 + 1e-9);
        }
      }
    }
  });

  it('have a mean TTFT that is the sum of its parts', () => {
    for (const { series } of runs) {
      const of = (metric: string) => series.series.find((s) => s.metric === metric)!.values;
      const parts = ['queue_ns_mean', 'transfer_ns_mean', 'load_ns_mean', 'compute_ns_mean'].map(
        of,
      );
      of('ttft_ns_mean').forEach((mean, bin) => {
        if (!Number.isNaN(mean)) expect(sum(parts.map((p) => p[bin]))).toBeCloseTo(mean, 3);
      });
    }
  });

  it('are all documented, and survive their table', () => {
    for (const { series } of runs) {
      const names = new Set(series.series.map(({ metric }) => metric));
      expect([...names].filter((name) => METRICS[name] === undefined)).toEqual([]);
      const back = seriesOf(seriesTable(series));
      expect(back.binNs).toBe(series.binNs);
      expect(back.bins).toBe(series.bins);
      const withValues = series.series.filter(({ values }) => values.some((v) => !Number.isNaN(v)));
      expect(back.series).toEqual(withValues);
    }
    const all = new Set(runs.flatMap(({ series }) => series.series.map(({ metric }) => metric)));
    expect(Object.keys(METRICS).filter((name) => !all.has(name))).toEqual([]);
  });
});
