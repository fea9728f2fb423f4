/** The key figures of a run: of the whole of it, or of a range of time. */
import { bytes, duration, integer, percent } from '../../metrics/format.ts';
import type { PageData, PageRun, Range } from './data.ts';
import { rangeOf } from './data.ts';
import { sampledIn } from './rows.ts';

export interface Latency {
  readonly mean: number | null;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
}

const SOURCES = ['hbm', 'dram', 'ssd', 'peer', 'miss'] as const;
type Source = (typeof SOURCES)[number];

export interface Stats {
  readonly arrived: number;
  readonly completed: number;
  /** Rejected, failed or cancelled. */
  readonly lost: number;
  readonly effectiveRatio: number | null;
  readonly goodputPerSec: number | null;
  readonly ttft: Latency;
  readonly tbt: Latency;
  readonly e2e: Latency;
  /** Prompt tokens by source, as shares. */
  readonly sources: Readonly<Record<Source, number>>;
  readonly evictions: number;
  readonly busiest: { readonly name: string; readonly ratio: number } | null;
  /** The next two are known of whole runs. */
  readonly gpuSeconds: { readonly prefill: number; readonly decode: number } | null;
  readonly movedBytes: number | null;
}

export function statsOf(page: PageData, run: PageRun, range: Range): Stats {
  return range === null ? wholeRun(run) : partOfRun(page, run, range);
}

const KINDS: Readonly<Record<string, string>> = {
  gpus: 'GPUs',
  railsOut: 'rails out',
  railsIn: 'rails in',
  hostToDevice: 'host to device',
  deviceToHost: 'device to host',
  ssdRead: 'SSD reads',
  ssdWrite: 'SSD writes',
};

function wholeRun({ result }: PageRun): Stats {
  const { requests, hit, busiest, gpuSeconds, counts } = result;
  const [first] = busiest;
  const at = first?.name.lastIndexOf('/') ?? -1;
  return {
    arrived: requests.arrived,
    completed: requests.completed,
    lost: requests.rejected + requests.failed + requests.cancelled,
    effectiveRatio: result.effectiveRatio,
    goodputPerSec: result.goodputPerSec,
    ttft: result.ttftNs,
    tbt: result.tbtNs,
    e2e: result.e2eNs,
    sources: shares(hit.bySource),
    evictions: counts.evictions ?? 0,
    busiest:
      first === undefined
        ? null
        : {
            name: `${first.name.slice(0, at)} ${KINDS[first.name.slice(at + 1)]}`,
            ratio: first.utilisation,
          },
    gpuSeconds,
    movedBytes: result.bytes.railsOut,
  };
}

/** Requests belong to the bin of their first token, or of their end when they got none. */
function partOfRun(page: PageData, run: PageRun, range: NonNullable<Range>): Stats {
  const { requests, lines } = run;
  const rows = sampledIn(page, run, range);
  const sum = (key: string) => {
    let total = 0;
    for (let bin = range.from; bin < range.to; bin++) total += lines[key]?.[bin] ?? 0;
    return total;
  };
  const outcomes = rows.map((i) => requests.outcomes[requests.outcome[i]]);
  const good = rows.filter((i) => requests.good[i] === 1).length;
  const completed = outcomes.filter((outcome) => outcome === 'completed').length;
  const inFlight = outcomes.filter((outcome) => outcome === 'inFlight').length;
  const seconds = ((range.to - range.from) * page.binNs) / 1e9;
  const latency = (column: (i: number) => number | null) => latencyOf(rows.map(column));
  return {
    arrived: rows.length * requests.step,
    completed: completed * requests.step,
    lost: (rows.length - completed - inFlight) * requests.step,
    effectiveRatio: rows.length === 0 ? null : good / rows.length,
    goodputPerSec: (good * requests.step) / seconds,
    ttft: latency((i) => requests.ttft[i]),
    tbt: latency((i) => requests.tbt[i]),
    e2e: latency((i) => {
      const decode = requests.decode[i];
      return decode === null ? null : requests.ttft[i]! + requests.handoff[i]! + decode;
    }),
    sources: shares({
      hbm: sum('hbm_tokens'),
      dram: sum('dram_tokens'),
      ssd: sum('ssd_tokens'),
      peer: sum('peer_tokens'),
      miss: sum('miss_tokens'),
    }),
    evictions: sum('dram_evicted_blocks.sum'),
    busiest: busiestIn(page, run, range),
    gpuSeconds: null,
    movedBytes: null,
  };
}

function shares(tokens: Readonly<Record<Source, number>>): Record<Source, number> {
  const all = SOURCES.reduce((sum, source) => sum + tokens[source], 0) || 1;
  return Object.fromEntries(SOURCES.map((source) => [source, tokens[source] / all])) as Record<
    Source,
    number
  >;
}

function latencyOf(values: readonly (number | null)[]): Latency {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  const n = sorted.length;
  if (n === 0) return { mean: null, p50: null, p90: null, p99: null };
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * n) - 1)];
  const mean = sorted.reduce((sum, value) => sum + value, 0) / n;
  return { mean, p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

const BUSY: Readonly<Record<string, string>> = {
  busy_ratio: 'GPUs',
  rails_out_ratio: 'rails out',
  rails_in_ratio: 'rails in',
  host_to_device_ratio: 'host to device',
  device_to_host_ratio: 'device to host',
};

function busiestIn(page: PageData, { heats }: PageRun, range: Range): Stats['busiest'] {
  const { from, to } = rangeOf(page, range);
  let best: Stats['busiest'] = null;
  for (const [key, kind] of Object.entries(BUSY)) {
    const { rows, values } = heats[key];
    rows.forEach((name, row) => {
      let sum = 0;
      for (let bin = from; bin < to; bin++) sum += values[row][bin] ?? 0;
      const ratio = sum / (to - from);
      if (best === null || ratio > best.ratio) best = { name: `${name} ${kind}`, ratio };
    });
  }
  return best;
}

/** One line of the comparison of runs. */
export interface Compared {
  readonly label: string;
  readonly of: (stats: Stats) => number | null;
  readonly say: (value: number) => string;
  /** What is good news. */
  readonly better: 'low' | 'high' | 'neither';
}

const perSecond = (value: number) => `${value.toFixed(2)}/s`;

export const COMPARED: readonly Compared[] = [
  { label: 'Within the SLOs', of: (s) => s.effectiveRatio, say: percent, better: 'high' },
  { label: 'Goodput', of: (s) => s.goodputPerSec, say: perSecond, better: 'high' },
  { label: 'Completed', of: (s) => s.completed, say: integer, better: 'high' },
  { label: 'Rejected or lost', of: (s) => s.lost, say: integer, better: 'low' },
  { label: 'TTFT, mean', of: (s) => s.ttft.mean, say: duration, better: 'low' },
  { label: 'TTFT, median', of: (s) => s.ttft.p50, say: duration, better: 'low' },
  { label: 'TTFT, p90', of: (s) => s.ttft.p90, say: duration, better: 'low' },
  { label: 'TTFT, p99', of: (s) => s.ttft.p99, say: duration, better: 'low' },
  { label: 'TBT, mean', of: (s) => s.tbt.mean, say: duration, better: 'low' },
  { label: 'TBT, p99', of: (s) => s.tbt.p99, say: duration, better: 'low' },
  { label: 'E2E, mean', of: (s) => s.e2e.mean, say: duration, better: 'low' },
  { label: 'E2E, p99', of: (s) => s.e2e.p99, say: duration, better: 'low' },
  { label: 'Cache hits', of: (s) => 1 - s.sources.miss, say: percent, better: 'high' },
  { label: 'from own DRAM', of: (s) => s.sources.dram, say: percent, better: 'neither' },
  { label: 'from peers', of: (s) => s.sources.peer, say: percent, better: 'neither' },
  { label: 'Blocks evicted', of: (s) => s.evictions, say: integer, better: 'low' },
  {
    label: 'GPU time, prefill',
    of: (s) => s.gpuSeconds?.prefill ?? null,
    say: hours,
    better: 'low',
  },
  { label: 'GPU time, decode', of: (s) => s.gpuSeconds?.decode ?? null, say: hours, better: 'low' },
  { label: 'Moved between nodes', of: (s) => s.movedBytes, say: bytes, better: 'low' },
];

function hours(seconds: number): string {
  return `${(seconds / 3600).toFixed(2)} h`;
}
