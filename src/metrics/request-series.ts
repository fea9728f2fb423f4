/** What became of the requests of each bin of time, from their table alone. */
import { BinnedSums } from './bins.ts';
import { CAUSES } from './requests.ts';
import { percentile } from './select.ts';
import type { Series } from './series.ts';
import { numbers, type Table, texts } from './table.ts';

/** Series of rejections, by cause. */
export const REJECTED: Readonly<Record<string, string>> = Object.fromEntries(
  Object.values(CAUSES).map((cause) => [
    cause,
    `rejected_${cause.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}_requests`,
  ]),
);

export const REQUEST_METRICS: Readonly<Record<string, string>> = {
  arrived_requests: 'requests that arrived in the bin',
  completed_requests: 'requests that completed in it',
  good_requests: 'those of them that kept both SLOs',
  failed_requests: 'requests that failed in it',
  cancelled_requests: 'requests that were cancelled in it',
  ...Object.fromEntries(
    Object.entries(REJECTED).map(([cause, name]) => [name, `rejected in it, cause ${cause}`]),
  ),
  prefilled_requests: 'requests whose prefill ended in it; the next seven are over these',
  ttft_ns_mean: 'mean TTFT, the sum of the four parts below',
  ttft_ns_p50: 'median TTFT (nearest rank)',
  ttft_ns_p99: '99th percentile of TTFT (nearest rank)',
  queue_ns_mean: 'waited for its prefill',
  transfer_ns_mean: "waited for a peer's blocks",
  load_ns_mean: 'prefill waited for cached KV to reach HBM',
  compute_ns_mean: 'prefill computed',
  tbt_ns_mean: 'mean TBT of the requests that completed in the bin',
  tbt_ns_p50: 'median of it (nearest rank)',
  tbt_ns_p99: '99th percentile of it (nearest rank)',
  hbm_tokens: "prompt tokens from the own node's HBM, of prefills that started in the bin",
  dram_tokens: "from the own node's DRAM",
  ssd_tokens: "from the own node's SSD",
  peer_tokens: "from a peer's cache",
  miss_tokens: 'computed',
};

export function requestSeries(requests: Table, binNs: number, bins: number): Series[] {
  const column = (name: string) => numbers(requests, name);
  const outcome = texts(requests, 'outcome');
  const cause = texts(requests, 'cause');
  const finished = column('finished_ns');
  const ended = (which: (i: number) => boolean) =>
    sumBy(finished, binNs, bins, (i) => (which(i) ? 1 : 0));
  const count = (at: Float64Array) => sumBy(at, binNs, bins, () => 1);
  const prefilled = new Groups(column('first_token_ns'), binNs, bins);
  const completed = new Groups(
    finished.map((ns, i) => (outcome[i] === 'completed' ? ns : Number.NaN)),
    binNs,
    bins,
  );
  const started = column('started_ns');
  const tokens = (name: string) => {
    const values = column(name);
    return sumBy(started, binNs, bins, (i) => values[i]);
  };
  const good = column('within_slo');
  const values: Record<string, Float64Array> = {
    arrived_requests: count(column('arrived_ns')),
    completed_requests: ended((i) => outcome[i] === 'completed'),
    good_requests: ended((i) => good[i] === 1),
    failed_requests: ended((i) => outcome[i] === 'failed'),
    cancelled_requests: ended((i) => outcome[i] === 'cancelled'),
    ...Object.fromEntries(
      Object.entries(REJECTED).map(([why, name]) => [name, ended((i) => cause[i] === why)]),
    ),
    prefilled_requests: count(column('first_token_ns')),
    ttft_ns_mean: prefilled.mean(column('ttft_ns')),
    ttft_ns_p50: prefilled.percentile(column('ttft_ns'), 0.5),
    ttft_ns_p99: prefilled.percentile(column('ttft_ns'), 0.99),
    queue_ns_mean: prefilled.mean(column('queue_ns')),
    transfer_ns_mean: prefilled.mean(column('transfer_ns')),
    load_ns_mean: prefilled.mean(column('load_ns')),
    compute_ns_mean: prefilled.mean(column('compute_ns')),
    tbt_ns_mean: completed.mean(column('tbt_ns')),
    tbt_ns_p50: completed.percentile(column('tbt_ns'), 0.5),
    tbt_ns_p99: completed.percentile(column('tbt_ns'), 0.99),
    hbm_tokens: tokens('hbm_tokens'),
    dram_tokens: tokens('dram_tokens'),
    ssd_tokens: tokens('ssd_tokens'),
    peer_tokens: tokens('peer_tokens'),
    miss_tokens: tokens('miss_tokens'),
  };
  return Object.entries(values).map(([metric, values]) => ({
    scope: 'cluster',
    entity: 'cluster',
    metric,
    values,
  }));
}

/** How many requests waited for each instance's prefill, and how many it decoded: time means. */
export function occupancySeries(
  requests: Table,
  instances: readonly string[],
  span: { readonly binNs: number; readonly bins: number; readonly endNs: number },
): { readonly queued: Float64Array[]; readonly decoding: Float64Array[] } {
  const { binNs, bins, endNs } = span;
  const idOf = new Map(instances.map((name, id) => [name, id]));
  const column = (name: string) => numbers(requests, name);
  const finished = column('finished_ns');
  const spans = (at: string, from: Float64Array, to: Float64Array) => {
    const sums = new BinnedSums(instances.length, binNs);
    const names = texts(requests, at);
    for (let i = 0; i < requests.rows; i++) {
      const id = idOf.get(names[i]);
      if (id === undefined || Number.isNaN(from[i])) continue;
      const toNs = firstNumber(to[i], finished[i], endNs);
      sums.addSpan(id, from[i], toNs, toNs - from[i]);
    }
    return instances.map((_, id) => sums.row(id, bins));
  };
  return {
    queued: spans('prefill_instance', column('dispatched_ns'), column('started_ns')),
    decoding: spans('decode_instance', column('joined_ns'), finished),
  };
}

function firstNumber(...values: readonly number[]): number {
  return values.find((value) => !Number.isNaN(value))!;
}

function sumBy(
  at: Float64Array,
  binNs: number,
  bins: number,
  amount: (i: number) => number,
): Float64Array {
  const sums = new Float64Array(bins);
  for (let i = 0; i < at.length; i++) {
    if (!Number.isNaN(at[i])) sums[Math.floor(at[i] / binNs)] += amount(i);
  }
  return sums;
}

/** Rows grouped by the bin that their time falls into. */
class Groups {
  private readonly bins: number[][];

  constructor(at: Float64Array, binNs: number, bins: number) {
    this.bins = Array.from({ length: bins }, () => []);
    for (let i = 0; i < at.length; i++) {
      if (!Number.isNaN(at[i])) this.bins[Math.floor(at[i] / binNs)].push(i);
    }
  }

  mean(values: Float64Array): Float64Array {
    return this.each(values, (present) => present.reduce((sum, v) => sum + v, 0) / present.length);
  }

  percentile(values: Float64Array, share: number): Float64Array {
    return this.each(values, (present) => percentile(present.sort(), share) ?? Number.NaN);
  }

  private each(values: Float64Array, of: (present: Float64Array) => number): Float64Array {
    return Float64Array.from(this.bins, (rows) => {
      const present = Float64Array.from(rows, (i) => values[i]).filter((v) => !Number.isNaN(v));
      return of(present);
    });
  }
}
