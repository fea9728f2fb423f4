/** Restore + replay = continuous run: for every machine, at many cut points, with every policy. */
import { describe, expect, it } from 'vitest';
import { policyNames } from '../../src/config/policies.ts';
import type { LoggedMachine } from '../../src/core/log.ts';
import { POLICY_KINDS } from '../../src/core/policy.ts';
import { expectReplays } from '../support/replays.ts';
import { simulate } from '../support/simulate.ts';
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
    const topology = tinyTopology({ prefill: 2, decode: 1, coupled: 1, dramBlocks: 20 });
    const plan = await tinyPlan({ topology, policies });
    const trace = randomTrace(7, { closed: 0.3 });
    const run = simulate({ plan, trace, segmentFacts: SEGMENT_FACTS });
    expect(run.cluster.workload.done).toBe(true);
    const ends = run.cluster.machines as readonly LoggedMachine[];
    const segments = expectReplays(plan, trace, run.logs, ends);
    expect(segments).toBeGreaterThan(3 * run.logs.length);
  });
});
