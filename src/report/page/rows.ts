/** What each kind of figure shows of a range of time: the rows of its Vega data sets. */
import type { Numbers, PageData, PageRun, Range } from './data.ts';
import { rangeOf } from './data.ts';
import {
  type HeatFigure,
  type Line,
  linesOf,
  MEASURES,
  type PartsFigure,
  RUN_COLOURS,
  type Shown,
  type TimeFigure,
} from './figures.ts';

export type Row = Readonly<Record<string, string | number | null>>;

/** Units of the time axis, and the longest run that each is used for, ns. */
const TIME_UNITS = [
  { name: 'seconds', ns: 1e9, mostNs: 300e9 },
  { name: 'minutes', ns: 60e9, mostNs: 6 * 3600e9 },
  { name: 'hours', ns: 3600e9, mostNs: 72 * 3600e9 },
  { name: 'days', ns: 86400e9, mostNs: Number.POSITIVE_INFINITY },
] as const;

export function timeUnit({ binNs, bins }: PageData): (typeof TIME_UNITS)[number] {
  return TIME_UNITS.find(({ mostNs }) => binNs * bins <= mostNs)!;
}

/** Columns of a heat map: more are averaged, until a range is chosen. */
const HEAT_COLUMNS = 120;
/** Points of a distribution. */
const CDF_POINTS = 200;
/** Slowest requests shown. */
const SLOWEST = 10;

/** The rows of a figure's data set, which is called `rows` in every specification. */
export function rowsOf({ figure, run }: Shown, page: PageData, range: Range): Row[] {
  switch (figure.kind) {
    case 'time':
      return timeRows(figure, page, figure.overview ? null : range);
    case 'heat':
      return heatRows(figure, page, page.runs[run], range);
    case 'cdf':
      return cdfRows(page, range);
    case 'parts':
      return figure.totals === undefined
        ? slowestRows(figure, page, range)
        : totalRows(figure, figure.totals, page, range);
  }
}

/** One row per bin: `t` to `t2`, the middle `m`, and a field s0, s1, … per line. */
function timeRows(figure: TimeFigure, page: PageData, range: Range): Row[] {
  const { from, to } = rangeOf(page, range);
  const names = page.runs.map(({ name }) => name);
  const lines = linesOf(figure, names);
  const several = page.runs.length > 1 && figure.compare !== undefined;
  const { factor } = MEASURES[figure.measure];
  const series = lines.map(({ key }, i) => page.runs[several ? i : 0].lines[key]);
  const width = page.binNs / timeUnit(page).ns;
  const rows: Row[] = [];
  for (let bin = from; bin < to; bin++) {
    const row: Record<string, number | null> = {
      t: bin * width,
      m: (bin + 0.5) * width,
      t2: (bin + 1) * width,
    };
    const all = figure.share ? series.reduce((sum, values) => sum + (values[bin] ?? 0), 0) : 1;
    series.forEach((values, i) => {
      const value = values[bin] ?? null;
      row[`s${i}`] = value === null || all === 0 ? null : (value * factor) / all;
    });
    rows.push(row);
  }
  return rows;
}

/** One row per cell that is not empty: `row`, `t` to `t2`, and `v`. */
function heatRows({ key }: HeatFigure, page: PageData, run: PageRun, range: Range): Row[] {
  const { from, to } = rangeOf(page, range);
  const heat = run.heats[key];
  const step = Math.ceil((to - from) / HEAT_COLUMNS);
  const width = page.binNs / timeUnit(page).ns;
  const rows: Row[] = [];
  heat.rows.forEach((name, i) => {
    for (let bin = from; bin < to; bin += step) {
      const end = Math.min(bin + step, to);
      const value = mean(heat.values[i], bin, end);
      if (value > 0) rows.push({ row: name, t: bin * width, t2: end * width, v: value });
    }
  });
  return rows;
}

function mean(values: Numbers, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += values[i] ?? 0;
  return sum / (to - from);
}

/** Points (x seconds, share p) of each run `s`. */
function cdfRows(page: PageData, range: Range): Row[] {
  return page.runs.flatMap((run) => {
    const ttft = sampledIn(page, run, range)
      .map((i) => run.requests.ttft[i])
      .filter((ns) => ns !== null)
      .sort((a, b) => a - b);
    const points = Math.min(CDF_POINTS, ttft.length);
    return Array.from({ length: points }, (_, i): Row => {
      const rank = Math.ceil(((i + 1) * ttft.length) / points);
      return { s: run.name, x: ttft[rank - 1] * MEASURES.seconds.factor, p: rank / ttft.length };
    });
  });
}

/** Sampled requests of a run that belong to the range. */
export function sampledIn(page: PageData, { requests }: PageRun, range: Range): number[] {
  const { from, to } = rangeOf(page, range);
  const rows: number[] = [];
  for (let i = 0; i < requests.sampled; i++) {
    const bin = requests.bin[i] ?? -1;
    if (bin >= from && bin < to) rows.push(i);
  }
  return rows;
}

/** A bar per run: sums over the range, or means by the figure's weight. */
function totalRows(parts: PartsFigure, figure: TimeFigure, page: PageData, range: Range): Row[] {
  const { from, to } = rangeOf(page, range);
  const { factor } = MEASURES[parts.measure];
  return page.runs.flatMap((run) => {
    const weights = figure.weight === undefined ? null : run.lines[figure.weight];
    let all = 0;
    const sums = parts.lines.map(({ key }) => {
      let sum = 0;
      for (let bin = from; bin < to; bin++) {
        sum += (run.lines[key][bin] ?? 0) * (weights === null ? 1 : (weights[bin] ?? 0));
      }
      return sum;
    });
    if (figure.share) all = sums.reduce((total, sum) => total + sum, 0);
    else if (weights === null) all = 1;
    else for (let bin = from; bin < to; bin++) all += weights[bin] ?? 0;
    return stacked(
      run.name,
      parts.lines,
      sums.map((sum) => (all === 0 ? 0 : (sum * factor) / all)),
    );
  });
}

function stacked(row: string, lines: readonly Line[], values: readonly number[]): Row[] {
  return lines.map((_, i) => ({ row, s: `s${i}`, v: values[i] }));
}

/** Columns of requests behind the lines of a breakdown. */
const PART_COLUMNS: Readonly<Record<string, 'queue' | 'transfer' | 'load' | 'compute'>> = {
  queue_ns_mean: 'queue',
  transfer_ns_mean: 'transfer',
  load_ns_mean: 'load',
  compute_ns_mean: 'compute',
};

/** A bar per slow request. */
function slowestRows({ lines }: PartsFigure, page: PageData, range: Range): Row[] {
  const { factor } = MEASURES.seconds;
  return slowest(page, range).flatMap(({ label, run, at }) => {
    const parts = lines.map(({ key }) => run.requests[PART_COLUMNS[key]][at] ?? 0);
    return stacked(
      label,
      lines,
      parts.map((ns) => ns * factor),
    );
  });
}

export interface Slow {
  readonly label: string;
  readonly run: PageRun;
  readonly colour: string;
  /** Row of its RequestSample. */
  readonly at: number;
}

/** Requests of the range with the highest TTFT, slowest first; of several runs, some of each. */
export function slowest(page: PageData, range: Range): Slow[] {
  const { from, to } = rangeOf(page, range);
  const each = Math.max(3, Math.floor(SLOWEST / page.runs.length));
  return page.runs.flatMap((run, number) => {
    const { ttft, bin, id } = run.requests;
    const rows: number[] = [];
    for (let i = 0; i < ttft.length; i++) {
      const at = bin[i] ?? -1;
      if (ttft[i] !== null && at >= from && at < to) rows.push(i);
    }
    rows.sort((a, b) => ttft[b]! - ttft[a]! || id[a]! - id[b]!);
    return rows.slice(0, each).map((at) => {
      const own = `#${id[at]}`;
      const label = page.runs.length === 1 ? own : `${run.name} ${own}`;
      return { label, run, colour: RUN_COLOURS[number], at };
    });
  });
}
