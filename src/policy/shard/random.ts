/** Shards in order, each from any free peer that has it: what Mooncake's P2P Store does. */
import type { Pick, ShardPolicyModule, SwarmView } from '../../core/swarm.ts';
import { Shard } from '../../core/swarm.ts';

function next({ shards, states, free, random }: SwarmView): Pick | null {
  for (let shard = 0; shard < shards; shard++) {
    if (states[shard] !== Shard.missing) continue;
    const holders = free.filter(({ has }) => has[shard] === 1);
    if (holders.length > 0) return { shard, from: holders[Math.floor(random() * holders.length)] };
  }
  return null;
}

export default {
  source: 'Mooncake P2P Store (shards in turn, each from a location drawn at random)',
  create: () => ({ next }),
} satisfies ShardPolicyModule;
