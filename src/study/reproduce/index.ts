/**
 * Reruns the figures of a paper on its traces: one shared configuration, every figure over the
 * paper's own numbers. Only single transfers and requests (Figures 12 and 14) were fitted to.
 */

import { InputError } from '../../core/errors.ts';
import { oneOf } from '../../core/kit/nearest.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import type { PaperChart } from '../../report/paper-chart.ts';
import { openTrace } from '../../trace/open.ts';
import { VERSION } from '../version.ts';
import { FIGURES } from './figures.ts';
import { KNOBS } from './knobs.ts';
import { FAST25, figureData, mergePaperData, type PaperData, paperValue } from './paper-data.ts';
import { runAll, type Traces } from './run-pool.ts';
import { runKey } from './runs.ts';
import { type SensitivityRow, sensitivityRows, sensitivitySpecs } from './sensitivity.ts';
import { type Figure, NO_TRACE, type Row, type RunOutcome, type RunSpec } from './types.ts';

export { parsePaperData } from './paper-data.ts';
export type { SensitivityRow } from './sensitivity.ts';
export type { Row } from './types.ts';

/** Papers that can be reproduced. */
export const PAPERS = ['fast25'] as const;
export const WORKLOADS = ['conversation', 'toolagent', 'synthetic'] as const;

export interface ReproduceOptions {
  /** By workload: `format:path`, a catalogue name or a path; or a trace that is in memory. */
  readonly traces: Readonly<Record<string, string | TraceColumns>>;
  /** More of the paper's numbers, laid over those that come with the project. */
  readonly paperData?: PaperData;
  readonly sensitivity?: boolean;
  /** Keys of figures; the default is all. */
  readonly figures?: readonly string[];
  /** Worker threads, and the module that they run; without it all runs here. */
  readonly workers?: number;
  readonly workerUrl?: URL;
  readonly onProgress?: (done: number, all: number) => void;
}

export interface Reproduction {
  readonly version: string;
  readonly traces: Readonly<Record<string, { readonly requests: number; readonly sha256: string }>>;
  readonly knobs: readonly {
    readonly name: string;
    readonly value: string;
    readonly doc: string;
  }[];
  readonly rows: readonly Row[];
  readonly sensitivity: readonly SensitivityRow[];
  readonly notes: readonly string[];
  readonly charts: readonly PaperChart[];
}

/** A figure on a workload, with the runs that it needs. */
interface Task {
  readonly figure: Figure;
  readonly workload: string;
  readonly runs: Readonly<Record<string, RunSpec>>;
}

/**
 * Equal inputs give equal results, byte for byte, on any number of workers.
 * @throws InputError for an unknown workload or figure, a bad trace
 */
export async function reproduce(options: ReproduceOptions): Promise<Reproduction> {
  const data = mergePaperData(FAST25, options.paperData ?? {});
  const figures = chosenFigures(options.figures);
  const traces = await openTraces(options.traces);
  const workloads = Object.keys(traces);
  const tasks = [...workloads, NO_TRACE].flatMap((workload) =>
    figures
      .filter((figure) => figure.isOf(workload))
      .map((figure): Task => {
        return { figure, workload, runs: figure.runs(workload, figureData(data, figure.key)) };
      }),
  );
  tasks.sort((a, b) => FIGURES.indexOf(a.figure) - FIGURES.indexOf(b.figure));
  const varied =
    options.sensitivity === true
      ? workloads.flatMap((workload) => sensitivitySpecs(workload, data))
      : [];
  const outcomes = await runAll([...tasks.flatMap(({ runs }) => Object.values(runs)), ...varied], {
    traces,
    workers: options.workers ?? 0,
    workerUrl: options.workerUrl ?? null,
    onProgress: options.onProgress,
  });
  const outcomeOf = (spec: RunSpec) => outcomes.get(runKey(spec))!;
  const drawn = await drawAll(tasks, data, traces, outcomeOf);
  const sensitivity: SensitivityRow[] = [];
  for (const workload of options.sensitivity === true ? workloads : []) {
    sensitivity.push(...(await sensitivityRows(workload, data, outcomeOf)));
  }
  return {
    version: VERSION,
    traces: Object.fromEntries(
      Object.entries(traces).map(([name, { requests, sha256 }]) => [name, { requests, sha256 }]),
    ),
    knobs: KNOBS.map(({ name, value, doc }) => ({ name, value, doc })),
    ...drawn,
    notes: [...drawn.notes, ...leftOut(figures, tasks)],
    sensitivity,
  };
}

async function drawAll(
  tasks: readonly Task[],
  data: PaperData,
  traces: Traces,
  outcomeOf: (spec: RunSpec) => RunOutcome,
): Promise<Pick<Reproduction, 'rows' | 'charts' | 'notes'>> {
  const rows: Row[] = [];
  const charts: PaperChart[] = [];
  const notes: string[] = [];
  for (const { figure, workload, runs } of tasks) {
    const { key, name, basis } = figure;
    const theirs = (quantity: string) => paperValue(data, key, workload, quantity);
    const output = await figure.make({
      workload,
      paper: figureData(data, key),
      runs: Object.fromEntries(Object.entries(runs).map(([use, spec]) => [use, outcomeOf(spec)])),
      trace: traces[workload] ?? null,
      paperValue: theirs,
    });
    for (const { quantity, ours } of output.quantities) {
      const paper = theirs(quantity);
      const error = paper === null || ours === null ? null : ours / paper - 1;
      rows.push({ figure: key, workload, quantity, paper, ours, error, basis });
    }
    charts.push(...output.charts);
    const of = workload === NO_TRACE ? name : `${name}, ${workload}`;
    notes.push(...output.notes.map((note) => `${of}: ${note}`));
  }
  return { rows, charts, notes };
}

function chosenFigures(keys: readonly string[] | undefined): readonly Figure[] {
  if (keys === undefined) return FIGURES;
  const known = FIGURES.map(({ key }) => key);
  for (const key of keys) {
    if (known.includes(key)) continue;
    throw new InputError(`found the figure "${key}", expected ${oneOf(key, known)}`);
  }
  return FIGURES.filter(({ key }) => keys.includes(key));
}

async function openTraces(given: ReproduceOptions['traces']): Promise<Traces> {
  const traces: Record<string, TraceColumns> = {};
  for (const workload of Object.keys(given)) {
    if ((WORKLOADS as readonly string[]).includes(workload)) continue;
    throw new InputError(
      `found the workload "${workload}", expected ${oneOf(workload, WORKLOADS)}`,
      '--trace',
    );
  }
  for (const workload of WORKLOADS) {
    const trace = given[workload];
    if (trace === undefined) continue;
    traces[workload] = typeof trace === 'string' ? await openTrace(trace) : trace;
  }
  return traces;
}

/** Figures that no trace was given for. */
function leftOut(figures: readonly Figure[], tasks: readonly Task[]): string[] {
  return figures
    .filter((figure) => !tasks.some((task) => task.figure === figure))
    .map((figure) => {
      const needs = WORKLOADS.filter((workload) => figure.isOf(workload)).join(' or ');
      return `${figure.name} is left out: it needs --trace ${needs}=PATH`;
    });
}
