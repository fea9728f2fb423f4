/** What each open knob does to the figures: one change at a time, all else as shared. */
import { FIGURES } from './figures.ts';
import { KNOBS, type Knob } from './knobs.ts';
import { figureData, type PaperData, paperValue } from './paper-data.ts';
import type { Figure, Row, RunOutcome, RunSpec } from './types.ts';

export interface SensitivityRow {
  readonly knob: string;
  readonly value: string;
  /** Whether every figure uses this value. */
  readonly chosen: boolean;
  readonly workload: string;
  /** What it touches of the figures that it was tried on. */
  readonly rows: readonly Omit<Row, 'workload' | 'basis'>[];
}

interface Variation {
  readonly knob: string;
  readonly value: string;
  readonly chosen: boolean;
  /** Figures with those of their runs that have the knob. */
  readonly runs: ReadonlyMap<Figure, Readonly<Record<string, RunSpec>>>;
}

const TRIED = [
  'fig1EffectiveCapacityPercent',
  'fig5MeanTtftSeconds',
  'fig8MeanPrefillGpuSeconds',
  'fig11ReplicaCount',
];

function variationsOf(workload: string, data: PaperData): Variation[] {
  const figures = (keys: readonly string[]) =>
    FIGURES.filter((figure) => keys.includes(figure.key) && figure.isOf(workload));
  const runs = (figure: Figure) => figure.runs(workload, figureData(data, figure.key));
  const all = new Set([...TRIED, ...KNOBS.flatMap(({ figures = [] }) => figures)]);
  const shared: Variation = {
    knob: 'none',
    value: 'as shared',
    chosen: true,
    runs: new Map(figures([...all]).map((figure) => [figure, runs(figure)])),
  };
  const varied = KNOBS.flatMap((knob) =>
    knob.others.map(({ value, sets }): Variation => {
      const tried = figures(knob.figures ?? TRIED).flatMap((figure) => {
        const changed = Object.entries(runs(figure))
          .filter(([, spec]) => hasKnob(spec, knob))
          .map(([use, spec]) => [use, { ...spec, sets: [...(spec.sets ?? []), ...sets] }] as const);
        if (changed.length === 0) return [];
        return [[figure, Object.fromEntries(changed)] as const];
      });
      return { knob: knob.name, value, chosen: false, runs: new Map(tried) };
    }),
  );
  return [shared, ...varied];
}

function hasKnob({ config, sets = [] }: RunSpec, { where, baselines }: Knob): boolean {
  const isBaseline = config !== 'mooncake-16';
  if (isBaseline ? baselines === undefined : baselines === 'alone') return false;
  return where === undefined || sets.some((set) => set.startsWith(where));
}

export function sensitivitySpecs(workload: string, data: PaperData): RunSpec[] {
  return variationsOf(workload, data).flatMap(({ runs }) =>
    [...runs.values()].flatMap((specs) => Object.values(specs)),
  );
}

export async function sensitivityRows(
  workload: string,
  data: PaperData,
  outcomeOf: (spec: RunSpec) => RunOutcome,
): Promise<SensitivityRow[]> {
  const answers: SensitivityRow[] = [];
  for (const { runs, ...variation } of variationsOf(workload, data)) {
    const rows: SensitivityRow['rows'][number][] = [];
    for (const [figure, specs] of runs) {
      const { key } = figure;
      const theirs = (quantity: string) => paperValue(data, key, workload, quantity);
      const { quantities } = await figure.make({
        workload,
        paper: figureData(data, key),
        runs: Object.fromEntries(
          Object.entries(specs).map(([use, spec]) => [use, outcomeOf(spec)]),
        ),
        trace: null,
        paperValue: theirs,
      });
      for (const { quantity, ours } of quantities) {
        const paper = theirs(quantity);
        const error = paper === null || ours === null ? null : ours / paper - 1;
        rows.push({ figure: key, quantity, paper, ours, error });
      }
    }
    answers.push({ ...variation, workload, rows });
  }
  return answers;
}
