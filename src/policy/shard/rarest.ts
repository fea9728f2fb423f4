/**
 * Rarest first (Cohen 2003, BitTorrent): of the shards that a free peer has, one that fewest others
 * have, drawn among equals; from the peer that is least busy, the origin only before equals that
 * have waited longer. So the origin sends each shard about once, and peers feed each other.
 */
import type { Holder, Pick, ShardPolicyModule, SwarmView } from '../../core/swarm.ts';
import { Shard } from '../../core/swarm.ts';

function next(view: SwarmView): Pick | null {
  const { shards, states, copies, free, random } = view;
  let [shard, least, equals] = [-1, Infinity, 0];
  for (let i = 0; i < shards; i++) {
    if (states[i] !== Shard.missing || copies[i] > least || copies[i] === 0) continue;
    if (!free.some(({ has }) => has[i] === 1)) continue;
    equals = copies[i] < least ? 1 : equals + 1;
    least = copies[i];
    if (equals === 1 || random() * equals < 1) shard = i;
  }
  if (shard < 0) return null;
  return { shard, from: leastBusy(free, shard, random) };
}

function leastBusy(free: readonly Holder[], shard: number, random: () => number): Holder {
  let [best, equals] = [null as Holder | null, 0];
  const load = ({ reads, waiting, origin }: Holder) => reads + waiting + (origin ? 0.5 : 0);
  for (const peer of free) {
    if (peer.has[shard] === 0) continue;
    const ahead = best === null ? -1 : load(peer) - load(best);
    if (ahead > 0) continue;
    equals = ahead < 0 ? 1 : equals + 1;
    if (equals === 1 || random() * equals < 1) best = peer;
  }
  return best!;
}

export default {
  source: 'Cohen, Incentives Build Robustness in BitTorrent (2003), section 2.4',
  create: () => ({ next }),
} satisfies ShardPolicyModule;
