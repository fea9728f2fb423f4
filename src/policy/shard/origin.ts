/** Everything from whoever offered it, in order: what a file server does. The baseline. */
import type { Pick, ShardPolicyModule, SwarmView } from '../../core/swarm.ts';
import { Shard } from '../../core/swarm.ts';

function next({ shards, states, free }: SwarmView): Pick | null {
  for (let shard = 0; shard < shards; shard++) {
    if (states[shard] !== Shard.missing) continue;
    const from = free.find(({ origin, has }) => origin && has[shard] === 1);
    if (from !== undefined) return { shard, from };
  }
  return null;
}

export default { source: 'baseline', create: () => ({ next }) } satisfies ShardPolicyModule;
