/** Makes of runs what their report's page carries. */
import { requestSeries } from '../metrics/request-series.ts';
import type { Result } from '../metrics/result.ts';
import type { Series, TimeSeries } from '../metrics/series.ts';
import { numbers, type Table, texts } from '../metrics/table.ts';
import type { Heat, Numbers, PageData, PageRun, RequestSample } from './page/data.ts';
import { shownSeries } from './page/figures.ts';

/** A run as its folder holds it. */
export interface Run {
  readonly name: string;
  readonly result: Result;
  readonly requests: Table;
  readonly series: TimeSeries;
}

/** Requests of a run that a page carries; of more it takes every n-th, and the slowest. */
const SAMPLE = 20_000;
const SLOWEST = 200;
/** Rows of a heat map; of more it shows the busiest. */
const HEAT_ROWS = 64;
/** Significant digits. */
const DIGITS = 4;

/** What lines over all instances or nodes a metric is made into. */
const AGGREGATES = {
  queued_requests: ['mean', 'max'],
  decoding_requests: ['mean', 'max'],
  prefill_busy_ratio: ['mean'],
  decode_busy_ratio: ['mean'],
  rails_out_ratio: ['mean'],
  rails_in_ratio: ['mean'],
  dram_used_ratio: ['mean', 'max'],
  dram_evicted_blocks: ['sum'],
  dram_stored_blocks: ['sum'],
} as const;

const HEATS = [
  'queued_requests',
  'decoding_requests',
  'busy_ratio',
  'rails_out_ratio',
  'rails_in_ratio',
  'host_to_device_ratio',
  'device_to_host_ratio',
  'dram_used_ratio',
] as const;

export function pageData(runs: readonly Run[]): PageData {
  const widest = Math.max(...runs.map(({ series }) => series.binNs));
  const spanNs = Math.max(...runs.map(({ series }) => series.binNs * series.bins));
  const grid = { binNs: widest, bins: Math.ceil(spanNs / widest) };
  return { ...grid, runs: runs.map((run) => pageRun(run, grid)) };
}

interface Grid {
  readonly binNs: number;
  readonly bins: number;
}

function pageRun(run: Run, grid: Grid): PageRun {
  const { config: _, ...result } = run.result;
  const ofRequests = requestSeries(run.requests, grid.binNs, grid.bins);
  const sampled = onGrid(run.series, grid);
  const lines: Record<string, Numbers> = {};
  const shown = shownSeries();
  for (const { metric, values } of ofRequests) {
    if (shown.has(metric)) lines[metric] = rounded(values);
  }
  for (const [metric, kinds] of Object.entries(AGGREGATES)) {
    const of = sampled.filter(
      (one) => one.metric === metric && (one.scope !== 'node' || used(one)),
    );
    for (const kind of kinds) lines[`${metric}.${kind}`] = rounded(aggregate(of, kind, grid.bins));
  }
  const heats = Object.fromEntries(HEATS.map((key) => [key, heat(heatSeries(sampled, key))]));
  return { name: run.name, result, lines, heats, requests: sample(run.requests, grid) };
}

/**
 * Series of instances and nodes in the bins of the page. Runs with narrower bins are averaged, and
 * their blocks added.
 */
function onGrid({ binNs, series }: TimeSeries, grid: Grid): Series[] {
  const own = series.filter(({ scope }) => scope !== 'cluster');
  const ratio = grid.binNs / binNs;
  return own.map((one) => {
    const values = new Float64Array(grid.bins);
    one.values.forEach((value, bin) => {
      spread(values, bin / ratio, (bin + 1) / ratio, Number.isNaN(value) ? 0 : value);
    });
    const scale = one.metric.endsWith('_blocks') ? ratio : 1;
    return { ...one, values: values.map((value) => value * scale) };
  });
}

/** Adds to each bin `value` times the part of it that [from, to) covers. */
function spread(values: Float64Array, from: number, to: number, value: number): void {
  for (let bin = Math.floor(from); bin < to && bin < values.length; bin++) {
    values[bin] += value * (Math.min(to, bin + 1) - Math.max(from, bin));
  }
}

function aggregate(series: readonly Series[], kind: 'mean' | 'max' | 'sum', bins: number) {
  const out = new Float64Array(bins);
  for (const { values } of series) {
    for (let bin = 0; bin < bins; bin++) {
      out[bin] = kind === 'max' ? Math.max(out[bin], values[bin]) : out[bin] + values[bin];
    }
  }
  return kind === 'mean' ? out.map((sum) => sum / Math.max(1, series.length)) : out;
}

function used({ values }: Series): boolean {
  return values.some((value) => value > 0);
}

/** An instance is busy with prefill or with decode. */
function heatSeries(series: readonly Series[], key: string): Series[] {
  if (key !== 'busy_ratio') return series.filter(({ metric }) => metric === key);
  const busy = new Map<string, Series>();
  for (const one of series) {
    if (!one.metric.endsWith('_busy_ratio')) continue;
    const other = busy.get(one.entity)?.values;
    const values = one.values.map((value, bin) => value + (other?.[bin] ?? 0));
    busy.set(one.entity, { ...one, values });
  }
  return [...busy.values()];
}

/** Rows with anything in them, at most HEAT_ROWS, in the cluster's order. */
function heat(series: readonly Series[]): Heat {
  const total = new Map(series.map((one) => [one, one.values.reduce((sum, v) => sum + v, 0)]));
  const any = series.filter(used);
  const busiest = any.toSorted((a, b) => total.get(b)! - total.get(a)!).slice(0, HEAT_ROWS);
  const shown = any.filter((one) => busiest.includes(one));
  return {
    rows: shown.map(({ entity }) => entity),
    values: shown.map(({ values }) => rounded(values)),
    hidden: any.length - shown.length,
  };
}

function sample(table: Table, { binNs }: Grid): RequestSample {
  const arrived = numbers(table, 'arrived_ns');
  const finished = numbers(table, 'finished_ns');
  const first = numbers(table, 'first_token_ns');
  const { rows, step, sampled } = chooseRows(table, arrived);
  const pick = (values: Float64Array) => rounded(Float64Array.from(rows, (i) => values[i]));
  const column = (name: string) => pick(numbers(table, name));
  const index = (names: readonly string[]) => {
    const all = [...new Set(names)].sort();
    const at = new Map(all.map((name, i) => [name, i]));
    return { all, of: (column: readonly string[]) => rows.map((i) => at.get(column[i])!) };
  };
  const [outcome, prefill, decode] = ['outcome', 'prefill_instance', 'decode_instance'].map(
    (name) => texts(table, name),
  );
  const outcomes = index(outcome);
  const instances = index([...prefill, ...decode]);
  const binOf = (at: Float64Array) =>
    rows.map((i) => (Number.isNaN(at[i]) ? null : Math.floor(at[i] / binNs)));
  const hits = ['hbm_tokens', 'dram_tokens', 'ssd_tokens', 'peer_tokens'].map((name) =>
    numbers(table, name),
  );
  return {
    step,
    sampled,
    id: Array.from(rows),
    first: binOf(first),
    end: binOf(finished),
    outcome: outcomes.of(outcome),
    good: column('within_slo'),
    arrived: column('arrived_ns'),
    ttft: column('ttft_ns'),
    tbt: column('tbt_ns'),
    queue: column('queue_ns'),
    transfer: column('transfer_ns'),
    load: column('load_ns'),
    compute: column('compute_ns'),
    handoff: column('handoff_ns'),
    decode: column('decode_ns'),
    input: column('input_tokens'),
    output: column('output_tokens'),
    cached: pick(hits[0].map((_, i) => hits.reduce((sum, hit) => sum + hit[i], 0))),
    prefill: instances.of(prefill),
    decoder: instances.of(decode),
    outcomes: outcomes.all,
    instances: instances.all,
  };
}

/** Rows of requests that arrived: a sample of them, then the slowest that it missed. */
function chooseRows(table: Table, arrived: Float64Array) {
  const seen: number[] = [];
  for (let i = 0; i < table.rows; i++) if (!Number.isNaN(arrived[i])) seen.push(i);
  const step = Math.ceil(seen.length / SAMPLE) || 1;
  const chosen = seen.filter((_, i) => i % step === 0);
  if (step === 1) return { rows: chosen, step, sampled: chosen.length };
  const ttft = numbers(table, 'ttft_ns');
  const slow = seen
    .filter((i) => !Number.isNaN(ttft[i]))
    .sort((a, b) => ttft[b] - ttft[a])
    .slice(0, SLOWEST);
  const had = new Set(chosen);
  const rows = [...chosen, ...slow.filter((i) => !had.has(i))];
  return { rows, step, sampled: chosen.length };
}

function rounded(values: Float64Array): Numbers {
  return Array.from(values, (value) =>
    Number.isNaN(value) ? null : Number(value.toPrecision(DIGITS)),
  );
}
