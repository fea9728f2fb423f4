/** The arXiv report: Figure 8 (scheduling) and Table 3 (rejections), both on 8P+8D. */
import { barChart, quantityRows } from '../charts.ts';
import { sharedRun, split } from '../knobs.ts';
import type { Figure } from '../types.ts';
import { NO_TRACE } from '../types.ts';
import { SCHEDULERS } from './figure-5.ts';

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
