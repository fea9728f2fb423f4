/**
 * Figure 13: mean TTFT by the bandwidth of a node, and how long fetches of cached KV take against
 * what the bandwidth alone would make of them. Re-computation: the same cluster without a cache.
 */
import { lineChart, quantityRows } from '../charts.ts';
import { NO_SSD, sharedRun } from '../knobs.ts';
import { type PaperData, paperList } from '../paper-data.ts';
import type { Figure } from '../types.ts';
import { NO_TRACE } from '../types.ts';

const GBPS = [24, 50, 100, 200, 300, 400, 800];
const RECOMPUTE = 'recompute';

export const figure13: Figure = {
  key: 'fig13BandwidthSweep',
  name: 'Figure 13',
  basis: 'predicted',
  isOf: (workload) => workload !== NO_TRACE,
  runs: (workload, paper) => ({
    ...Object.fromEntries(
      bandwidths(paper).map((gbps) => [
        gbps,
        {
          ...sharedRun(workload, undefined, [`transport.maxBandwidth=${gbps}Gbps`]),
          watch: ['fetches' as const],
        },
      ]),
    ),
    [RECOMPUTE]: sharedRun(workload, 'least-loaded', [
      NO_SSD,
      'cluster.groups.0.dram=0B',
      'cluster.groups.1.dram=0B',
    ]),
  }),
  make(input) {
    const { workload, runs, paper } = input;
    const gbps = bandwidths(paper);
    const quantities = new Map<string, number | null>();
    const ttft = (name: string | number) => (runs[name].result.ttftNs.mean ?? 0) / 1e9;
    for (const [i, rate] of gbps.entries()) quantities.set(`meanTtftSeconds.${i}`, ttft(rate));
    quantities.set('recomputeTtftSeconds', ttft(RECOMPUTE));
    for (const [i, rate] of gbps.entries()) {
      quantities.set(`transferTheorySeconds.${i}`, runs[rate].fetches?.theorySeconds ?? null);
    }
    for (const [i, rate] of gbps.entries()) {
      quantities.set(`transferSeconds.${i}`, runs[rate].fetches?.meanSeconds ?? null);
    }
    const look = { xTitle: 'Gb/s of a node', yTitle: 'seconds', format: '~g', logX: true };
    const times = lineChart(
      input,
      quantities,
      gbps,
      [{ name: 'mean TTFT', path: 'meanTtftSeconds' }],
      {
        id: `figure-13-ttft-${workload}`,
        title: `Figure 13: mean TTFT by bandwidth, ${workload}`,
        note: `Without a cache ${ttft(RECOMPUTE).toFixed(2)} s.`,
        ...look,
      },
    );
    const fetches = lineChart(
      input,
      quantities,
      gbps,
      [
        { name: 'measured', path: 'transferSeconds' },
        { name: 'bytes over line rate', path: 'transferTheorySeconds' },
      ],
      {
        id: `figure-13-transfers-${workload}`,
        title: `Figure 13: mean time of a fetch, ${workload}`,
        note: 'Fetches of cached KV between nodes.',
        ...look,
        logY: true,
      },
    );
    return { quantities: quantityRows(quantities), charts: [times, fetches], notes: [] };
  },
};

function bandwidths(paper: PaperData): number[] {
  return paperList(paper, 'gbps', GBPS);
}
