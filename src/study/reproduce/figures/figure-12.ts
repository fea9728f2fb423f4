/** Figure 12: time of one large transfer between two nodes, transfer engine against TCP. */

import { lawNs, TESTBEDS, TRANSPORTS } from '../../../model/transports.ts';
import type { PaperChart } from '../../../report/paper-chart.ts';
import { lineChart, quantityRows } from '../charts.ts';
import { paperList } from '../paper-data.ts';
import { type Figure, NO_TRACE } from '../types.ts';

const GIGABYTES = [1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
const BYTES_PER_GB = 1e9;
const NAMES = { transferEngine: 'transfer engine', tcp: 'TCP' } as const;

export const figure12: Figure = {
  key: 'fig12TransferSeconds',
  name: 'Figure 12',
  basis: 'fitted',
  isOf: (workload) => workload === NO_TRACE,
  runs: () => ({}),
  make(input) {
    const gigabytes = paperList(input.paper, 'gigabytes', GIGABYTES);
    const quantities = new Map<string, number | null>();
    for (const testbed of TESTBEDS) {
      for (const transport of TRANSPORTS) {
        for (const [i, size] of gigabytes.entries()) {
          const seconds = lawNs(testbed, transport, size * BYTES_PER_GB) / 1e9;
          quantities.set(`${testbed}.${transport}.${i}`, seconds);
        }
      }
    }
    const charts = TESTBEDS.map((testbed): PaperChart => {
      const lines = TRANSPORTS.map((transport) => ({
        name: NAMES[transport],
        path: `${testbed}.${transport}`,
      }));
      return lineChart(input, quantities, gigabytes, lines, {
        id: `figure-12-${testbed}`,
        title: `Figure 12: one large transfer, ${testbed.replace('x', ' x ')} Gb/s`,
        note: '64 threads, pieces of 128 KiB. The laws are fitted to it.',
        xTitle: 'GB',
        yTitle: 'seconds',
        format: '~g',
      });
    });
    return { quantities: quantityRows(quantities), charts, notes: [] };
  },
};
