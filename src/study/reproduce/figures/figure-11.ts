/** Figure 11: copies of the most wanted blocks over time. */
import type { PaperChart } from '../../../report/paper-chart.ts';
import { quantityRows } from '../charts.ts';
import { PREFILL_NODES, sharedRun } from '../knobs.ts';
import type { Figure } from '../types.ts';
import { NO_TRACE } from '../types.ts';

const DRAWN = [1, 10, 100, 1000, 10_000];
const NS_PER_MINUTE = 60e9;

export const figure11: Figure = {
  key: 'fig11ReplicaCount',
  name: 'Figure 11',
  basis: 'predicted',
  isOf: (workload) => workload !== NO_TRACE,
  runs: (workload) => ({ global: { ...sharedRun(workload), watch: ['replicas'] } }),
  make({ workload, runs }) {
    const { ranks, sampleNs, fewestOfTopTen } = runs.global.replicas!;
    const last = (rank: number) => ranks[rank].at(-1) ?? 0;
    const peak = (rank: number) => Math.max(0, ...ranks[rank]);
    const quantities = new Map([
      ['final.rank10', last(10)],
      ['final.rank100', last(100)],
      ['peak.rank1000', peak(1000)],
      ['peak.rank10000', peak(10_000)],
      ['falls.rank1000', falls(ranks[1000])],
    ]);
    const chart: PaperChart = {
      kind: 'paper',
      id: `figure-11-${workload}`,
      title: `Figure 11: copies of hot blocks, ${workload}`,
      note: `Nodes that hold the block of a rank of popularity; ${PREFILL_NODES} prefill nodes.`,
      form: 'lines',
      series: DRAWN.map((rank) => ({
        name: `rank ${rank}`,
        of: 'ours',
        points: ranks[rank].map((y, i) => ({ x: ((i + 1) * sampleNs) / NS_PER_MINUTE, y })),
      })),
      xTitle: 'minutes',
      yTitle: 'copies',
      format: 'd',
    };
    return {
      quantities: quantityRows(quantities),
      charts: [chart],
      notes: [
        `each of the ten hottest blocks is on at least ${fewestOfTopTen} of ${PREFILL_NODES} ` +
          `prefill nodes at the end; the copies of rank 1,000 fall ${falls(ranks[1000])} times`,
      ],
    };
  },
};

/** Samples that count fewer copies than the one before. */
function falls(counts: readonly number[]): number {
  return counts.filter((count, i) => i > 0 && count < counts[i - 1]).length;
}
