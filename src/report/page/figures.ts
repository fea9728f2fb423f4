/**
 * Every figure of a report, declared. How a kind of figure is drawn is in ../specs.ts, what it shows
 * of a range of time in rows.ts.
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

const count = (value: number) =>
  value < 10 ? String(Math.round(value * 10) / 10) : integer(value);

export const MEASURES = {
  seconds: { axis: 'seconds', factor: 1e-9, format: '~s', say: duration },
  milliseconds: { axis: 'milliseconds', factor: 1e-6, format: '~s', say: duration },
  requests: { axis: 'requests', factor: 1, format: '~s', say: count },
  share: { axis: '', factor: 1, format: '.0%', say: percent },
  requestsPerBin: { axis: 'requests per BIN', factor: 1, format: '~s', say: count },
  blocksPerBin: { axis: 'blocks per BIN', factor: 1, format: '~s', say: count },
} as const satisfies Record<string, Measure>;
export type MeasureName = keyof typeof MEASURES;

/** One line, area or colour of bars. */
export interface Line {
  /** Of PageRun.lines. */
  readonly key: string;
  readonly label: string;
  readonly colour: Colour;
  readonly dashed?: boolean;
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
  /** Series that a mean over several bins is weighted by; without it the bins are added. */
  readonly weight?: string;
  /** Line that several runs are compared by; stacks become one bar per run instead. */
  readonly compare?: { readonly key: string; readonly title: string };
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

/** Where the time to the first token goes. */
const TTFT_PARTS: readonly Line[] = [
  { key: 'compute_ns_mean', label: 'prefill compute', colour: 'blue' },
  { key: 'load_ns_mean', label: 'load into HBM', colour: 'sky' },
  { key: 'transfer_ns_mean', label: 'transfer from peers', colour: 'green' },
  { key: 'queue_ns_mean', label: 'queue', colour: 'orange' },
];

export const OVERVIEW: TimeFigure = {
  kind: 'time',
  id: 'arrivals',
  title: 'Requests over time',
  note: 'Arrivals; drag to choose a range of time.',
  mark: 'bars',
  measure: 'requestsPerBin',
  lines: [{ key: 'arrived_requests', label: 'arrived', colour: 'grey' }],
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
    lines: [
      { key: 'ttft_ns_p99', label: '99th percentile', colour: 'vermilion' },
      { key: 'ttft_ns_mean', label: 'mean', colour: 'blue' },
      { key: 'ttft_ns_p50', label: 'median', colour: 'green', dashed: true },
    ],
    compare: { key: 'ttft_ns_p99', title: 'Time to first token, 99th percentile' },
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
    weight: 'prefilled_requests',
  },
  {
    kind: 'time',
    id: 'tbt',
    title: 'Time between tokens',
    note: 'Mean of the longest 10 % of the gaps of each request that completed.',
    mark: 'line',
    measure: 'milliseconds',
    lines: [
      { key: 'tbt_ns_p99', label: '99th percentile', colour: 'vermilion' },
      { key: 'tbt_ns_mean', label: 'mean', colour: 'blue' },
      { key: 'tbt_ns_p50', label: 'median', colour: 'green', dashed: true },
    ],
    compare: { key: 'tbt_ns_p99', title: 'Time between tokens, 99th percentile' },
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
      { key: 'queued_requests.max', label: 'longest queue', colour: 'vermilion' },
      { key: 'queued_requests.mean', label: 'mean queue', colour: 'blue' },
    ],
    compare: { key: 'queued_requests.mean', title: 'Waiting for prefill, mean queue' },
  },
  {
    kind: 'time',
    id: 'batch',
    title: 'Decoding',
    note: 'Requests in the batch of an instance.',
    mark: 'line',
    measure: 'requests',
    lines: [
      { key: 'decoding_requests.max', label: 'largest batch', colour: 'vermilion' },
      { key: 'decoding_requests.mean', label: 'mean batch', colour: 'blue' },
    ],
    compare: { key: 'decoding_requests.mean', title: 'Decoding, mean batch' },
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
    id: 'busy',
    title: 'GPUs by instance',
    note: 'Share of the time that they were busy.',
    key: 'busy_ratio',
    measure: 'share',
  },
];

function link(id: string, key: string, title: string): HeatFigure {
  const note = 'Share of what the node could have moved; idle nodes are left out.';
  return { kind: 'heat', id, title, note, key, measure: 'share' };
}

const LINKS: readonly Figure[] = [
  link('rails-out', 'rails_out_ratio', 'Rails, out'),
  link('rails-in', 'rails_in_ratio', 'Rails, in'),
  link('host-to-device', 'host_to_device_ratio', 'Host to device'),
  link('device-to-host', 'device_to_host_ratio', 'Device to host'),
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
    lines: [
      { key: 'hbm_tokens', label: 'own HBM', colour: 'orange' },
      { key: 'dram_tokens', label: 'own DRAM', colour: 'blue' },
      { key: 'ssd_tokens', label: 'own SSD', colour: 'purple' },
      { key: 'peer_tokens', label: "a peer's cache", colour: 'green' },
      { key: 'miss_tokens', label: 'computed', colour: 'grey' },
    ],
  },
  {
    kind: 'time',
    id: 'evictions',
    title: 'Blocks stored and evicted',
    note: 'DRAM caches of all nodes.',
    mark: 'line',
    measure: 'blocksPerBin',
    lines: [
      { key: 'dram_evicted_blocks.sum', label: 'evicted', colour: 'vermilion' },
      { key: 'dram_stored_blocks.sum', label: 'stored', colour: 'blue', dashed: true },
    ],
    compare: { key: 'dram_evicted_blocks.sum', title: 'Blocks evicted' },
  },
  {
    kind: 'time',
    id: 'occupancy',
    title: 'DRAM cache in use',
    note: 'Readable blocks, share of the capacity.',
    mark: 'line',
    measure: 'share',
    lines: [
      { key: 'dram_used_ratio.max', label: 'fullest node', colour: 'vermilion' },
      { key: 'dram_used_ratio.mean', label: 'mean node', colour: 'blue' },
    ],
    compare: { key: 'dram_used_ratio.mean', title: 'DRAM cache in use, mean node' },
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
    id: 'rejections',
    title: 'Rejections by cause',
    note: 'Requests turned away, failed or cancelled.',
    mark: 'bars',
    measure: 'requestsPerBin',
    lines: [
      { key: 'rejected_ttft_requests', label: 'TTFT would miss', colour: 'vermilion' },
      { key: 'rejected_tbt_requests', label: 'TBT would miss', colour: 'orange' },
      { key: 'rejected_queue_full_requests', label: 'queue full', colour: 'purple' },
      { key: 'rejected_decode_full_requests', label: 'decode full', colour: 'green' },
      { key: 'rejected_too_large_requests', label: 'too large', colour: 'sky' },
      { key: 'rejected_policy_requests', label: 'policy', colour: 'blue' },
      { key: 'failed_requests', label: 'failed', colour: 'yellow' },
      { key: 'cancelled_requests', label: 'cancelled', colour: 'grey' },
    ],
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
  { title: 'Queues and GPUs', figures: QUEUES },
  { title: 'Links', figures: LINKS },
  { title: 'Cache', figures: CACHE },
  { title: 'Rejections and slowest requests', figures: ENDS },
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
  readonly shown: readonly Shown[];
}

/** The figures of a report of these runs. */
export function sectionsFor(runs: readonly string[]): ShownSection[] {
  const show = (figure: Figure): Shown[] => {
    const { id, title } = figure;
    if (runs.length === 1) return [{ id, title, figure, run: 0 }];
    if (figure.kind === 'heat') {
      return runs.map((run, i) => ({
        id: `${id}-${i}`,
        title: `${title}: ${run}`,
        figure,
        run: i,
      }));
    }
    return [overlaid(figure)];
  };
  return SECTIONS.map(({ title, figures }) => ({ title, shown: figures.flatMap(show) }));
}

/** One figure for several runs. */
function overlaid(figure: Figure): Shown {
  const { id, title } = figure;
  if (figure.kind !== 'time') return { id, title, figure, run: -1 };
  if (figure.compare !== undefined) return { id, title: figure.compare.title, figure, run: -1 };
  const { lines, note, share } = figure;
  const measure = figure.measure === 'requestsPerBin' ? 'requests' : figure.measure;
  const kind = 'parts';
  const parts = { kind, id, title, note, measure, lines, totals: figure } as const;
  return { id, title, figure: share ? { ...parts, measure: 'share' } : parts, run: -1 };
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

/** The lines of a figure over time: its own, or one per run. */
export function linesOf(figure: TimeFigure, runs: readonly string[]): Line[] {
  const { compare, lines } = figure;
  if (runs.length === 1 || compare === undefined) return [...lines];
  return runs.map((label, i) => ({ key: compare.key, label, colour: RUN_COLOURS[i] }));
}
