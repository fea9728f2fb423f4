/**
 * A run that was never simulated: the same in every version, for figures that are compared with
 * those of before. Two prefill and two decode nodes, two minutes in bins of ten seconds, a queue
 * that grows and goes, and some requests that are turned away.
 */
import { requestSeries } from '../../src/metrics/request-series.ts';
import type { Result } from '../../src/metrics/result.ts';
import type { Scope, Series } from '../../src/metrics/series.ts';
import type { Column, Table } from '../../src/metrics/table.ts';
import type { Run } from '../../src/report/page-data.ts';

const REQUESTS = 240;
const GAP_NS = 0.5e9;
const BIN_NS = 10e9;
const BINS = 14;
const SLO = { ttftNs: 5e9, tbtNs: 100e6 };

export interface SampleOptions {
  readonly seed?: number;
  /** Times everything that waits. */
  readonly slower?: number;
}

export function sampleRun(name: string, { seed = 1, slower = 1 }: SampleOptions = {}): Run {
  const requests = requestsOf(slower);
  return {
    name,
    result: resultOf(requests, seed, slower),
    requests,
    series: { binNs: BIN_NS, bins: BINS, series: seriesOf(requests, slower) },
  };
}

/** Rises to 1 in the middle of the run and falls again. */
function load(share: number): number {
  return Math.max(0, 1 - Math.abs(2 * share - 1) * 1.6);
}

function requestsOf(slower: number): Table {
  const made = (value: (i: number) => number) =>
    Float64Array.from({ length: REQUESTS }, (_, i) => value(i));
  const rejected = (i: number) => load(i / REQUESTS) > 0.9 && i % 5 === 0;
  const ran = (value: (i: number) => number) => made((i) => (rejected(i) ? Number.NaN : value(i)));
  const arrived = made((i) => i * GAP_NS);
  const input = made((i) => 1024 + 512 * (i % 9));
  const dram = ran((i) => 512 * (i % 3));
  const peer = ran((i) => (i % 4 === 0 ? 256 : 0));
  const queue = ran((i) => Math.round(slower * 4e9 * load(i / REQUESTS) * (1 + (i % 3) / 3)));
  const transfer = ran((i) => (peer[i] > 0 ? 20e6 : 0));
  const load2 = ran((i) => (dram[i] > 0 ? 4e6 : 0));
  const compute = ran((i) => (input[i] - dram[i] - peer[i]) * 0.3e6);
  const ttft = ran((i) => queue[i] + transfer[i] + load2[i] + compute[i]);
  const handoff = ran(() => 15e6);
  const decode = ran((i) => 2e9 + (i % 7) * 0.3e9);
  const e2e = ran((i) => ttft[i] + handoff[i] + decode[i]);
  const tbt = ran((i) => 40e6 + 30e6 * load(i / REQUESTS) + (i % 11) * 1e6);
  const plus = (a: Float64Array, b: Float64Array) => a.map((value, i) => value + b[i]);
  const first = plus(arrived, ttft);
  const none = made(() => 0);
  const text = (value: (i: number) => string) =>
    Array.from({ length: REQUESTS }, (_, i) => value(i));
  const good = made((i) => Number(!rejected(i) && ttft[i] <= SLO.ttftNs && tbt[i] <= SLO.tbtNs));
  const values: Record<string, Column['values']> = {
    request: made((i) => i),
    outcome: text((i) => (rejected(i) ? 'rejected' : 'completed')),
    cause: text((i) => (rejected(i) ? (i % 2 ? 'queueFull' : 'ttft') : '')),
    within_slo: good,
    arrived_ns: arrived,
    dispatched_ns: ran((i) => arrived[i] + 2e5),
    started_ns: plus(plus(arrived, queue), transfer),
    first_token_ns: first,
    joined_ns: plus(first, handoff),
    finished_ns: made((i) => (rejected(i) ? arrived[i] + 1e6 : arrived[i] + e2e[i])),
    ttft_ns: ttft,
    tbt_ns: tbt,
    tpot_ns: ran(() => 30e6),
    e2e_ns: e2e,
    queue_ns: queue,
    transfer_ns: transfer,
    load_ns: load2,
    compute_ns: compute,
    handoff_ns: handoff,
    decode_ns: decode,
    input_tokens: input,
    output_tokens: made(() => 100),
    hbm_tokens: ran(() => 0),
    dram_tokens: dram,
    ssd_tokens: ran(() => 0),
    peer_tokens: peer,
    miss_tokens: ran((i) => input[i] - dram[i] - peer[i]),
    stale_tokens: none,
    prefill_instance: text((i) => (rejected(i) ? '' : `prefill-${i % 2}`)),
    decode_instance: text((i) => (rejected(i) ? '' : `decode-${i % 2}`)),
  };
  const columns = Object.entries(values).map(([name, column]): Column => {
    const type = typeOf(name, column);
    return { name, type, doc: name.replaceAll('_', ' '), values: column };
  });
  return { rows: REQUESTS, columns };
}

function typeOf(name: string, values: Column['values']): Column['type'] {
  if (!(values instanceof Float64Array)) return 'string';
  if (name === 'within_slo') return 'boolean';
  if (name === 'tbt_ns' || name === 'tpot_ns') return 'double';
  return name.endsWith('_ns') ? 'int64' : 'int32';
}

function seriesOf(requests: Table, slower: number): Series[] {
  const series = (scope: Scope, entity: string, metric: string, of: (share: number) => number) => ({
    scope,
    entity,
    metric,
    values: Float64Array.from({ length: BINS }, (_, bin) => of((bin + 0.5) / BINS)),
  });
  const names = (kind: string) => [0, 1].map((i) => [`${kind}-${i}`, 1 - 0.2 * i] as const);
  return [
    ...requestSeries(requests, BIN_NS, BINS),
    ...names('prefill').flatMap(([name, part]) => [
      series('instance', name, 'queued_requests', (s) => slower * 8 * part * load(s)),
      series('instance', name, 'prefill_busy_ratio', (s) => part * (0.3 + 0.7 * load(s))),
      series('node', name, 'rails_out_ratio', (s) => 0.3 * part * load(s)),
      series('node', name, 'host_to_device_ratio', (s) => 0.2 * part * load(s)),
      series('node', name, 'device_to_host_ratio', (s) => 0.1 * part * load(s)),
      series('node', name, 'dram_used_ratio', (s) => Math.min(1, part * s * 2)),
      series('node', name, 'dram_stored_blocks', (s) => Math.round(60 * part * (s + 0.5))),
      series('node', name, 'dram_evicted_blocks', (s) => (s > 0.5 ? Math.round(60 * part) : 0)),
    ]),
    ...names('decode').flatMap(([name, part]) => [
      series('instance', name, 'decoding_requests', (s) => 6 * part * (0.2 + load(s))),
      series('instance', name, 'decode_busy_ratio', () => 0.9 * part),
      series('node', name, 'rails_in_ratio', (s) => 0.3 * part * load(s)),
    ]),
  ];
}

function resultOf(requests: Table, seed: number, slower: number): Result {
  const distribution = (base: number) => ({
    mean: base,
    p50: 0.8 * base,
    p90: 2 * base,
    p95: 3 * base,
    p99: 4 * base,
    max: 5 * base,
  });
  return {
    version: '0.0.0',
    seed,
    config: { model: { name: 'made-up' } },
    trace: { requests: requests.rows, inputTokens: 737_280, outputTokens: 24_000, sha256: 'abc' },
    requests: {
      arrived: 240,
      completed: 230,
      rejected: 10,
      failed: 0,
      cancelled: 0,
      inFlight: 0,
      causes: { ttft: 5, queueFull: 5 },
    },
    ttftNs: distribution(slower * 1.5e9),
    tbtNs: distribution(20e6),
    tpotNs: distribution(15e6),
    e2eNs: distribution(4e9),
    gapNs: { p50: 20e6, p90: 30e6, p99: 50e6 },
    breakdown: {
      queueNs: slower * 0.7e9,
      transferNs: 5e6,
      loadNs: 3e6,
      computeNs: 0.8e9,
      handoffNs: 15e6,
      decodeNs: 2.5e9,
    },
    hit: {
      tokensRatio: 0.25,
      blocksRatio: 0.24,
      requestsRatio: 0.7,
      bySource: { hbm: 0, dram: 120_000, ssd: 0, peer: 15_000, miss: 400_000 },
    },
    slo: SLO,
    effectiveRatio: 0.93 / slower,
    goodputPerSec: 1.8 / slower,
    gpuSeconds: { prefill: 120, decode: 200 },
    bytes: { railsOut: 3e12, railsIn: 3e12, hostToDevice: 1e12, deviceToHost: 2e12, fabric: 3e12 },
    busiest: [{ name: 'prefill-0/gpus', utilisation: 0.97 }],
    counts: { evictions: 700 },
    durationNs: 125e9,
  };
}
