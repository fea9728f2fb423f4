/** Figure 8: mean GPU time that the prefill of a request takes, Mooncake against vLLM. */
import { barChart, quantityRows } from '../charts.ts';
import type { Figure, RunOutcome } from '../types.ts';
import { NO_TRACE } from '../types.ts';
import { systemRuns } from './systems.ts';

export const figure8: Figure = {
  key: 'fig8MeanPrefillGpuSeconds',
  name: 'Figure 8',
  basis: 'predicted',
  isOf: (workload) => workload !== NO_TRACE,
  runs: systemRuns,
  make(input) {
    const { workload, runs } = input;
    const quantities = new Map(
      Object.entries(runs).map(([system, run]) => [`${workload}.${system}`, gpuSeconds(run)]),
    );
    const bars = [...quantities.keys()].map((quantity) => ({
      label: quantity.slice(workload.length + 1),
      quantity,
    }));
    const chart = barChart(input, quantities, bars, {
      id: `figure-8-${workload}`,
      title: `Figure 8: mean GPU time of a prefill, ${workload}`,
      note: 'Seconds of a whole node for each request.',
      xTitle: '',
      yTitle: 'seconds',
      format: '.3f',
    });
    return { quantities: quantityRows(quantities), charts: [chart], notes: [] };
  },
};

/** Prefill time of all instances over the requests whose prompt was computed. */
export function gpuSeconds({ result, ttftNs }: RunOutcome): number {
  const prefilled = ttftNs.reduce((count, ns) => count + (Number.isNaN(ns) ? 0 : 1), 0);
  return result.gpuSeconds.prefill / Math.max(1, prefilled);
}
