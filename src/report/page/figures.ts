/**
 * Every figure of a report, declared. How a kind of figure is drawn is in ../specs.ts, what it
 * shows of a range of time in rows.ts.
 */
import { duration, integer, percent } from '../../metrics/format.ts';

/** Names of the palette in ../theme.ts; pages know them as CSS variables. */
export type Colour =
  | 'blue'
  | 'orange'
  | 'green'
  | 'purple'
  | 'sky'
  | 'vermilion'
  | 'yellow'
  | 'grey';

/** How a quantity is drawn (times factor) and said. */
export interface Measure {
  readonly axis: string;
  readonly factor: number;
  /** d3-format of the axis. */
  readonly format: string;
  readonly say: (value: number) => string;
}

const count = (value: number) => (value < 10 ? String(Number(value.toFixed(1))) : integer(value));
const rate = (value: number) => `${value < 10 ? value.toFixed(2) : integer(value)}/s`;

export const MEASURES = {
  seconds: { axis: 'seconds', factor: 1e-9, format: ',~r', say: duration },
  milliseconds: { axis: 'milliseconds', factor: 1e-6, format: ',~r', say: duration },
  requests: { axis: 'requests', factor: 1, format: ',~r', say: count },
  share: { axis: '', factor: 1, format: '.2~p', say: percent },
  requestRate: { axis: 'requests per second', factor: 1, format: ',~r', say: rate },
  blockRate: { axis: 'blocks per second', factor: 1, format: ',~r', say: rate },
} as const satisfies Record<string, Measure>;
export type MeasureName = keyof typeof MEASURES;

/** Where the value of some bins comes from. */
export type Source =
  /** A series of PageRun.lines, added up, per second. */
  | { readonly sum: string }
  /** One of PageRun.lines, averaged, or the most of it. */
  | { readonly mean: string }
  | { readonly most: string }
  /** Mean or percentile over requests, by the bin of their first token or of their end. */
  | {
      readonly requests: LatencyColumn;
      readonly at: 'first' | 'end';
      readonly as: 'mean' | number;
    };

export type LatencyColumn = 'ttft' | 'tbt' | 'queue' | 'transfer' | 'load' | 'compute';

/** One line, area or colour of bars. */
export interface Line {
  readonly label: string;
  readonly colour: Colour;
  readonly dashed?: boolean;
  readonly of: Source;
}

interface Common {
  readonly id: string;
  readonly title: string;
  /** What is seen, in a line. */
  readonly note: string;
}

/** Something over time. */
export interface TimeFigure extends Common {
  readonly kind: 'time';
  readonly mark: 'line' | 'stack' | 'bars';
  readonly measure: MeasureName;
  readonly lines: readonly Line[];
  /** Shares of their sum in place of the values. */
  readonly share?: true;
  /** Line that several runs are compared by; stacks become one bar per run instead. */
  readonly compare?: { readonly line: number; readonly title: string };
  /** Said in place of a figure of zeros. */
  readonly empty?: string;
  /** Shows the whole run and the range in it, whatever the range. */
  readonly overview?: true;
}

/** A row per instance or node over time: the darker, the more. */
export interface HeatFigure extends Common {
  readonly kind: 'heat';
  readonly key: string;
  readonly measure: 'share' | 'requests';
}

/** Distribution of a latency over the requests. */
export interface CdfFigure extends Common {
  readonly kind: 'cdf';
}

/** Stacked bars, one per run or request. */
export interface PartsFigure extends Common {
  readonly kind: 'parts';
  readonly measure: MeasureName;
  readonly lines: readonly Line[];
  /** Figure over time whose totals these are; without it: the slowest requests. */
  readonly totals?: TimeFigure;
}

export type Figure = TimeFigure | HeatFigure | CdfFigure | PartsFigure;

export interface Section {
  readonly title: string;
  readonly figures: readonly Figure[];
}

function part(requests: LatencyColumn, label: string, colour: Colour): Line {
  return { label, colour, of: { requests, at: 'first', as: 'mean' } };
}

/** Percentiles and mean of a latency. */
function latencies(requests: LatencyColumn, at: 'first' | 'end'): Line[] {
  return [
    { label: '99th percentile', colour: 'vermilion', of: { requests, at, as: 0.99 } },
    { label: 'mean', colour: 'blue', of: { requests, at, as: 'mean' } },
    { label: 'median', colour: 'green', dashed: true, of: { requests, at, as: 0.5 } },
  ];
}

function sums(...lines: readonly [series: string, label: string, colour: Colour][]): Line[] {
  return lines.map(([series, label, colour]) => ({ label, colour, of: { sum: series } }));
}

/** Where the time to the first token goes. */
const TTFT_PARTS: readonly Line[] = [
  part('compute', 'prefill compute', 'blue'),
  part('load', 'load into HBM', 'sky'),
  part('transfer', 'transfer from peers', 'green'),
  part('queue', 'queue', 'orange'),
];

export const OVERVIEW: TimeFigure = {
  kind: 'time',
  id: 'arrivals',
  title: 'Requests over time',
  note: 'Arrivals; drag to choose a range of time.',
  mark: 'bars',
  measure: 'requestRate',
  lines: sums(['arrived_requests', 'arrived', 'grey']),
  overview: true,
};

const LATENCY: readonly Figure[] = [
  {
    kind: 'time',
    id: 'ttft',
    title: 'Time to first token',
    note: 'Of the requests whose prefill ended in each bin.',
    mark: 'line',
    measure: 'seconds',
    lines: latencies('ttft', 'first'),
    compare: { line: 0, title: 'Time to first token, 99th percentile' },
  },
  {
    kind: 'cdf',
    id: 'ttft-cdf',
    title: 'Distribution of the time to first token',
    note: 'Share of requests that had their first token within a time; log scale.',
  },
  {
    kind: 'time',
    id: 'breakdown',
    title: 'Where the time to first token goes',
    note: 'Mean parts; together they are the mean TTFT.',
    mark: 'stack',
    measure: 'seconds',
    lines: TTFT_PARTS,
  },
  {
    kind: 'time',
    id: 'tbt',
    title: 'Time between tokens',
    note: 'Mean of the longest 10 % of the gaps of each request that completed.',
    mark: 'line',
    measure: 'milliseconds',
    lines: latencies('tbt', 'end'),
    compare: { line: 0, title: 'Time between tokens, 99th percentile' },
  },
];

const QUEUES: readonly Figure[] = [
  {
    kind: 'time',
    id: 'queue',
    title: 'Waiting for prefill',
    note: 'Requests in the queue of an instance.',
    mark: 'line',
    measure: 'requests',
    lines: [
      { label: 'longest queue', colour: 'vermilion', of: { most: 'queued_requests.max' } },
      { label: 'mean queue', colour: 'blue', of: { mean: 'queued_requests.mean' } },
    ],
    compare: { line: 1, title: 'Waiting for prefill, mean queue' },
  },
  {
    kind: 'time',
    id: 'batch',
    title: 'Decoding',
    note: 'Requests in the batch of an instance.',
    mark: 'line',
    measure: 'requests',
    lines: [
      { label: 'largest batch', colour: 'vermilion', of: { most: 'decoding_requests.max' } },
      { label: 'mean batch', colour: 'blue', of: { mean: 'decoding_requests.mean' } },
    ],
    compare: { line: 1, title: 'Decoding, mean batch' },
  },
  {
    kind: 'heat',
    id: 'queue-instances',
    title: 'Prefill queues by instance',
    note: 'Requests waiting.',
    key: 'queued_requests',
    measure: 'requests',
  },
  {
    kind: 'heat',
    id: 'batch-instances',
    title: 'Decode batches by instance',
    note: 'Requests decoding.',
    key: 'decoding_requests',
    measure: 'requests',
  },
];

function link(id: string, key: string, title: string): HeatFigure {
  const note = 'Share of what the node could have moved; idle nodes are left out.';
  return { kind: 'heat', id, title, note, key, measure: 'share' };
}

const UTILISATION: readonly Figure[] = [
  {
    kind: 'heat',
    id: 'busy',
    title: 'GPUs by instance',
    note: 'Share of the time that they were busy.',
    key: 'busy_ratio',
    measure: 'share',
  },
  link('rails-in', 'rails_in_ratio', 'Rails, in'),
  link('rails-out', 'rails_out_ratio', 'Rails, out'),
  link('device-to-host', 'device_to_host_ratio', 'Device to host'),
  link('host-to-device', 'host_to_device_ratio', 'Host to device'),
  {
    kind: 'time',
    id: 'utilisation',
    title: 'Mean utilisation',
    note: 'Of the instances and nodes that do such work.',
    mark: 'line',
    measure: 'share',
    lines: [
      { label: 'GPUs, prefill', colour: 'blue', of: { mean: 'prefill_busy_ratio.mean' } },
      { label: 'GPUs, decode', colour: 'vermilion', of: { mean: 'decode_busy_ratio.mean' } },
      { label: 'rails out', colour: 'green', of: { mean: 'rails_out_ratio.mean' } },
      { label: 'rails in', colour: 'purple', dashed: true, of: { mean: 'rails_in_ratio.mean' } },
    ],
    compare: { line: 0, title: 'Mean utilisation of the prefill GPUs' },
  },
];

const CACHE: readonly Figure[] = [
  {
    kind: 'time',
    id: 'hits',
    title: 'Prompt tokens by source',
    note: 'All but the computed ones are cache hits.',
    mark: 'stack',
    measure: 'share',
    share: true,
    lines: sums(
      ['hbm_tokens', 'own HBM', 'orange'],
      ['dram_tokens', 'own DRAM', 'blue'],
      ['ssd_tokens', 'own SSD', 'purple'],
      ['peer_tokens', "a peer's cache", 'green'],
      ['miss_tokens', 'computed', 'grey'],
    ),
  },
  {
    kind: 'time',
    id: 'evictions',
    title: 'Blocks stored and evicted',
    note: 'DRAM caches of all nodes.',
    mark: 'line',
    measure: 'blockRate',
    lines: [
      { label: 'stored', colour: 'blue', of: { sum: 'dram_stored_blocks.sum' } },
      {
        label: 'evicted',
        colour: 'vermilion',
        dashed: true,
        of: { sum: 'dram_evicted_blocks.sum' },
      },
    ],
    compare: { line: 1, title: 'Blocks evicted' },
  },
  {
    kind: 'time',
    id: 'occupancy',
    title: 'DRAM cache in use',
    note: 'Readable blocks, share of the capacity of the nodes that have any.',
    mark: 'line',
    measure: 'share',
    lines: [
      { label: 'fullest node', colour: 'vermilion', of: { most: 'dram_used_ratio.max' } },
      { label: 'mean node', colour: 'blue', of: { mean: 'dram_used_ratio.mean' } },
    ],
    compare: { line: 1, title: 'DRAM cache in use, mean node' },
  },
  {
    kind: 'heat',
    id: 'occupancy-nodes',
    title: 'DRAM cache by node',
    note: 'Share of its capacity in use; unused ones are left out.',
    key: 'dram_used_ratio',
    measure: 'share',
  },
];

const ENDS: readonly Figure[] = [
  {
    kind: 'time',
    id: 'throughput',
    title: 'Arrivals and completions',
    note: 'Requests per second.',
    mark: 'line',
    measure: 'requestRate',
    lines: [
      { label: 'arrived', colour: 'blue', of: { sum: 'arrived_requests' } },
      { label: 'completed', colour: 'green', dashed: true, of: { sum: 'completed_requests' } },
    ],
    compare: { line: 1, title: 'Completions' },
  },
  {
    kind: 'time',
    id: 'rejections',
    title: 'Rejections by cause',
    note: 'Requests turned away, failed or cancelled.',
    mark: 'bars',
    measure: 'requestRate',
    lines: sums(
      ['rejected_ttft_requests', 'TTFT would miss', 'vermilion'],
      ['rejected_tbt_requests', 'TBT would miss', 'orange'],
      ['rejected_queue_full_requests', 'queue full', 'purple'],
      ['rejected_decode_full_requests', 'decode full', 'green'],
      ['rejected_too_large_requests', 'too large', 'sky'],
      ['rejected_policy_requests', 'policy', 'blue'],
      ['failed_requests', 'failed', 'yellow'],
      ['cancelled_requests', 'cancelled', 'grey'],
    ),
    empty: 'No request was rejected.',
  },
  {
    kind: 'parts',
    id: 'slowest',
    title: 'Slowest first tokens',
    note: 'Where the time of the requests with the highest TTFT went.',
    measure: 'seconds',
    lines: TTFT_PARTS,
  },
];

const SECTIONS: readonly Section[] = [
  { title: 'Latency', figures: LATENCY },
  { title: 'Queues', figures: QUEUES },
  { title: 'Utilisation', figures: UTILISATION },
  { title: 'Cache', figures: CACHE },
  { title: 'Requests', figures: ENDS },
];

/** A figure as one report shows it. */
export interface Shown {
  readonly id: string;
  readonly title: string;
  readonly figure: Figure;
  /** Run that it shows, where runs do not share a figure; else -1. */
  readonly run: number;
}

export interface ShownSection {
  readonly title: string;
  /** Figures that stand side by side: one, or one per run. */
  readonly groups: readonly (readonly Shown[])[];
}

/** More runs than these are compared without heat maps, of which each has its own. */
const HEAT_RUNS = 3;

/** The figures of a report of these runs. */
export function sectionsFor(runs: readonly string[]): ShownSection[] {
  const show = (figure: Figure): Shown[] => {
    const { id, title } = figure;
    if (runs.length === 1) return [{ id, title, figure, run: 0 }];
    if (figure.kind !== 'heat') return [overlaid(figure)];
    if (runs.length > HEAT_RUNS) return [];
    return runs.map((name, run) => ({
      id: `${id}-${run}`,
      title: `${title}: ${name}`,
      figure,
      run,
    }));
  };
  return SECTIONS.map(({ title, figures }) => ({
    title,
    groups: figures.map(show).filter((group) => group.length > 0),
  }));
}

export function figuresFor(runs: readonly string[]): Shown[] {
  return sectionsFor(runs).flatMap(({ groups }) => groups.flat());
}

/** One figure for several runs. */
function overlaid(figure: Figure): Shown {
  const { id, title, note } = figure;
  if (figure.kind !== 'time') return { id, title, figure, run: -1 };
  if (figure.compare !== undefined) return { id, title: figure.compare.title, figure, run: -1 };
  const { lines, measure } = figure;
  const parts = { kind: 'parts', id, title, note, measure, lines, totals: figure } as const;
  return { id, title, figure: parts, run: -1 };
}

/** Colours of runs that share a figure, in order. */
export const RUN_COLOURS: readonly Colour[] = [
  'blue',
  'vermilion',
  'green',
  'purple',
  'orange',
  'sky',
  'yellow',
  'grey',
];

/** Series of PageRun.lines that figures show. */
export function shownSeries(): Set<string> {
  const figures = SECTIONS.flatMap(({ figures }) => figures);
  const lines = [OVERVIEW, ...figures].flatMap((figure) => ('lines' in figure ? figure.lines : []));
  return new Set(
    lines.flatMap(({ of }) => {
      if ('sum' in of) return [of.sum];
      if ('mean' in of) return [of.mean];
      return 'most' in of ? [of.most] : [];
    }),
  );
}
