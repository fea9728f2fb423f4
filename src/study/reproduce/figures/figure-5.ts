/** Figure 5: mean TTFT of four ways to choose the prefill instance. */
import { barChart, quantityRows } from '../charts.ts';
import { GLOBAL, sharedRun } from '../knobs.ts';
import type { Figure } from '../types.ts';
import { NO_TRACE } from '../types.ts';

/** The paper's names of the four, and our policies; Figure 8 of the arXiv report has them, too. */
export const SCHEDULERS = {
  'global-cache-aware': GLOBAL,
  'local-cache-aware': 'local-cache-aware',
  'load-balancing': 'least-loaded',
  random: 'random',
} as const;

export const figure5: Figure = {
  key: 'fig5MeanTtftSeconds',
  name: 'Figure 5',
  basis: 'predicted',
  isOf: (workload) => workload !== NO_TRACE,
  runs: (workload) =>
    Object.fromEntries(
      Object.entries(SCHEDULERS).map(([name, policy]) => [name, sharedRun(workload, policy)]),
    ),
  make(input) {
    const quantities = new Map(
      Object.entries(input.runs).map(([name, { result }]) => [name, seconds(result.ttftNs.mean)]),
    );
    const bars = [...quantities.keys()].map((quantity) => ({ label: quantity, quantity }));
    const chart = barChart(input, quantities, bars, {
      id: `figure-5-${input.workload}`,
      title: `Figure 5: mean TTFT by scheduling, ${input.workload}`,
      note: '16 nodes; one shared configuration.',
      xTitle: '',
      yTitle: 'seconds',
      format: '.2f',
    });
    return { quantities: quantityRows(quantities), charts: [chart], notes: [] };
  },
};

function seconds(ns: number | null): number | null {
  return ns === null ? null : ns / 1e9;
}
