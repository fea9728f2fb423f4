/** Streams and policies for the tests of the cache laboratory. */
import { loadPolicy } from '../../src/config/policies.ts';
import { parsePolicyRef } from '../../src/config/policy-ref.ts';
import { type AccessStream, streamOfKeys } from '../../src/study/cache/access-stream.ts';
import { StreamFuture, type TouchOrder } from '../../src/study/cache/future.ts';
import { CachePool, ReplayContext } from '../../src/study/cache/pool.ts';
import { type ReplayCounts, replay, type Site } from '../../src/study/cache/replay.ts';
import { randomOf } from '../policy/eviction-tier.ts';

/** The stream on which every pair of policies differs: 400,000 accesses to 41,854 keys. */
export function skewedStream(): AccessStream {
  let x = 0x9e3779b9 | 0;
  const next = () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 16;
  };
  const keys = new Int32Array(400_000);
  let singles = 0;
  for (let i = 0; i < keys.length; i++) {
    if (i % 5000 >= 4700) {
      keys[i] = 20_000 + singles++;
    } else {
      const product = next() * next() * next();
      const rank = Math.floor((Math.floor(product / 2 ** 20) * 20_000) / 2 ** 28);
      keys[i] = (rank + Math.floor(i / 50_000) * 700) % 20_000;
    }
  }
  return streamOfKeys(keys, 20_000 + singles);
}

/** Requests given as lists of blocks, one second apart. */
export function streamOfRequests(requests: readonly (readonly number[])[]): AccessStream {
  const blocks = Int32Array.from(requests.flat());
  const start = new Int32Array(requests.length + 1);
  requests.forEach((request, r) => {
    start[r + 1] = start[r] + request.length;
  });
  return {
    requests: requests.length,
    distinctBlocks: Math.max(0, ...blocks) + 1,
    blockTokens: 1,
    blocks,
    start,
    promptEnd: start.subarray(1),
    inputTokens: null,
    timeNs: Float64Array.from(requests, (_, r) => r * 1e9),
    session: null,
  };
}

/** Replays against one pool; `capacity` null is without limit. */
export async function play(
  stream: AccessStream,
  policy: string,
  capacity: number | null,
  order: TouchOrder = 'forward',
): Promise<ReplayCounts> {
  const { module, params, name } = await loadPolicy(parsePolicyRef('eviction', policy, 'test'));
  const slots = capacity ?? Math.max(1, stream.distinctBlocks);
  const depths = stream.start === null ? 1 : 1000;
  const recomputeNs = Float64Array.from({ length: depths }, (_, depth) => 1 + depth / 100);
  const future = new StreamFuture(stream, order);
  const block = { bytes: 1, tokens: stream.blockTokens };
  const context = new ReplayContext(slots, block, recomputeNs, randomOf(7), future);
  const site: Site = {
    name,
    pool: new CachePool(slots, stream.distinctBlocks, recomputeNs),
    policy: module.create(context, params),
    context,
  };
  return replay(stream, [site], null, future, order);
}
