/** What a live replay was, in a few lines. */
import type { LiveResult } from '../study/live/results.ts';
import { table } from './table.ts';

const MS = 1e6;

export function liveTable({ live, requests, ttftNs, tbtNs, hit }: LiveResult): string {
  const ms = (ns: number | null) => (ns === null ? '-' : `${(ns / MS).toFixed(1)} ms`);
  const percent = (share: number | null) =>
    share === null ? '-' : `${(share * 100).toFixed(1)} %`;
  const rows = [
    ['requests', `${requests.completed} of ${requests.arrived} completed`],
    ['TTFT', `mean ${ms(ttftNs.mean)}, p99 ${ms(ttftNs.p99)}`],
    ['TBT', `mean ${ms(tbtNs.mean)}, p99 ${ms(tbtNs.p99)}`],
    ['hit', `${percent(hit.tokensRatio)} of tokens`],
    ['moved', `${(live.movedBytes / 1e9).toFixed(2)} GB in ${live.verifiedBlocks} blocks`],
    ['verified', `all of them, ${live.checksumFailures} checksum failures`],
  ];
  const head = [`${live.nodes} nodes`, `speed ${live.speed}, block ${live.blockBytes} B`];
  return `${table(head, rows, [1])}\n`;
}
