/**
 * Figures 1 and 7: effective request capacity, the share of requests that keep both SLOs. TTFT has
 * 30 s; TBT has 100, 200 or 300 ms and is the mean of a request's longest 10 % of gaps.
 */
import { lineChart, quantityRows } from '../charts.ts';
import { paperList } from '../paper-data.ts';
import type { Figure, RunOutcome } from '../types.ts';
import { NO_TRACE } from '../types.ts';
import { systemRuns } from './systems.ts';

const TBT_MS = [100, 200, 300];
const TTFT_NS = 30e9;

export const figure1 = capacityFigure(
  'fig1EffectiveCapacityPercent',
  'Figure 1',
  'predicted',
  (workload) => workload !== NO_TRACE && workload !== 'synthetic',
);

export const figure7 = capacityFigure(
  'fig7EffectiveCapacityPercent',
  'Figure 7',
  'predicted',
  (workload) => workload === 'synthetic',
);

function capacityFigure(
  key: string,
  name: string,
  basis: Figure['basis'],
  isOf: Figure['isOf'],
): Figure {
  return {
    key,
    name,
    basis,
    isOf,
    runs: systemRuns,
    make(input) {
      const { workload, runs, paper } = input;
      const slosMs = paperList(paper, 'tbtMs', TBT_MS);
      const quantities = new Map<string, number | null>();
      for (const [system, run] of Object.entries(runs)) {
        for (const [i, ms] of slosMs.entries()) {
          quantities.set(`${system}.${i}`, effectivePercent(run, ms * 1e6));
        }
      }
      for (const [system, run] of Object.entries(runs)) {
        quantities.set(`medianTbtMs.${system}`, milliseconds(run.result.tbtNs.p50));
      }
      const lines = Object.keys(runs).map((system) => ({ name: system, path: system }));
      const chart = lineChart(input, quantities, slosMs, lines, {
        id: `${name.toLowerCase().replace(' ', '-')}-${workload}`,
        title: `${name}: effective request capacity, ${workload}`,
        note: 'Share of requests within TTFT 30 s and the TBT threshold.',
        xTitle: 'TBT threshold, ms',
        yTitle: 'percent',
        format: '~s',
      });
      return { quantities: quantityRows(quantities), charts: [chart], notes: [] };
    },
  };
}

/** Requests that arrived and never ended well are not within their SLOs. */
export function effectivePercent(run: RunOutcome, tbtNs: number, ttftNs = TTFT_NS): number {
  const { ttftNs: ttft, tbtNs: tbt, result } = run;
  let good = 0;
  for (let i = 0; i < ttft.length; i++) {
    if (ttft[i] <= ttftNs && run.completed[i] === 1 && !(tbt[i] > tbtNs)) good++;
  }
  return (100 * good) / Math.max(1, result.requests.arrived);
}

function milliseconds(ns: number | null): number | null {
  return ns === null ? null : ns / 1e6;
}
