/** What each kind of figure shows of a range of time: the rows of its Vega data sets. */
import { type PageData, type PageRun, type Range, rangeOf } from './data.ts';
import {
  type HeatFigure,
  MEASURES,
  type PartsFigure,
  type Shown,
  type TimeFigure,
} from './figures.ts';
import { averages, countOf, linesFor, type Steps, stepAt, usedLines, valuesOf } from './lines.ts';

export type Row = Readonly<Record<string, string | number | null>>;

/** Units of the time axis, and the longest run that each is used for, ns. */
const TIME_UNITS = [
  { name: 'seconds', short: 's', ns: 1e9, mostNs: 300e9 },
  { name: 'minutes', short: 'min', ns: 60e9, mostNs: 6 * 3600e9 },
  { name: 'hours', short: 'h', ns: 3600e9, mostNs: 72 * 3600e9 },
  { name: 'days', short: 'd', ns: 86400e9, mostNs: Number.POSITIVE_INFINITY },
] as const;

export function timeUnit({ binNs, bins }: PageData): (typeof TIME_UNITS)[number] {
  return TIME_UNITS.find(({ mostNs }) => binNs * bins <= mostNs)!;
}

/** Steps that a range of time is shown in; narrower ranges show single bins. */
const STEPS = 120;
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
        : totalRows(figure.totals, page, range);
  }
}

/** A figure without anything in it at any time. */
export function isEmpty(shown: Shown, page: PageData): boolean {
  const { figure } = shown;
  if (figure.kind === 'time' && figure.mark !== 'line') return linesFor(figure, page).length === 0;
  if (figure.kind === 'parts' && usedLines(figure.lines, page).length === 0) return true;
  return figure.kind !== 'time' && rowsOf(shown, page, null).length === 0;
}

function stepsOf(page: PageData, range: Range): Steps {
  const { from, to } = rangeOf(page, range);
  return { from, to, step: Math.max(1, Math.ceil((to - from) / STEPS)) };
}

/** Start, middle and end of step `i` on the time axis. */
function timesOf(page: PageData, steps: Steps, i: number) {
  const { from, to } = stepAt(steps, i);
  const width = page.binNs / timeUnit(page).ns;
  return { t: from * width, m: ((from + to) / 2) * width, t2: to * width };
}

/** One row per step: `t` to `t2`, the middle `m`, and a field s0, s1, … per line. */
function timeRows(figure: TimeFigure, page: PageData, range: Range): Row[] {
  const steps = stepsOf(page, range);
  const { factor } = MEASURES[figure.measure];
  const series = linesFor(figure, page).map(({ of, run }) => valuesOf(of, page, run, steps));
  return Array.from({ length: countOf(steps) }, (_, i) => {
    const values = series.map((line) => line[i]);
    const all = figure.share ? values.reduce((sum: number, value) => sum + (value ?? 0), 0) : 1;
    const drawn = (value: number | null) =>
      value === null || all === 0 ? null : (value * factor) / all;
    const fields = values.map((value, line) => [`s${line}`, drawn(value)] as const);
    return { ...timesOf(page, steps, i), ...Object.fromEntries(fields) };
  });
}

/** One row per cell that is not empty: `row`, `t` to `t2`, and `v`. */
function heatRows({ key, measure }: HeatFigure, page: PageData, run: PageRun, range: Range): Row[] {
  const steps = stepsOf(page, range);
  const heat = run.heats[key];
  const most = measure === 'share' ? 1 : Number.POSITIVE_INFINITY;
  return heat.rows.flatMap((row, number) => {
    const values = averages(heat.values[number], steps);
    return values.flatMap((value, i) =>
      value === 0 ? [] : [{ row, ...timesOf(page, steps, i), v: Math.min(value, most) }],
    );
  });
}

/** The most that any run has in a heat map, which is its darkest. */
export function heatMost(figure: HeatFigure, page: PageData, range: Range): number {
  const rows = page.runs.flatMap((run) => heatRows(figure, page, run, range));
  return rows.reduce((most, { v }) => Math.max(most, v as number), 0) || 1;
}

/** Points (x seconds, share p) of each run: s0, s1, … */
function cdfRows(page: PageData, range: Range): Row[] {
  return page.runs.flatMap((run, number) => {
    const ttft = sampledIn(page, run, range)
      .map((i) => run.requests.ttft[i])
      .filter((ns) => ns !== null)
      .sort((a, b) => a - b);
    const points = Math.min(CDF_POINTS, ttft.length);
    return Array.from({ length: points }, (_, i): Row => {
      const rank = Math.ceil(((i + 1) * ttft.length) / points);
      return {
        s: `s${number}`,
        x: ttft[rank - 1] * MEASURES.seconds.factor,
        p: rank / ttft.length,
      };
    });
  });
}

/** Sampled requests of a run that belong to the range. */
export function sampledIn(page: PageData, { requests }: PageRun, range: Range): number[] {
  const { from, to } = rangeOf(page, range);
  const rows: number[] = [];
  for (let i = 0; i < requests.sampled; i++) {
    const bin = requests.first[i] ?? requests.end[i] ?? -1;
    if (bin >= from && bin < to) rows.push(i);
  }
  return rows;
}

/** A bar per run: what the figure over time shows, of the whole range at once. */
function totalRows(figure: TimeFigure, page: PageData, range: Range): Row[] {
  const { from, to } = rangeOf(page, range);
  const { factor } = MEASURES[figure.measure];
  const lines = usedLines(figure.lines, page);
  return page.runs.flatMap((run, number) => {
    const whole = { from, to, step: to - from };
    const values = lines.map(({ of }) => valuesOf(of, page, run, whole)[0] ?? 0);
    const all = figure.share ? values.reduce((sum, value) => sum + value, 0) || 1 : 1;
    return bar(
      run.name,
      number,
      values.map((value) => (value * factor) / all),
    );
  });
}

/** The parts of one bar, which is the `at`-th from above. */
function bar(row: string, at: number, values: readonly number[]): Row[] {
  return values.map((v, i) => ({ row, at, s: `s${i}`, v }));
}

/** A bar per slow request. */
function slowestRows({ lines }: PartsFigure, page: PageData, range: Range): Row[] {
  const { factor } = MEASURES.seconds;
  return slowest(page, range).flatMap(({ label, run, at }, number) => {
    const values = usedLines(lines, page).map(({ of }) =>
      'requests' in of ? (run.requests[of.requests][at] ?? 0) : 0,
    );
    return bar(
      label,
      number,
      values.map((ns) => ns * factor),
    );
  });
}

export interface Slow {
  readonly label: string;
  readonly run: PageRun;
  /** Row of its RequestSample. */
  readonly at: number;
}

/** Requests of the range with the highest TTFT, slowest first; of several runs, some of each. */
export function slowest(page: PageData, range: Range): Slow[] {
  const { from, to } = rangeOf(page, range);
  const each = Math.max(3, Math.floor(SLOWEST / page.runs.length));
  return page.runs.flatMap((run) => {
    const { ttft, first, id } = run.requests;
    const rows: number[] = [];
    for (let i = 0; i < ttft.length; i++) {
      const at = first[i] ?? -1;
      if (ttft[i] !== null && at >= from && at < to) rows.push(i);
    }
    rows.sort((a, b) => ttft[b]! - ttft[a]! || id[a]! - id[b]!);
    return rows.slice(0, each).map((at) => {
      const own = `#${id[at]}`;
      const label = page.runs.length === 1 ? own : `${run.name} ${own}`;
      return { label, run, at };
    });
  });
}
