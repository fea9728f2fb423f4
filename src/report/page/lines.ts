/** The lines of figures, and their values in steps of some bins. */
import type { Numbers, PageData, PageRun } from './data.ts';
import {
  type Colour,
  type Line,
  type PartsFigure,
  RUN_COLOURS,
  type Shown,
  type Source,
  type TimeFigure,
} from './figures.ts';

/** Bins [from, to) in steps of `step`; the last step takes the rest. */
export interface Steps {
  readonly from: number;
  readonly to: number;
  readonly step: number;
}

export function countOf({ from, to, step }: Steps): number {
  return Math.max(1, Math.floor((to - from) / step));
}

/** Bins of step `i`. */
export function stepAt(steps: Steps, i: number): { readonly from: number; readonly to: number } {
  const from = steps.from + i * steps.step;
  return { from, to: i === countOf(steps) - 1 ? steps.to : from + steps.step };
}

/** A line of one run. */
export interface RunLine extends Line {
  readonly run: PageRun;
}

/** A figure's own lines, those without anything left out of stacks; or one line per run. */
export function linesFor(figure: TimeFigure, page: PageData): RunLine[] {
  const { compare, lines, mark } = figure;
  if (page.runs.length > 1 && compare !== undefined) {
    const { of } = lines[compare.line];
    return page.runs.map((run, i) => ({ label: run.name, colour: RUN_COLOURS[i], of, run }));
  }
  const [run] = page.runs;
  const shown = mark === 'line' ? lines : usedLines(lines, page);
  return shown.map((line) => ({ ...line, run }));
}

/** Lines of a stack that have something in some run. */
export function usedLines(lines: PartsFigure['lines'], page: PageData): readonly Line[] {
  const whole = { from: 0, to: page.bins, step: page.bins };
  return lines.filter(({ of }) => page.runs.some((run) => valuesOf(of, page, run, whole)[0] ?? 0));
}

/** One value per step; null where there is none. */
export function valuesOf(
  source: Source,
  page: PageData,
  run: PageRun,
  steps: Steps,
): (number | null)[] {
  if ('requests' in source) return requestValues(source, run, steps);
  if ('most' in source) return overBins(run.lines[source.most], steps, Math.max);
  if ('mean' in source) return averages(run.lines[source.mean], steps);
  const seconds = page.binNs / 1e9;
  return averages(run.lines[source.sum], steps).map((perBin) => perBin / seconds);
}

function widthOf(steps: Steps, i: number): number {
  const { from, to } = stepAt(steps, i);
  return to - from;
}

/** Step that a bin belongs to. */
function stepOf(steps: Steps, bin: number): number {
  return Math.min(Math.floor((bin - steps.from) / steps.step), countOf(steps) - 1);
}

export function averages(values: Numbers, steps: Steps): number[] {
  const sums = overBins(values, steps, (sum, value) => sum + value);
  return sums.map((sum, i) => sum / widthOf(steps, i));
}

function overBins(values: Numbers, steps: Steps, join: (a: number, b: number) => number): number[] {
  const out = new Array<number>(countOf(steps)).fill(0);
  for (let bin = steps.from; bin < steps.to; bin++) {
    const i = stepOf(steps, bin);
    out[i] = join(out[i], values[bin] ?? 0);
  }
  return out;
}

function requestValues(
  { requests: column, at, as }: Extract<Source, { requests: unknown }>,
  { requests }: PageRun,
  steps: Steps,
): (number | null)[] {
  const groups = Array.from({ length: countOf(steps) }, (): number[] => []);
  const bins = requests[at];
  for (let i = 0; i < requests.sampled; i++) {
    const bin = bins[i];
    const value = requests[column][i];
    if (bin === null || value === null || bin < steps.from || bin >= steps.to) continue;
    groups[stepOf(steps, bin)].push(value);
  }
  return groups.map((group) => {
    if (group.length === 0) return null;
    if (as === 'mean') return group.reduce((sum, value) => sum + value, 0) / group.length;
    group.sort((a, b) => a - b);
    return group[Math.max(0, Math.ceil(as * group.length) - 1)];
  });
}

/** What a figure shows, and what it leaves out. */
export function noteOf({ figure, run }: Shown, page: PageData): string {
  if (figure.kind !== 'heat') return figure.note;
  const { rows, hidden } = page.runs[run].heats[figure.key];
  if (hidden === 0) return figure.note;
  return `${figure.note} The ${rows.length} busiest of ${rows.length + hidden}.`;
}

export interface LegendEntry {
  readonly label: string;
  readonly colour: Colour;
  readonly dashed?: boolean;
}

/** What the colours of a figure mean; nothing where there is but one, unless it is one of many. */
export function legendOf({ figure }: Shown, page: PageData): readonly LegendEntry[] {
  if (figure.kind === 'heat') return [];
  if (figure.kind === 'parts') return usedLines(figure.lines, page);
  const runs = page.runs.map(({ name }, i) => ({ label: name, colour: RUN_COLOURS[i] }));
  const all = figure.kind === 'time' ? linesFor(figure, page) : runs;
  const few = figure.kind === 'time' ? figure.lines.length < 2 : runs.length < 2;
  return few ? [] : all;
}
