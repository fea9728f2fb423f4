/** Laws of a swarm: all get everything once, nobody beats the links, peers relieve the origin. */
import { describe, expect, it } from 'vitest';
import { SHARD_POLICIES, shardPolicy } from '../../src/config/shard-policies.ts';
import { RandomStream } from '../../src/config/streams.ts';
import { SWARM_DEFAULTS } from '../../src/core/swarm.ts';
import { type SwarmPlan, type SwarmRun, simulateSwarm } from '../../src/sim/swarm.ts';

const SIZE_BYTES = 1e9;

function planOf(policy: string, over: Partial<SwarmPlan> = {}, seed = 1): SwarmPlan {
  return {
    pullers: 16,
    sizeBytes: SIZE_BYTES,
    shardBytes: 4e6,
    bytesPerNs: 1,
    controlNs: 200_000,
    detectNs: 1e9,
    uploadsMax: 4,
    settings: SWARM_DEFAULTS,
    crashes: [],
    policyOf: () => shardPolicy(policy).create(),
    randomOf: (peer) => {
      const stream = new RandomStream(seed, `swarm-${peer}`);
      return () => stream.next();
    },
    ...over,
  };
}

const lastNs = (run: SwarmRun) => Math.max(...run.doneNs);
const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);

describe('a simulated swarm', () => {
  for (const policy of SHARD_POLICIES) {
    it(`gives everything to everyone, once: ${policy}`, () => {
      const run = simulateSwarm(planOf(policy));
      expect(run.receivedBytes).toEqual([0, ...new Array(16).fill(SIZE_BYTES)]);
      expect(sum(run.sentBytes)).toBe(16 * SIZE_BYTES);
      expect(Math.min(...run.doneNs)).toBeGreaterThanOrEqual(SIZE_BYTES);
      expect(simulateSwarm(planOf(policy))).toEqual(run);
    });
  }

  it("takes the origin's whole link as long as pullers ask nobody else", () => {
    const run = simulateSwarm(planOf('origin'));
    expect(run.sentBytes[0]).toBe(16 * SIZE_BYTES);
    expect(lastNs(run)).toBeGreaterThanOrEqual(16 * SIZE_BYTES);
    expect(lastNs(run)).toBeLessThan(16.5 * SIZE_BYTES);
  });

  it('rarest first comes near the bound, and the origin sends little more than once', () => {
    const rarest = simulateSwarm(planOf('rarest'));
    expect(lastNs(rarest)).toBeLessThan(2 * SIZE_BYTES);
    expect(rarest.sentBytes[0]).toBeLessThan(1.5 * SIZE_BYTES);
    expect(lastNs(rarest)).toBeLessThan(lastNs(simulateSwarm(planOf('random'))));
  });

  it('a lone puller has the whole link', () => {
    const run = simulateSwarm(planOf('rarest', { pullers: 1 }));
    expect(lastNs(run)).toBeLessThan(1.06 * SIZE_BYTES);
  });

  it('loses nothing when pullers die, nor when the origin does after everything is out', () => {
    const crashes = [3, 7, 11].map((peer) => ({ peer, atNs: peer * 5e7 }));
    const run = simulateSwarm(planOf('rarest', { crashes }));
    run.doneNs.forEach((ns, i) => {
      expect(Number.isFinite(ns)).toBe(!crashes.some(({ peer }) => peer === i + 1));
    });
    const orphaned = simulateSwarm(planOf('rarest', { crashes: [{ peer: 0, atNs: 1.5e9 }] }));
    expect(orphaned.doneNs.every(Number.isFinite)).toBe(true);
  });

  it('the last shard may be short', () => {
    const run = simulateSwarm(planOf('rarest', { sizeBytes: 10_000_001, pullers: 3 }));
    expect(run.receivedBytes.slice(1)).toEqual([10_000_001, 10_000_001, 10_000_001]);
  });
});
