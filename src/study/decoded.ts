/**
 * What decode produced, as cached blocks. Such a block has no id until a later prompt presents one
 * at its place: it gets that id here. Its content follows from prompt and answer, so all that
 * continue it present the same; only which prompt continues which must be found.
 */
import { InputError } from '../core/errors.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { streamWithDecode } from './cache/access-stream.ts';

/** How the request that a prompt continues is found. */
export type DecodedRule = 'chain' | 'parent';

/**
 * - `chain`: a prompt continues the newest answer that waits after the block before the first one
 *   that is new; each answer is taken once. From ids alone; an upper estimate, as unrelated prompts
 *   after a common system prompt adopt too.
 * - `parent`: it continues the request that the trace names as its parent, else the one before it
 *   in its session.
 *
 * @throws InputError when the rule needs what the trace does not say
 */
export function withDecoded(trace: TraceColumns, rule: DecodedRule, place: string): TraceColumns {
  return rule === 'chain' ? byChain(trace) : byParent(trace, place);
}

function byChain(trace: TraceColumns): TraceColumns {
  const stream = streamWithDecode(trace);
  const start = stream.start!;
  const promptEnd = stream.promptEnd!;
  const prompts = new Int32Array(trace.blocks.length);
  const decodedStart = new Int32Array(trace.requests + 1);
  const decoded = new Int32Array(stream.blocks.length - prompts.length);
  for (let r = 0; r < trace.requests; r++) {
    prompts.set(stream.blocks.subarray(start[r], promptEnd[r]), trace.blockStart[r]);
    decoded.set(stream.blocks.subarray(promptEnd[r], start[r + 1]), decodedStart[r]);
    decodedStart[r + 1] = decodedStart[r] + start[r + 1] - promptEnd[r];
  }
  return {
    ...trace,
    distinctBlocks: stream.distinctBlocks,
    blocks: prompts,
    decoded: { start: decodedStart, blocks: decoded },
  };
}

function byParent(trace: TraceColumns, place: string): TraceColumns {
  const { requests, blockTokens, inputTokens, outputTokens, blockStart, blocks } = trace;
  const parents = parentsOf(trace, place);
  const fullOf = (r: number) => Math.floor(inputTokens[r] / blockTokens);
  const start = new Int32Array(requests + 1);
  for (let r = 0; r < requests; r++) {
    const all = Math.floor((inputTokens[r] + outputTokens[r]) / blockTokens);
    start[r + 1] = start[r] + all - fullOf(r);
  }
  const ids = new Int32Array(start[requests]).fill(-1);
  for (let r = 0; r < requests; r++) {
    const parent = parents[r];
    if (parent < 0) continue;
    const full = fullOf(parent);
    const length = Math.min(start[parent + 1] - start[parent], fullOf(r) - full);
    for (let i = 0; i < length; i++) {
      const at = start[parent] + i;
      if (ids[at] < 0) ids[at] = blocks[blockStart[r] + full + i];
    }
  }
  let distinctBlocks = trace.distinctBlocks;
  for (let at = 0; at < ids.length; at++) if (ids[at] < 0) ids[at] = distinctBlocks++;
  return { ...trace, distinctBlocks, decoded: { start, blocks: ids } };
}

function parentsOf({ requests, parent, session }: TraceColumns, place: string): Int32Array {
  if (parent !== null) return parent;
  if (session === null) {
    throw new InputError(
      'store.decodeCached: found parent and a trace without parents and sessions, expected chain',
      place,
    );
  }
  const last = new Map<number, number>();
  const parents = new Int32Array(requests).fill(-1);
  for (let r = 0; r < requests; r++) {
    if (session[r] < 0) continue;
    parents[r] = last.get(session[r]) ?? -1;
    last.set(session[r], r);
  }
  return parents;
}
