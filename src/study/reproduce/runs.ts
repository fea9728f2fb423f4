/** Runs one specification against its trace. */
import { Mark } from '../../core/host.ts';
import { Outcome } from '../../core/request.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { requestColumns } from '../../metrics/requests.ts';
import type { TimeSeries } from '../../metrics/series.ts';
import { replay } from '../replay.ts';
import type { LoadSeries, RunOutcome, RunSpec } from './types.ts';
import { FetchWatch, ReplicaWatch } from './watches.ts';

/** Equal keys mean equal runs, whatever they are watched for. */
export function runKey({ watch: _, ...rest }: RunSpec): string {
  return JSON.stringify(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** One specification for all that ask for the same run. */
export function mergeWatches(a: RunSpec, b: RunSpec): RunSpec {
  const watch = [...new Set([...(a.watch ?? []), ...(b.watch ?? [])])];
  return watch.length === 0 ? a : { ...a, watch };
}

/** @throws InputError for a configuration that does not fit */
export async function performRun(spec: RunSpec, given: TraceColumns): Promise<RunOutcome> {
  const { config, sets, rate, oneToken, watch = [] } = spec;
  const trace = oneToken === true ? endingAtFirstToken(given) : given;
  const replicas = watch.includes('replicas') ? new ReplicaWatch(trace) : null;
  const fetches = watch.includes('fetches') ? new FetchWatch() : null;
  const { result, recorder, samples } = await replay({
    trace,
    sampled: watch.includes('loads'),
    ...(config === undefined ? {} : { config }),
    ...(sets === undefined ? {} : { sets }),
    ...(rate === undefined ? {} : { rate }),
    observe: (topology) => {
      fetches?.begin(topology);
      return [replicas, fetches].filter((watcher) => watcher !== null);
    },
  });
  const { ttftNs, tbtNs } = requestColumns(recorder, trace, result.slo);
  return {
    result,
    ttftNs,
    tbtNs,
    completed: Uint8Array.from(recorder.column(Mark.outcome), (outcome) =>
      outcome === Outcome.completed ? 1 : 0,
    ),
    replicas: replicas?.finish() ?? null,
    fetches: fetches?.finish() ?? null,
    loads: samples === null ? null : loadSeries(samples.series),
  };
}

function loadSeries({ binNs, series }: TimeSeries): LoadSeries | null {
  const of = (metric: string) => series.find((one) => one.metric === metric)?.values;
  const [prefill, decode] = [of('prefill_load_ratio'), of('decode_load_ratio')];
  if (prefill === undefined || decode === undefined) return null;
  return { binNs, prefill: [...prefill], decode: [...decode] };
}

function endingAtFirstToken(trace: TraceColumns): TraceColumns {
  return { ...trace, outputTokens: new Int32Array(trace.requests).fill(1) };
}
