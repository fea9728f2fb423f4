/** What each open knob does to Figure 5's bars and the shared run: one change at a time. */

import { effectivePercent } from './figures/figure-1.ts';
import { figure5 } from './figures/figure-5.ts';
import { gpuSeconds } from './figures/figure-8.ts';
import { KNOBS } from './knobs.ts';
import { figureData, type PaperData, paperValue } from './paper-data.ts';
import type { RunOutcome, RunSpec } from './types.ts';

export interface SensitivityRow {
  readonly knob: string;
  readonly value: string;
  /** Whether every figure uses this value. */
  readonly chosen: boolean;
  readonly workload: string;
  /** Mean TTFT, seconds, by scheduler; and each over the paper's, less 1. */
  readonly meanTtftSeconds: Readonly<Record<string, number | null>>;
  readonly errors: Readonly<Record<string, number | null>>;
  /** Of the global scheduler. */
  readonly meanPrefillGpuSeconds: number;
  readonly hitPercent: number | null;
  readonly effectivePercentAt100Ms: number;
}

interface Variation {
  readonly knob: string;
  readonly value: string;
  readonly chosen: boolean;
  readonly sets: readonly string[];
}

function variations(): Variation[] {
  const chosen = { knob: 'none', value: 'as shared', chosen: true, sets: [] };
  const others = KNOBS.flatMap(({ name, others }) =>
    others.map(({ value, sets }) => ({ knob: name, value, chosen: false, sets })),
  );
  return [chosen, ...others];
}

function runsOf(workload: string, { sets }: Variation): [string, RunSpec][] {
  const isPrefill = (set: string) => set.startsWith('conductor.prefill=');
  return Object.entries(figure5.runs(workload, {})).map(([scheduler, spec]) => {
    // A parameter of Algorithm 1 is no parameter of the other three.
    const own = scheduler === 'global-cache-aware' ? sets : sets.filter((set) => !isPrefill(set));
    return [scheduler, { ...spec, sets: [...(spec.sets ?? []), ...own] }];
  });
}

export function sensitivitySpecs(workload: string): RunSpec[] {
  return variations().flatMap((variation) => runsOf(workload, variation).map(([, spec]) => spec));
}

export function sensitivityRows(
  workload: string,
  data: PaperData,
  outcomeOf: (spec: RunSpec) => RunOutcome,
): SensitivityRow[] {
  const paper = figureData(data, figure5.key);
  return variations().map((variation) => {
    const outcomes = runsOf(workload, variation).map(
      ([scheduler, spec]) => [scheduler, outcomeOf(spec)] as const,
    );
    const means = outcomes.map(([scheduler, { result }]) => {
      const { mean } = result.ttftNs;
      return [scheduler, mean === null ? null : mean / 1e9] as const;
    });
    const errors = means.map(([scheduler, ours]) => {
      const theirs = paperValue({ [figure5.key]: paper }, figure5.key, workload, scheduler);
      return [scheduler, theirs === null || ours === null ? null : ours / theirs - 1] as const;
    });
    const [[, shared]] = outcomes;
    const { blocksRatio } = shared.result.hit;
    const { knob, value, chosen } = variation;
    return {
      knob,
      value,
      chosen,
      workload,
      meanTtftSeconds: Object.fromEntries(means),
      errors: Object.fromEntries(errors),
      meanPrefillGpuSeconds: gpuSeconds(shared),
      hitPercent: blocksRatio === null ? null : 100 * blocksRatio,
      effectivePercentAt100Ms: effectivePercent(shared, 100e6),
    };
  });
}
