/** Restore + replay = continuous run: for every machine, at many cut points, with every policy. */
import { describe, expect, it } from 'vitest';
import { policyNames } from '../../src/config/policies.ts';
import { wireCluster } from '../../src/config/wire.ts';
import { type LoggedMachine, ReplayHost, replaySegment } from '../../src/core/log.ts';
import { POLICY_KINDS } from '../../src/core/policy.ts';
import { CONDUCTOR } from '../../src/core/topology.ts';
import { Disturbance } from '../../src/sim/disturbance.ts';
import { scenarioOf } from '../fuzz/scenario.ts';
import { expectReplays } from '../support/replays.ts';
import { headerOf, simulate } from '../support/simulate.ts';
import { type PolicyNames, randomTrace, tinyPlan, tinyTopology } from '../support/tiny.ts';

const SEGMENT_FACTS = 40;

/** Policies that only offline studies can run. */
const OFFLINE = ['belady'];

const variants = POLICY_KINDS.flatMap((kind) =>
  policyNames(kind)
    .filter((name) => !OFFLINE.includes(name))
    .map((name): [string, Partial<PolicyNames>] => [`${kind} ${name}`, { [kind]: name }]),
);

describe('a recorded run replays', () => {
  it.each(variants)('with %s', async (_name, policies) => {
    const topology = tinyTopology({
      prefill: 2,
      decode: 1,
      coupled: 1,
      dramBlocks: 20,
      ssdBlocks: 50,
    });
    const plan = await tinyPlan({ topology, policies });
    const trace = randomTrace(7, { closed: 0.3 });
    const run = simulate({ plan, trace, segmentFacts: SEGMENT_FACTS });
    expect(run.cluster.workload.done).toBe(true);
    const ends = run.cluster.machines as readonly LoggedMachine[];
    const segments = expectReplays(plan, trace, run.logs, ends);
    expect(segments).toBeGreaterThan(1.5 * run.logs.length);
  });

  it('when everything goes wrong that can', async () => {
    let disturbed = 0;
    for (let seed = 1; seed <= 30; seed++) {
      const { plan, trace, rates, random } = await scenarioOf(seed);
      if (rates === null) continue;
      disturbed++;
      const disturbance = new Disturbance(rates, random);
      const run = simulate({ plan, trace, disturbance, segmentFacts: SEGMENT_FACTS });
      const ends = run.cluster.machines as readonly LoggedMachine[];
      expectReplays(plan, trace, run.logs, ends);
    }
    expect(disturbed).toBeGreaterThan(10);
  });

  it('in segments of a single fact', async () => {
    const topology = tinyTopology({ prefill: 1, decode: 1, dramBlocks: 8 });
    const plan = await tinyPlan({ topology });
    const trace = randomTrace(2, { requests: 6 });
    const run = simulate({ plan, trace, segmentFacts: 1 });
    const ends = run.cluster.machines as readonly LoggedMachine[];
    expect(expectReplays(plan, trace, run.logs, ends)).toBe(run.simulation.events);
  });

  it('only with the policies that it was recorded with', async () => {
    const topology = tinyTopology({ prefill: 3, decode: 1 });
    const trace = randomTrace(7);
    const plan = await tinyPlan({ topology, policies: { prefill: 'round-robin' } });
    const other = await tinyPlan({ topology, policies: { prefill: 'least-loaded' } });
    const [segment] = simulate({ plan, trace, segmentFacts: SEGMENT_FACTS }).logs[
      CONDUCTOR
    ].segments();
    const host = new ReplayHost();
    const conductor = wireCluster(other, trace, () => host).conductor;
    const header = headerOf(other, CONDUCTOR);
    expect(() => replaySegment(segment, header, conductor, host)).toThrow(
      /^found a log with policies "lru,round-robin,.*", expected "lru,least-loaded,/,
    );
    expect(() => replaySegment(segment, headerOf(plan, CONDUCTOR), conductor, host)).toThrow(
      'Conductor.policies: found RoundRobin, expected LeastLoaded',
    );
  });
});
