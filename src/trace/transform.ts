/** What is done to a trace between reading and playing. The checksum stays that of its origin. */
import { InputError } from '../core/errors.ts';
import type { TraceColumns } from '../core/trace-columns.ts';

/**
 * Multiplies the arrival rate: times of arrival are divided by `rate` and rounded to whole ns.
 * Think times stay: they are the user's, not the load's.
 */
export function scaleRate(trace: TraceColumns, rate: number): TraceColumns {
  if (!(rate > 0) || !Number.isFinite(rate)) {
    throw new InputError(`found ${rate}, expected a number above 0`, 'rate');
  }
  if (rate === 1) return trace;
  const arrivalNs = trace.arrivalNs.map((timeNs) => Math.round(timeNs / rate));
  if (!Number.isSafeInteger(arrivalNs[trace.requests - 1])) {
    throw new InputError(`found ${rate}, expected one that keeps times below 100 days`, 'rate');
  }
  return { ...trace, arrivalNs };
}

/** The first `limit` requests. Readers that can stop early do so themselves. */
export function takeFirst(trace: TraceColumns, limit: number): TraceColumns {
  checkCount('limit', limit);
  if (limit >= trace.requests) return trace;
  const blocks = trace.blocks.slice(0, trace.blockStart[limit]);
  return {
    ...trace,
    requests: limit,
    distinctBlocks: blocks.reduce((most, id) => Math.max(most, id), -1) + 1,
    arrivalNs: trace.arrivalNs.slice(0, limit),
    inputTokens: trace.inputTokens.slice(0, limit),
    outputTokens: trace.outputTokens.slice(0, limit),
    blockStart: trace.blockStart.slice(0, limit + 1),
    blocks,
    session: trace.session?.slice(0, limit) ?? null,
    parent: trace.parent?.slice(0, limit) ?? null,
    thinkNs: trace.thinkNs?.slice(0, limit) ?? null,
    priority: trace.priority?.slice(0, limit) ?? null,
    tenant: trace.tenant?.slice(0, limit) ?? null,
    sloClass: trace.sloClass?.slice(0, limit) ?? null,
    namespace: trace.namespace?.slice(0, limit) ?? null,
  };
}

export function checkCount(option: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new InputError(`found ${value}, expected an integer of at least 1`, option);
  }
}
