/**
 * Figure 14: one request alone, by prompt length: prefill without and with 95 % of the prompt
 * cached, transfer between nodes, load into HBM, 128 steps of decode. With the testbed's blocks of
 * 256 tokens, the cached part rounded down and loaded before it is used.
 */
import { loadConfig } from '../../../config/load.ts';
import { resolveConfig } from '../../../config/resolve.ts';
import { Tier } from '../../../core/topology.ts';
import { lineChart, quantityRows } from '../charts.ts';
import { paperList } from '../paper-data.ts';
import { type Figure, NO_TRACE } from '../types.ts';

const BLOCK_TOKENS = 256;
const CACHED_SHARE = 0.95;
const STEPS = 128;
const PROMPTS = [8192, 16_384, 32_768, 65_536, 131_072];

const LINES = {
  prefill0: 'prefill, nothing cached',
  prefill95: 'prefill, 95 % cached',
  transfer: 'transfer',
  load: 'load',
  decode128: 'decode, 128 tokens',
} as const;

export const figure14: Figure = {
  key: 'fig14LatencySeconds',
  name: 'Figure 14',
  basis: 'fitted',
  isOf: (workload) => workload === NO_TRACE,
  runs: () => ({}),
  async make(input) {
    const prompts = paperList(input.paper, 'promptTokens', PROMPTS);
    const measures = prompts.map(await measurer());
    const quantities = new Map<string, number | null>();
    for (const line of Object.keys(LINES) as (keyof typeof LINES)[]) {
      for (const [i, measure] of measures.entries()) {
        quantities.set(`${line}.${i}`, measure[line] / 1e9);
      }
    }
    const lines = Object.entries(LINES).map(([path, name]) => ({ name, path }));
    const chart = lineChart(input, quantities, prompts, lines, {
      id: 'figure-14',
      title: 'Figure 14: one request alone',
      note: 'LLaMA3-70B on 8 x A800. Constants are fitted to it.',
      xTitle: 'prompt, tokens',
      yTitle: 'seconds',
      format: '~g',
      logX: true,
      logY: true,
    });
    return { quantities: quantityRows(quantities), charts: [chart], notes: [] };
  },
};

/** Times of each part by prompt length, ns. */
async function measurer() {
  const { topology, truth, estimator } = resolveConfig(await loadConfig(), BLOCK_TOKENS);
  const [node] = topology.nodes;
  const [cost] = truth;
  const loadNs = (tokens: number) =>
    node.hostToDeviceLatencyNs +
    (tokens * topology.kv.bytesPerToken[Tier.dram]) / node.hostToDeviceBytesPerNs;
  return (tokens: number): Record<keyof typeof LINES, number> => {
    const cached = Math.floor((CACHED_SHARE * tokens) / BLOCK_TOKENS) * BLOCK_TOKENS;
    let decode128 = 0;
    for (let step = 0; step < STEPS; step++) decode128 += cost.decodeStepNs(1, tokens + step);
    return {
      prefill0: cost.prefillNs(0, tokens, true),
      prefill95: loadNs(cached) + cost.prefillNs(cached, tokens, true),
      transfer: estimator.transferNs(0, 1, tokens),
      load: loadNs(tokens),
      decode128,
    };
  };
}
