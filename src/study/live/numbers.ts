/**
 * Numbers of requests and blocks in a cluster that plays more than one trace. Requests get new
 * ones with each run; the blocks of one trace keep theirs, so that it finds its cache again. One
 * write to the registry a run.
 */
import type { TraceColumns } from '../../core/trace-columns.ts';
import { ABSENT, type Registry } from '../../runtime/registry/registry.ts';

const NEXT_REQUEST = 'numbers/next-request';
const NEXT_BLOCK = 'numbers/next-block';
const TRACES = 'numbers/traces/';

export function firstRequestOf(registry: Registry, requests: number): Promise<number> {
  return take(registry, NEXT_REQUEST, requests);
}

/** What the trace's block 0 is in the cluster. */
export async function firstBlockOf(registry: Registry, trace: TraceColumns): Promise<number> {
  const key = `${TRACES}${trace.sha256 === '' ? 'unnamed' : trace.sha256}/${trace.blockTokens}`;
  for (;;) {
    const known = await registry.get(key);
    const { first, blocks } = JSON.parse(known?.value ?? '{"first":0,"blocks":0}') as {
      first: number;
      blocks: number;
    };
    // More of it than before, or other decoded blocks: it begins anew.
    if (known !== null && blocks >= trace.distinctBlocks) return first;
    const taken = await take(registry, NEXT_BLOCK, trace.distinctBlocks);
    const value = JSON.stringify({ first: taken, blocks: trace.distinctBlocks });
    const put = await registry.put(key, value, known?.revision ?? ABSENT);
    if (put !== null) return taken;
  }
}

/** The next `count` numbers of a counter. */
async function take(registry: Registry, key: string, count: number): Promise<number> {
  for (;;) {
    const found = await registry.get(key);
    const first = found === null ? 0 : Number(found.value);
    const put = await registry.put(key, String(first + count), found?.revision ?? ABSENT);
    if (put !== null) return first;
  }
}
