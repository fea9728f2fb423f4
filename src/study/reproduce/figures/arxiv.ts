/** The arXiv report: Figure 8 (scheduling) and Table 3 (rejections), both on 8P+8D. */
import type { PaperChart, PaperSeries } from '../../../report/paper-chart.ts';
import { barChart, quantityRows } from '../charts.ts';
import { GLOBAL, sharedRun, split, TABLE_3 } from '../knobs.ts';
import type { Figure, LoadSeries, RunOutcome, RunSpec } from '../types.ts';
import { NO_TRACE } from '../types.ts';
import { SCHEDULERS } from './figure-5.ts';

const NS_PER_MINUTE = 60e9;
/** Until then the cluster fills. */
const FULL_NS = 5 * NS_PER_MINUTE;
const EIGHT_AND_EIGHT = split(8);
/** Its names of Figure 5's four. */
const NAMES = {
  global: 'global-cache-aware',
  local: 'local-cache-aware',
  'load-balancing': 'load-balancing',
  random: 'random',
} as const;

export const arxivFigure8: Figure = {
  key: 'arxivFig8MeanTtftSeconds',
  name: 'Figure 8 (arXiv)',
  basis: 'predicted',
  isOf: (workload) => workload !== NO_TRACE,
  runs: (workload) =>
    Object.fromEntries(
      Object.entries(NAMES).map(([name, scheduler]) => [
        name,
        sharedRun(workload, SCHEDULERS[scheduler], EIGHT_AND_EIGHT),
      ]),
    ),
  make(input) {
    const quantities = new Map(
      Object.entries(input.runs).map(([name, { result }]) => [
        name,
        (result.ttftNs.mean ?? 0) / 1e9,
      ]),
    );
    const bars = Object.keys(NAMES).map((name) => ({ label: name, quantity: name }));
    const chart = barChart(input, quantities, bars, {
      id: `arxiv-figure-8-${input.workload}`,
      title: `Figure 8 (arXiv): mean TTFT by scheduling, ${input.workload}`,
      note: '8P+8D. The paper replays 23,000 requests of its first trace.',
      xTitle: '',
      yTitle: 'seconds',
      format: '.2f',
    });
    return { quantities: quantityRows(quantities), charts: [chart], notes: [] };
  },
};

/** The three ways of admission that Table 3 compares. */
const ADMISSIONS = {
  baseline: 'baseline',
  early: 'early-rejection',
  predictive: 'predictive-early-rejection:decodeSeconds=100',
} as const;
/** Runs of an experiment: so few decode nodes that decode is the bottleneck. */
const FEW = 'fewDecodeNodes.';
const FEW_SPLIT = split(8, 10);
/** The report replays its trace at double speed. */
const SPEED = 2;
/** Section 8.1 of the report: at most 0.1 s per token; its Table 3 says nothing else. */
const TBT_SLO = 'targets.tbt=100ms';

export const arxivTable3: Figure = {
  key: TABLE_3,
  name: 'Table 3 (arXiv)',
  basis: 'predicted',
  isOf: (workload) => workload !== NO_TRACE,
  runs: (workload) => {
    const admitted = (admission: string, nodes: readonly string[]): RunSpec => {
      const sets = [...nodes, TBT_SLO, `conductor.admission=${admission}`];
      return { ...sharedRun(workload, GLOBAL, sets), rate: SPEED };
    };
    return Object.fromEntries(
      Object.entries(ADMISSIONS).flatMap(([name, admission]): [string, RunSpec][] => [
        [name, admitted(admission, EIGHT_AND_EIGHT)],
        [FEW + name, { ...admitted(admission, FEW_SPLIT), watch: ['loads'] }],
      ]),
    );
  },
  make(input) {
    const { workload, runs } = input;
    const names = [...Object.keys(ADMISSIONS), ...Object.keys(ADMISSIONS).map((of) => FEW + of)];
    const quantities = new Map(
      names.flatMap((name) => {
        const run = runs[name];
        return run === undefined ? [] : [[name, run.result.requests.rejected] as const];
      }),
    );
    const bars = Object.keys(ADMISSIONS).map((name) => ({ label: name, quantity: name }));
    const chart = barChart(input, quantities, bars, {
      id: `arxiv-table-3-${workload}`,
      title: `Table 3 (arXiv): rejected requests, ${workload}`,
      note: '8P+8D at double speed, TTFT 30 s, TBT 100 ms. The paper: 23,000 requests.',
      xTitle: '',
      yTitle: 'requests',
      format: 'd',
    });
    const untilNs = (input.trace?.arrivalNs.at(-1) ?? Number.POSITIVE_INFINITY) / SPEED;
    const { charts, texts } = swings(workload, runs, untilNs);
    return {
      quantities: quantityRows(quantities),
      charts: [chart, ...charts],
      notes: [
        'fewDecodeNodes is an experiment in which decode is the bottleneck, 8P+2D: standard ' +
          'deviation of the loads of prefill and of decode, and their correlation, from the ' +
          `fifth minute to the last arrival: ${texts.join('; ')}`,
      ],
    };
  },
};

/** How the loads of the pools swing where decode is the bottleneck. */
function swings(workload: string, runs: Readonly<Record<string, RunOutcome>>, untilNs: number) {
  const charts: PaperChart[] = [];
  const texts: string[] = [];
  for (const name of Object.keys(ADMISSIONS)) {
    const loads = runs[FEW + name]?.loads ?? null;
    if (loads === null) continue;
    const { correlation, prefill, decode } = swingOf(loads, untilNs);
    charts.push(loadChart(workload, name, loads));
    texts.push(`${name} ${prefill.toFixed(3)}, ${decode.toFixed(3)}, ${correlation.toFixed(2)}`);
  }
  return { charts, texts };
}

function loadChart(workload: string, admission: string, loads: LoadSeries): PaperChart {
  const { binNs, prefill, decode } = loads;
  const line = (name: string, values: readonly number[]): PaperSeries => ({
    name,
    of: 'ours',
    points: values.flatMap((y, i) =>
      Number.isNaN(y) ? [] : [{ x: ((i + 0.5) * binNs) / NS_PER_MINUTE, y }],
    ),
  });
  return {
    kind: 'paper',
    id: `arxiv-loads-${admission}-${workload}`,
    title: `Loads of the two pools, ${admission}, ${workload}`,
    note: '8P+2D at double speed. Load: predicted TTFT or TBT over its SLO.',
    form: 'lines',
    series: [line('prefill', prefill), line('decode', decode)],
    xTitle: 'minutes',
    yTitle: 'load',
    format: '.1f',
  };
}

/** How far the loads swing, and how they move together, once the cluster is full. */
function swingOf(loads: LoadSeries, untilNs: number) {
  const from = Math.ceil(FULL_NS / loads.binNs);
  const to = Math.min(loads.prefill.length, Math.floor(untilNs / loads.binNs));
  const prefill = loads.prefill.slice(from, to);
  const decode = loads.decode.slice(from, to);
  const deviations = (values: readonly number[]) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return values.map((value) => value - mean);
  };
  const [x, y] = [deviations(prefill), deviations(decode)];
  const product = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, i) => sum + value * b[i], 0) / a.length;
  const [xx, yy] = [product(x, x), product(y, y)];
  return {
    correlation: product(x, y) / Math.sqrt(xx * yy),
    prefill: Math.sqrt(xx),
    decode: Math.sqrt(yy),
  };
}
