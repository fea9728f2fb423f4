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

/**
 * These rows in this order, with the blocks named anew. Whose parent is not among them waits for
 * nobody; blocks that decode completes are left out.
 */
export function selectRows(trace: TraceColumns, rows: readonly number[]): TraceColumns {
  const { blockStart } = trace;
  const places = new Map(rows.map((row, at) => [row, at]));
  const ids = new Map<number, number>();
  const starts = new Int32Array(rows.length + 1);
  const blocks: number[] = [];
  for (const [at, row] of rows.entries()) {
    for (let index = blockStart[row]; index < blockStart[row + 1]; index++) {
      const block = trace.blocks[index];
      if (!ids.has(block)) ids.set(block, ids.size);
      blocks.push(ids.get(block)!);
    }
    starts[at + 1] = blocks.length;
  }
  const ints = (column: Int32Array | null) => {
    return column === null ? null : Int32Array.from(rows, (row) => column[row]);
  };
  const floats = (column: Float64Array) => Float64Array.from(rows, (row) => column[row]);
  const { decoded: _, ...columns } = trace;
  return {
    ...columns,
    requests: rows.length,
    distinctBlocks: ids.size,
    arrivalNs: floats(trace.arrivalNs),
    inputTokens: Int32Array.from(rows, (row) => trace.inputTokens[row]),
    outputTokens: Int32Array.from(rows, (row) => trace.outputTokens[row]),
    blockStart: starts,
    blocks: Int32Array.from(blocks),
    session: ints(trace.session),
    parent: ints(trace.parent)?.map((row) => places.get(row) ?? -1) ?? null,
    thinkNs: trace.thinkNs === null ? null : floats(trace.thinkNs),
    priority: ints(trace.priority),
    tenant: ints(trace.tenant),
    sloClass: ints(trace.sloClass),
    namespace: ints(trace.namespace),
  };
}

export function checkCount(option: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new InputError(`found ${value}, expected an integer of at least 1`, option);
  }
}
