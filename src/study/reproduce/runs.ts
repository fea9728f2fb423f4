/** Runs one specification against its trace. */
import { Mark } from '../../core/host.ts';
import { Outcome } from '../../core/request.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { requestColumns } from '../../metrics/requests.ts';
import { replay } from '../replay.ts';
import type { RunOutcome, RunSpec } from './types.ts';
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
  const { result, recorder } = await replay({
    trace,
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
  };
}

function endingAtFirstToken(trace: TraceColumns): TraceColumns {
  return { ...trace, outputTokens: new Int32Array(trace.requests).fill(1) };
}
