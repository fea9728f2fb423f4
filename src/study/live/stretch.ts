/** A trace's time against what its prompts take. */
import type { TraceColumns } from '../../core/trace-columns.ts';
import type { LivePlan } from '../../runtime/live/spec.ts';
import { scaleRate } from '../../trace/transform.ts';

/** Time stretched so that prompts, less what an endless cache had of them, make that load. */
export function stretched(
  trace: TraceColumns,
  { resolved, plan }: LivePlan,
  utilisation: number | undefined,
): TraceColumns {
  const spanNs = trace.arrivalNs[trace.requests - 1];
  if (utilisation === undefined || spanNs === 0) return trace;
  const seen = new Uint8Array(trace.distinctBlocks);
  let workNs = 0;
  for (let row = 0; row < trace.requests; row++) {
    let hit = 0;
    const [from, to] = [trace.blockStart[row], trace.blockStart[row + 1]];
    while (from + hit < to && seen[trace.blocks[from + hit]] === 1) hit++;
    for (let at = from; at < to; at++) seen[trace.blocks[at]] = 1;
    const input = trace.inputTokens[row];
    const cached = Math.min(hit * trace.blockTokens, input - 1);
    workNs += resolved.estimator.prefillNs(0, input, cached);
  }
  const { instances } = plan.topology;
  const prefill = instances.filter(({ roles }) => roles.includes('prefill')).length;
  return scaleRate(trace, (utilisation * prefill * spanNs) / workNs);
}
