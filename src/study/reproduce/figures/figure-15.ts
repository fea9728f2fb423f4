/** Figure 15: how the 16 nodes are split into prefill and decode. TTFT 10 s, TBT 100 ms. */
import { lineChart, quantityRows } from '../charts.ts';
import { sharedRun, split } from '../knobs.ts';
import type { PaperData } from '../paper-data.ts';
import type { Figure } from '../types.ts';
import { NO_TRACE } from '../types.ts';
import { effectivePercent } from './figure-1.ts';

const NODES = 16;
const PREFILL = [5, 6, 7, 8, 9, 10, 11];
const TTFT_NS = 10e9;
const TBT_NS = 100e6;

export const figure15: Figure = {
  key: 'fig15PrefillDecodeSplit',
  name: 'Figure 15',
  basis: 'predicted',
  isOf: (workload) => workload !== NO_TRACE,
  runs: (workload, paper) =>
    Object.fromEntries(
      prefillNodes(paper).map((prefill) => [
        prefill,
        sharedRun(workload, undefined, split(prefill)),
      ]),
    ),
  make(input) {
    const { workload, runs, paper } = input;
    const nodes = prefillNodes(paper);
    const quantities = new Map<string, number | null>();
    const each = (path: string, value: (run: (typeof runs)[string]) => number | null) => {
      for (const [i, prefill] of nodes.entries())
        quantities.set(`${path}.${i}`, value(runs[prefill]));
    };
    each('effectivePercent', (run) => effectivePercent(run, TBT_NS, TTFT_NS));
    each('meanTtftSeconds', ({ result }) => scaled(result.ttftNs.mean, 1e9));
    each('meanTbtMs', ({ result }) => scaled(result.tbtNs.mean, 1e6));
    const chart = (path: string, title: string, yTitle: string) =>
      lineChart(input, quantities, nodes, [{ name: title, path }], {
        id: `figure-15-${path}-${workload}`,
        title: `Figure 15: ${title} by split, ${workload}`,
        note: `Prefill nodes of ${NODES}. TTFT 10 s, TBT 100 ms.`,
        xTitle: 'prefill nodes',
        yTitle,
        format: '~s',
      });
    return {
      quantities: quantityRows(quantities),
      charts: [
        chart('effectivePercent', 'requests within both SLOs', 'percent'),
        chart('meanTtftSeconds', 'mean TTFT', 'seconds'),
        chart('meanTbtMs', 'mean TBT', 'ms'),
      ],
      notes: [],
    };
  },
};

/** `split` holds texts such as 5P11D, or numbers of prefill nodes. */
function prefillNodes({ split: list }: PaperData): number[] {
  if (!Array.isArray(list)) return PREFILL;
  const nodes = list.map((entry) => Number.parseInt(String(entry), 10));
  return nodes.every((n) => n >= 1 && n < NODES) ? nodes : PREFILL;
}

function scaled(ns: number | null, unit: number): number | null {
  return ns === null ? null : ns / unit;
}
