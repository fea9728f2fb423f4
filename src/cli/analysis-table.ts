/** The words and tables of `moontide trace analyse`. */
import type { TraceAnalysis } from '../study/cache/index.ts';
import { bar, duration, integer, percent } from './format.ts';
import { paint, table } from './table.ts';

const BAR_CHARS = 30;

type Bins = TraceAnalysis['reuse']['distanceBlocks'];

export function analysisTable(analysis: TraceAnalysis): string {
  const { reuse, workingSet } = analysis;
  return [
    paint('bold', analysisHeadline(analysis)),
    analysisFacts(analysis).join('\n'),
    histogram('reuse distance, blocks', reuse.distanceBlocks, integer),
    histogram('reuse time', reuse.timeNs, duration),
    working(workingSet),
  ].join('\n\n');
}

export function analysisHeadline({ accesses, distinctBlocks }: TraceAnalysis): string {
  return `${integer(accesses)} accesses to ${integer(distinctBlocks)} blocks`;
}

export function analysisFacts(analysis: TraceAnalysis): string[] {
  const { accesses, reuse, popularity, prefixTree, sharing, lifetimeNs } = analysis;
  const reuses = sharing.reusesWithin + sharing.reusesAcross;
  const facts = [
    `${percent(reuse.cold / accesses)} of accesses are first ones, ` +
      `${percent(popularity.usedOnceShare)} of blocks are used once`,
    ...popularity.topShares
      .filter((_, i) => i % 5 === 0)
      .map(
        ({ blocks, accessesShare }) =>
          `the ${integer(blocks)} most popular blocks take ${percent(accessesShare)} of accesses`,
      ),
    popularity.zipfExponent === null
      ? ''
      : `popularity falls with rank to the power ${popularity.zipfExponent.toFixed(2)}`,
    `prefix tree: ${integer(prefixTree.roots)} roots, ${integer(prefixTree.forks)} forks, ` +
      `${integer(prefixTree.leaves)} leaves, ${integer(prefixTree.depthMax)} deep`,
    `${integer(sharing.sessions)} sessions (${sharing.sessionsFrom}): ` +
      `${percent(sharing.reusesAcross / Math.max(1, reuses))} of reuse is across sessions`,
    `a block that is used again lives ${duration(lifetimeNs.mean)} on average`,
  ];
  return facts.filter((fact) => fact !== '');
}

function histogram(name: string, bins: Bins, text: (value: number) => string): string {
  const most = Math.max(1, ...bins.map(({ count }) => count));
  const rows = bins
    .filter(({ count }) => count > 0)
    .map(({ to, count }) => [`below ${text(to)}`, integer(count), bar(count / most, BAR_CHARS)]);
  return table([name, 'accesses', ''], rows, [2]);
}

function working(windows: TraceAnalysis['workingSet']): string {
  const shown = windows.filter((_, i) => i % Math.ceil(windows.length / 12) === 0);
  return table(
    ['from', 'accesses', 'distinct blocks', 'new', 'seen so far'],
    shown.map((w) => [
      duration(w.fromNs),
      integer(w.accesses),
      integer(w.distinctBlocks),
      integer(w.newBlocks),
      integer(w.seenBlocks),
    ]),
  );
}
