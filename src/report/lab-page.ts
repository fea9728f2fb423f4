/** The pages of `cache` and `trace analyse`: which figures show what the laboratory found. */
import { basename, dirname } from 'node:path';
import { duration, integer, percent } from '../metrics/format.ts';
import { replaceFiles } from './files.ts';
import type { Bin, LabFigure } from './lab-figures.ts';
import { labHtml, type PageTable, type PageWords } from './lab-html.ts';
import type { Line } from './lab-lines.ts';

export interface CachePage extends PageWords {
  readonly semantics: string;
  readonly rows: readonly {
    readonly policy: string;
    /** Null is without limit. */
    readonly capacityBlocks: number | null;
    readonly hitRatio: number;
    readonly savedPrefillSeconds: number | null;
  }[];
  readonly curve: {
    readonly kind: string;
    readonly points: readonly {
      readonly capacityBlocks: number;
      readonly hitRatio: number;
      /** Standard error, of a sampled curve. */
      readonly hitRatioError: number | null;
    }[];
    readonly targets: readonly { readonly share: number; readonly capacityBlocks: number }[];
  } | null;
  readonly table: PageTable;
}

export interface AnalysisPage extends PageWords {
  readonly reuse: { readonly distanceBlocks: readonly Bin[]; readonly timeNs: readonly Bin[] };
  readonly popularity: {
    readonly ranks: readonly { readonly rank: number; readonly accesses: number }[];
  };
  readonly workingSet: readonly {
    readonly fromNs: number;
    readonly toNs: number;
    readonly distinctBlocks: number;
    readonly newBlocks: number;
    readonly seenBlocks: number;
  }[];
  readonly prefixTree: {
    readonly blocksByDepth: readonly Bin[];
    readonly requestsBySharedDepth: readonly Bin[];
  };
}

const NS_PER_MINUTE = 60e9;

/** Writes the page whole or not at all; answers its path. */
export async function writeCachePage(path: string, page: CachePage): Promise<string> {
  return write(path, await cacheHtml(page));
}

/** Writes the page whole or not at all; answers its path. */
export async function writeAnalysisPage(path: string, page: AnalysisPage): Promise<string> {
  return write(path, await analysisHtml(page));
}

function write(path: string, html: string): string {
  return replaceFiles(dirname(path), new Map([[basename(path), html]]))[0];
}

// --- cache --------------------------------------------------------------------------------------

export function cacheHtml(page: CachePage): Promise<string> {
  const { rows } = page;
  const saved = rows.filter((row) => row.savedPrefillSeconds !== null);
  const figures = [
    ...againstCapacity(rows, ({ hitRatio }) => hitRatio, {
      title: 'Hit ratio',
      note: `Share of block accesses that hit, ${page.semantics} semantics.`,
      yTitle: '',
      format: '.0%',
      text: percent,
    }),
    ...againstCapacity(saved, ({ savedPrefillSeconds }) => savedPrefillSeconds ?? 0, {
      title: 'Prefill saved',
      note: 'GPU time that hits spare.',
      yTitle: 'GPU seconds',
      format: '~s',
      text: (value) => `${integer(value)} GPU s`,
    }),
    ...(page.curve === null ? [] : curveFigure(page.curve)),
  ];
  return labHtml('Moontide cache', page, figures, page.table);
}

type CacheRows = CachePage['rows'];

interface Measure {
  readonly title: string;
  readonly note: string;
  readonly yTitle: string;
  readonly format: string;
  readonly text: (value: number) => string;
}

const CAPACITY = 'capacity, blocks';

/** None without a finite capacity. */
function againstCapacity(
  rows: CacheRows,
  value: (row: CacheRows[number]) => number,
  { text, note, ...rest }: Measure,
): LabFigure[] {
  const points = new Map<string, { x: number; y: number }[]>();
  const unlimited: { policy: string; y: number }[] = [];
  for (const row of rows) {
    const { policy, capacityBlocks: x } = row;
    if (x === null) unlimited.push({ policy, y: value(row) });
    else points.set(policy, [...(points.get(policy) ?? []), { x, y: value(row) }]);
  }
  if (points.size === 0) return [];
  const lines = [...points].map(([name, all]) => ({
    name,
    points: all.toSorted((a, b) => a.x - b.x),
  }));
  const limit = unlimited.length === 0 ? null : Math.max(...unlimited.map(({ y }) => y));
  const below = unlimited.filter(({ y }) => limit !== null && text(y) !== text(limit));
  const others = below.map(({ policy, y }) => `${policy} ${text(y)}`).join(', ');
  return [
    {
      kind: 'lines',
      ...rest,
      note: others === '' ? note : `${note} Without limit, less than the line: ${others}.`,
      lines,
      xTitle: CAPACITY,
      logX: true,
      reference: limit === null ? null : { y: limit, label: `without limit: ${text(limit)}` },
    },
  ];
}

function curveFigure({ kind, points, targets }: NonNullable<CachePage['curve']>): LabFigure[] {
  const drawn = points.filter(({ capacityBlocks }) => capacityBlocks > 0);
  if (drawn.length === 0) return [];
  const band = drawn.flatMap(({ capacityBlocks: x, hitRatio, hitRatioError: error }) =>
    error === null
      ? []
      : [{ x, low: Math.max(0, hitRatio - error), high: Math.min(1, hitRatio + error) }],
  );
  const marked = targets.map(({ share, capacityBlocks: x }) => {
    const above = drawn.find(({ capacityBlocks }) => capacityBlocks >= x);
    const y = (above ?? drawn[drawn.length - 1]).hitRatio;
    return { x, y, label: `${percent(share)}: ${integer(x)} blocks` };
  });
  const notes = [
    'Hit ratio of LRU at every capacity.',
    ...(band.length > 0 ? ['The band is one standard error to both sides.'] : []),
    ...(marked.length > 0 ? ['Marked: capacities for shares of the reachable hits.'] : []),
  ];
  return [
    {
      kind: 'lines',
      title: `LRU at all capacities (${kind})`,
      note: notes.join(' '),
      lines: [{ name: 'lru', points: drawn.map((p) => ({ x: p.capacityBlocks, y: p.hitRatio })) }],
      xTitle: CAPACITY,
      yTitle: '',
      format: '.0%',
      logX: true,
      marked,
      band,
    },
  ];
}

// --- analysis -----------------------------------------------------------------------------------

export function analysisHtml(page: AnalysisPage): Promise<string> {
  const { reuse, popularity, workingSet, prefixTree } = page;
  const startNs = workingSet[0]?.fromNs ?? 0;
  const over = (name: string, y: (window: (typeof workingSet)[number]) => number): Line => ({
    name,
    points: workingSet.map((window) => ({
      x: ((window.fromNs + window.toNs) / 2 - startNs) / NS_PER_MINUTE,
      y: y(window),
    })),
  });
  const [window] = workingSet;
  const length = window === undefined ? '' : ` of ${duration(window.toNs - window.fromNs)}`;
  const time = { kind: 'lines', xTitle: 'minutes since the start', format: '~s' } as const;
  const figures: LabFigure[] = [
    {
      kind: 'histogram',
      title: 'Reuse distance',
      note: 'Distinct blocks touched since the last access.',
      bins: reuse.distanceBlocks,
      end: integer,
      xTitle: 'blocks',
      yTitle: 'accesses',
    },
    {
      kind: 'histogram',
      title: 'Reuse time',
      note: "Time since the block's last access.",
      bins: reuse.timeNs,
      end: duration,
      xTitle: 'time',
      yTitle: 'accesses',
    },
    {
      kind: 'lines',
      title: 'Popularity by rank',
      note: 'Accesses of the block at each rank; both axes are logarithmic.',
      lines: [
        {
          name: 'accesses',
          points: popularity.ranks.map(({ rank, accesses }) => ({ x: rank, y: accesses })),
        },
      ],
      xTitle: 'rank',
      yTitle: 'accesses',
      format: '~s',
      logX: true,
      logY: true,
    },
    {
      ...time,
      title: 'Working set over time',
      note: `Distinct blocks in windows${length}, and those never seen before.`,
      lines: [
        over('distinct', ({ distinctBlocks }) => distinctBlocks),
        over('new', ({ newBlocks }) => newBlocks),
      ],
      yTitle: 'blocks',
    },
    {
      ...time,
      title: 'Blocks seen so far',
      note: 'All distinct blocks up to the end of a window.',
      lines: [over('seen', ({ seenBlocks }) => seenBlocks)],
      yTitle: 'blocks',
    },
    {
      kind: 'histogram',
      title: 'Depth in the prefix tree',
      note: 'Distinct blocks by the blocks before them.',
      bins: prefixTree.blocksByDepth,
      end: integer,
      xTitle: 'depth, blocks',
      yTitle: 'distinct blocks',
    },
    {
      kind: 'histogram',
      title: 'Shared prefix',
      note: 'Requests by the leading blocks that an earlier one had.',
      bins: prefixTree.requestsBySharedDepth,
      end: integer,
      xTitle: 'shared leading blocks',
      yTitle: 'requests',
    },
  ];
  return labHtml('Moontide trace analysis', page, figures.filter(isFilled), null);
}

function isFilled(figure: LabFigure): boolean {
  if (figure.kind === 'histogram') return figure.bins.some(({ count }) => count > 0);
  const lines = figure.kind === 'lines' ? figure.lines : figure.series;
  return lines.some(({ points }) => points.length > 0);
}
