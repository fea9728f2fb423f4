/**
 * What became of every request: its latencies, the parts of its time and whether it kept the SLOs,
 * as columns with one row a request; and all of that as the table of requests.parquet.
 */
import { Mark } from '../core/host.ts';
import { Outcome } from '../core/request.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import type { Recorder } from './recorder.ts';
import type { Column, Table } from './table.ts';

/** Why a request was rejected. */
export const CAUSES: Readonly<Record<number, string>> = {
  [Outcome.rejectedTtft]: 'ttft',
  [Outcome.rejectedTbt]: 'tbt',
  [Outcome.rejectedQueueFull]: 'queueFull',
  [Outcome.rejectedDecodeFull]: 'decodeFull',
  [Outcome.rejectedTooLarge]: 'tooLarge',
  [Outcome.rejectedPolicy]: 'policy',
  [Outcome.rejectedNoInstance]: 'noInstance',
};

/** Why requests failed. */
export const FAILURES: Readonly<Record<number, string>> = {
  [Outcome.failed]: 'handoff',
  [Outcome.lost]: 'instanceLost',
};

const ENDS: Readonly<Record<number, string>> = {
  [Outcome.completed]: 'completed',
  [Outcome.cancelled]: 'cancelled',
  [Outcome.failed]: 'failed',
  [Outcome.lost]: 'failed',
};

export interface SloTargets {
  readonly ttftNs: number;
  readonly tbtNs: number;
}

/** NaN where a request did not get so far. */
export interface RequestColumns {
  /** The first four parts add up to the TTFT, all six to the end-to-end time. */
  readonly queueNs: Float64Array;
  readonly transferNs: Float64Array;
  readonly loadNs: Float64Array;
  readonly computeNs: Float64Array;
  readonly handoffNs: Float64Array;
  readonly decodeNs: Float64Array;
  readonly ttftNs: Float64Array;
  /** Of completed requests, as are the next two. */
  readonly tbtNs: Float64Array;
  readonly tpotNs: Float64Array;
  readonly e2eNs: Float64Array;
  /** 1: completed within both SLOs (a request without gaps keeps the TBT one); else 0. */
  readonly good: Float64Array;
}

export function requestColumns(
  recorder: Recorder,
  trace: TraceColumns,
  slo: SloTargets,
): RequestColumns {
  const n = recorder.requests;
  const empty = () => new Float64Array(n).fill(Number.NaN);
  const arrived = recorder.column(Mark.arrivedNs);
  const dispatched = recorder.column(Mark.dispatchedNs);
  const fetched = recorder.column(Mark.fetchedNs);
  const started = recorder.column(Mark.startedNs);
  const first = recorder.column(Mark.firstTokenNs);
  const computeNs = recorder.column(Mark.computeNs);
  const joined = recorder.column(Mark.joinedNs);
  const finished = recorder.column(Mark.finishedNs);
  const outcome = recorder.column(Mark.outcome);
  const columns: RequestColumns = {
    queueNs: empty(),
    transferNs: empty(),
    loadNs: empty(),
    computeNs,
    handoffNs: empty(),
    decodeNs: empty(),
    ttftNs: empty(),
    tbtNs: empty(),
    tpotNs: empty(),
    e2eNs: empty(),
    good: new Float64Array(n),
  };
  for (let i = 0; i < n; i++) {
    const ttftNs = first[i] - arrived[i];
    columns.ttftNs[i] = ttftNs;
    if (!Number.isNaN(started[i])) {
      const transferNs = Number.isNaN(fetched[i]) ? 0 : fetched[i] - dispatched[i];
      columns.queueNs[i] = started[i] - arrived[i] - transferNs;
      columns.transferNs[i] = transferNs;
      columns.loadNs[i] = first[i] - started[i] - computeNs[i];
    }
    columns.handoffNs[i] = joined[i] - first[i];
    if (outcome[i] !== Outcome.completed) continue;
    const decodes = Number.isNaN(joined[i]) ? first[i] : joined[i];
    const gaps = trace.outputTokens[i] - 1;
    columns.handoffNs[i] = decodes - first[i];
    columns.decodeNs[i] = finished[i] - decodes;
    columns.tbtNs[i] = recorder.tbtNs[i];
    columns.e2eNs[i] = finished[i] - arrived[i];
    if (gaps > 0) columns.tpotNs[i] = (columns.e2eNs[i] - ttftNs) / gaps;
    const slow = recorder.tbtNs[i] > slo.tbtNs || ttftNs > slo.ttftNs;
    if (!slow) columns.good[i] = 1;
  }
  return columns;
}

/** Requests in the order of the trace; those that never arrived have a row of nulls. */
export function requestTable(
  recorder: Recorder,
  trace: TraceColumns,
  { good, ...of }: RequestColumns,
): Table {
  const n = recorder.requests;
  const mark = (which: Mark) => recorder.column(which);
  const arrived = mark(Mark.arrivedNs);
  const started = mark(Mark.startedNs);
  const outcome = mark(Mark.outcome);
  const seen = (i: number) => !Number.isNaN(arrived[i]);
  const ran = (i: number) => !Number.isNaN(started[i]);
  const fill = (value: (i: number) => number) => {
    const values = new Float64Array(n);
    for (let i = 0; i < n; i++) values[i] = value(i);
    return values;
  };
  const hit = (which: Mark) => fill((i) => (ran(i) ? mark(which)[i] || 0 : Number.NaN));
  const [hbm, dram, ssd, peer] = [
    Mark.hbmTokens,
    Mark.dramTokens,
    Mark.ssdTokens,
    Mark.peerTokens,
  ].map(hit);
  const miss = fill((i) => trace.inputTokens[i] - hbm[i] - dram[i] - ssd[i] - peer[i]);
  const instance = (which: Mark) =>
    Array.from(mark(which), (id) => recorder.topology.instances[id]?.name ?? '');
  const ends = Array.from(outcome, (code, i) => (seen(i) ? endName(code) : ''));
  const text = (name: string, doc: string, values: readonly string[]): Column => ({
    name,
    type: 'string',
    doc,
    values,
  });
  const number =
    (type: 'int32' | 'int64' | 'double' | 'boolean') =>
    (name: string, doc: string, values: Float64Array): Column => ({ name, type, doc, values });
  const [count, time, mean] = [number('int32'), number('int64'), number('double')];
  const columns = [
    count(
      'request',
      'row of the trace, from 0',
      fill((i) => i),
    ),
    text('outcome', 'completed, rejected, failed, cancelled or inFlight', ends),
    text(
      'cause',
      'why it was rejected',
      Array.from(outcome, (code) => CAUSES[code] ?? ''),
    ),
    number('boolean')('within_slo', 'completed within the TTFT and the TBT target', good),
    time('arrived_ns', "since the trace's start, as all of these times", arrived),
    time('dispatched_ns', 'reached its prefill instance', mark(Mark.dispatchedNs)),
    time('started_ns', 'first chunk of its prompt on the GPUs', started),
    time('first_token_ns', 'prompt computed', mark(Mark.firstTokenNs)),
    time('joined_ns', 'joined a decode batch', mark(Mark.joinedNs)),
    time('finished_ns', 'ended, in whatever way', mark(Mark.finishedNs)),
    time('ttft_ns', 'arrival to first token', of.ttftNs),
    mean('tbt_ns', 'mean of the longest 10 % of its gaps between tokens', of.tbtNs),
    mean('tpot_ns', '(e2e_ns - ttft_ns) / (output_tokens - 1)', of.tpotNs),
    time(
      'e2e_ns',
      'arrival to end; queue + transfer + load + compute + handoff + decode',
      of.e2eNs,
    ),
    time('queue_ns', 'waited for its prefill', of.queueNs),
    time('transfer_ns', "waited for a peer's blocks", of.transferNs),
    time('load_ns', 'prefill waited for cached KV to reach HBM', of.loadNs),
    time('compute_ns', 'prefill computed', of.computeNs),
    time('handoff_ns', 'first token to joining the decode batch', of.handoffNs),
    time('decode_ns', 'joining the decode batch to last token', of.decodeNs),
    count('input_tokens', 'prompt', Float64Array.from(trace.inputTokens)),
    count('output_tokens', 'answer', Float64Array.from(trace.outputTokens)),
    count('hbm_tokens', "prompt tokens served from its node's HBM", hbm),
    count('dram_tokens', "prompt tokens served from its node's DRAM", dram),
    count('ssd_tokens', "prompt tokens served from its node's SSD", ssd),
    count('peer_tokens', "prompt tokens fetched from a peer's cache", peer),
    count('miss_tokens', 'prompt tokens computed', miss),
    count('stale_tokens', 'believed cached, but gone when it started', mark(Mark.staleTokens)),
    text('prefill_instance', 'name', instance(Mark.prefillInstance)),
    text('decode_instance', 'name', instance(Mark.decodeInstance)),
  ];
  return { rows: n, columns };
}

function endName(outcome: number): string {
  if (Number.isNaN(outcome)) return 'inFlight';
  return ENDS[outcome] ?? 'rejected';
}
