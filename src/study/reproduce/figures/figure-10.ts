/**
 * Figure 10: every node with a cache of its own against the pool of all. An experiment of its own
 * that the paper describes: 10 prefill nodes, each with room for 3,000,000 tokens and no more, and
 * answers of one token. All else is as in the other figures.
 */
import { barChart, quantityRows } from '../charts.ts';
import { GLOBAL, NO_SSD, sharedRun, split } from '../knobs.ts';
import type { PaperData } from '../paper-data.ts';
import type { Figure, RunSpec } from '../types.ts';
import { NO_TRACE } from '../types.ts';
import { gpuSeconds } from './figure-8.ts';

/** Where the paper's data has no other. */
const PREFILL_NODES = 10;
const NODE_TOKENS = 3_000_000;
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
  runs: (workload, paper) => ({
    local: run(workload, paper, LOCAL_ROUTING),
    global: run(workload, paper, GLOBAL),
    ...Object.fromEntries(OTHER_ROUTINGS.map((rule) => [rule, run(workload, paper, rule)])),
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

function run(workload: string, paper: PaperData, prefill: string): RunSpec {
  const { prefillNodes = PREFILL_NODES, capacityTokensPerNode = NODE_TOKENS } = paper;
  const room = [`cluster.groups.0.dram=${capacityTokensPerNode}tokens`, NO_SSD];
  const sets = [...split(Number(prefillNodes)), ...room];
  return { ...sharedRun(workload, prefill, sets), oneToken: true };
}
