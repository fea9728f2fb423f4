/** How each class of requests fared: one row per priority and SLO class that the trace names. */
import { Mark } from '../core/host.ts';
import { Outcome } from '../core/request.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import type { Recorder } from './recorder.ts';
import type { RequestColumns } from './requests.ts';
import { type Distribution, distribution } from './select.ts';

export interface ClassResult {
  readonly priority: number;
  readonly sloClass: number;
  readonly arrived: number;
  readonly completed: number;
  /** Completed within both SLOs / arrived. */
  readonly effectiveRatio: number;
  readonly ttftNs: Distribution;
  readonly tbtNs: Distribution;
}

/** The highest priority first, then by SLO class; null where the trace has neither. */
export function classResults(
  recorder: Recorder,
  trace: TraceColumns,
  columns: RequestColumns,
): ClassResult[] | null {
  const { priority, sloClass } = trace;
  if (priority === null && sloClass === null) return null;
  const arrivedNs = recorder.column(Mark.arrivedNs);
  const rows = new Map<string, { priority: number; sloClass: number; requests: number[] }>();
  for (let i = 0; i < trace.requests; i++) {
    if (Number.isNaN(arrivedNs[i])) continue;
    const own = { priority: priority?.[i] ?? 0, sloClass: sloClass?.[i] ?? 0 };
    const key = `${own.priority}/${own.sloClass}`;
    const row = rows.get(key) ?? { ...own, requests: [] };
    row.requests.push(i);
    rows.set(key, row);
  }
  return [...rows.values()]
    .sort((a, b) => b.priority - a.priority || a.sloClass - b.sloClass)
    .map(({ requests, ...own }) => ({ ...own, ...resultOf(requests, recorder, columns) }));
}

function resultOf(
  requests: readonly number[],
  recorder: Recorder,
  { good, ttftNs, tbtNs }: RequestColumns,
): Omit<ClassResult, 'priority' | 'sloClass'> {
  const outcome = recorder.column(Mark.outcome);
  const of = (column: Float64Array) => Float64Array.from(requests, (i) => column[i]);
  const completed = requests.filter((i) => outcome[i] === Outcome.completed).length;
  const kept = requests.filter((i) => good[i] === 1).length;
  return {
    arrived: requests.length,
    completed,
    effectiveRatio: kept / requests.length,
    ttftNs: distribution(of(ttftNs)),
    tbtNs: distribution(of(tbtNs)),
  };
}
