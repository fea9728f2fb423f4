import { it } from 'vitest';
import { HOSTS, clusterOn, checkAtRest } from '../support/hosts.ts';
import { randomTrace, tinyPlan, tinyTopology } from '../support/tiny.ts';
import { RECKLESS } from '../fuzz/reckless.ts';
for (const kind of HOSTS) it(kind.name, async () => {
  const topology = tinyTopology({ prefill: 2, decode: 1, mixed: 1, coupled: 1, dramBlocks: 30, hbmTokens: 300 });
  const plan0 = await tinyPlan({ topology });
  const plan = { ...plan0, policies: { ...plan0.policies, prefill: RECKLESS.prefill } };
  const trace = randomTrace(3, { requests: 100 });
  const run = clusterOn(kind, { plan, trace, segmentFacts: 100 });
  const t = performance.now();
  await run.run();
  checkAtRest(run, trace.distinctBlocks);
  console.log(kind.name, performance.now() - t, [...run.causality.seen].map(([k, v]) => k + ' ' + v).join(', '));
});
