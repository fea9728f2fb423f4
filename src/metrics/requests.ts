/**
 * What became of every request, one row each: the table requests.parquet, and the parts of a
 * request's time that the result takes its means of.
 */
import { Mark } from '../core/host.ts';
import { Outcome } from '../core/request.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import type { Recorder } from './recorder.ts';
import type { Column, ColumnType, Table } from './table.ts';

/** Why a request was rejected. */
export const CAUSES: Readonly<Record<number, string>> = {
  [Outcome.rejectedTtft]: 'ttft',
  [Outcome.rejectedTbt]: 'tbt',
  [Outcome.rejectedQueueFull]: 'queueFull',
  [Outcome.rejectedDecodeFull]: 'decodeFull',
  [Outcome.rejectedTooLarge]: 'tooLarge',
  [Outcome.rejectedPolicy]: 'policy',
};

const ENDS: Readonly<Record<number, string>> = {
  [Outcome.completed]: 'completed',
  [Outcome.cancelled]: 'cancelled',
  [Outcome.failed]: 'failed',
};

/** The consecutive parts of a request's time, ns; NaN where it did not get so far. */
export interface RequestParts {
  readonly queueNs: Float64Array;
  readonly transferNs: Float64Array;
  readonly loadNs: Float64Array;
  readonly computeNs: Float64Array;
  readonly handoffNs: Float64Array;
  readonly decodeNs: Float64Array;
}

/** The first four add up to the TTFT, all of them to the end-to-end time. */
export function requestParts(recorder: Recorder): RequestParts {
  const n = recorder.requests;
  const column = (mark: Mark) => recorder.column(mark);
  const arrived = column(Mark.arrivedNs);
  const dispatched = column(Mark.dispatchedNs);
  const fetched = column(Mark.fetchedNs);
  const started = column(Mark.startedNs);
  const first = column(Mark.firstTokenNs);
  const compute = column(Mark.computeNs);
  const joined = column(Mark.joinedNs);
  const finished = column(Mark.finishedNs);
  const outcomes = column(Mark.outcome);
  const parts: RequestParts = {
    queueNs: new Float64Array(n),
    transferNs: new Float64Array(n),
    loadNs: new Float64Array(n),
    computeNs: compute,
    handoffNs: new Float64Array(n),
    decodeNs: new Float64Array(n),
  };
  for (let i = 0; i < n; i++) {
    const transferNs = Number.isNaN(fetched[i]) ? 0 : fetched[i] - dispatched[i];
    const ended = outcomes[i] === Outcome.completed;
    const decodes = ended && Number.isNaN(joined[i]) ? first[i] : joined[i];
    parts.queueNs[i] = started[i] - arrived[i] - transferNs;
    parts.transferNs[i] = Number.isNaN(started[i]) ? Number.NaN : transferNs;
    parts.loadNs[i] = first[i] - started[i] - compute[i];
    parts.handoffNs[i] = decodes - first[i];
    parts.decodeNs[i] = ended ? finished[i] - decodes : Number.NaN;
  }
  return parts;
}

/** The table of all requests of the trace, in its order. */
export function requestTable(
  recorder: Recorder,
  trace: TraceColumns,
  slo: { readonly ttftNs: number; readonly tbtNs: number },
): Table {
  const n = recorder.requests;
  const parts = requestParts(recorder);
  const marks = (mark: Mark) => recorder.column(mark);
  const arrived = marks(Mark.arrivedNs);
  const started = marks(Mark.startedNs);
  const firstToken = marks(Mark.firstTokenNs);
  const finished = marks(Mark.finishedNs);
  const outcome = marks(Mark.outcome);
  const made = (value: (i: number) => number) => Float64Array.from({ length: n }, (_, i) => value(i));
  const ttft = made((i) => firstToken[i] - arrived[i]);
  const completed = (i: number) => outcome[i] === Outcome.completed;
  const e2e = made((i) => (completed(i) ? finished[i] - arrived[i] : Number.NaN));
  const tpot = made((i) => (e2e[i] - ttft[i]) / Math.max(1, trace.outputTokens[i] - 1));
  const gapped = (i: number) => trace.outputTokens[i] > 1;
  const within = (i: number) =>
    completed(i) && !(ttft[i] > slo.ttftNs) && !(recorder.tbtNs[i] > slo.tbtNs);
  const hit = (mark: Mark) =>
    made((i) => (Number.isNaN(started[i]) ? Number.NaN : marks(mark)[i] || 0));
  const [hbm, dram, ssd, peer] = [
    hit(Mark.hbmTokens),
    hit(Mark.dramTokens),
    hit(Mark.ssdTokens),
    hit(Mark.peerTokens),
  ];
  const name = (mark: Mark) =>
    Array.from(marks(mark), (id) => recorder.topology.instances[id]?.name ?? '');
  const seen = (i: number) => !Number.isNaN(arrived[i]);
  const column = (
    type: ColumnType,
    name: string,
    doc: string,
    values: Column['values'],
  ): Column => ({ name, type, doc, values });
  const time = (name: string, doc: string, values: Float64Array) =>
    column('int64', name, doc, values);
  const tokens = (name: string, doc: string, values: Float64Array) =>
    column('int32', name, doc, values);
  const columns = [
    tokens('request', 'row of the trace, from 0', made((i) => i)),
    column('string', 'outcome', 'completed, rejected, failed, cancelled or inFlight', [
      ...outcome.map((_, i) => i),
    ].map((i) => (seen(i) ? endOf(outcome[i]) : ''))),
    column('string', 'cause', 'of a rejection', Array.from(outcome, (o) => CAUSES[o] ?? '')),
    column('boolean', 'within_slo', 'completed within both SLOs', made((i) => (seen(i) ? Number(within(i)) : Number.NaN))),
    time('arrived_ns', 'since the start of the trace, as all times here', arrived),
    time('dispatched_ns', 'received by its prefill instance', marks(Mark.dispatchedNs)),
    time('started_ns', 'first chunk of the prompt on the GPUs', started),
    time('first_token_ns', 'prompt computed', firstToken),
    time('joined_ns', 'joined the decode batch', marks(Mark.joinedNs)),
    time('finished_ns', 'ended, in whatever way', finished),
    time('ttft_ns', 'arrival to first token', ttft),
    column('double', 'tbt_ns', 'mean of the longest 10 % of its gaps between tokens', made((i) => completed(i) ? recorder.tbtNs[i] : Number.NaN)),
    column('double', 'tpot_ns', '(e2e_ns - ttft_ns) / (output_tokens - 1)', made((i) => gapped(i) ? tpot[i] : Number.NaN)),
    time('e2e_ns', 'arrival to last token', e2e),
  ];
  return { rows: n, columns };
}
