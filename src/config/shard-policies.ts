/** Shard policies by name: src/policy/shard/NAME.ts. */
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';
import type { ShardPolicyModule } from '../core/swarm.ts';
import origin from '../policy/shard/origin.ts';
import random from '../policy/shard/random.ts';
import rarest from '../policy/shard/rarest.ts';

const BY_NAME: Readonly<Record<string, ShardPolicyModule>> = { rarest, random, origin };

export const SHARD_POLICIES: readonly string[] = Object.keys(BY_NAME);

/** @throws InputError */
export function shardPolicy(name: string, place = '--policy'): ShardPolicyModule {
  const found = BY_NAME[name];
  if (found !== undefined) return found;
  const expected = oneOf(name, SHARD_POLICIES);
  throw new InputError(
    `found unknown shard policy ${JSON.stringify(name)}, expected ${expected}`,
    place,
  );
}
