import { it } from 'vitest';
import { scenarioOf } from '/work/main/test/fuzz/scenario.ts';
import { prepare } from '/work/main/test/support/simulate.ts';
import { CancellingIngress } from '/work/main/test/support/cancelling.ts';
import { Disturbance } from '/work/main/src/sim/disturbance.ts';
import { WORKLOAD } from '/work/main/src/core/topology.ts';
import { Causality } from '/work/main/test/support/causality.ts';
import { COUNT_NAMES, Mark } from '/work/main/src/core/host.ts';
import { Outcome } from '/work/main/src/core/request.ts';
it('x', async () => {
  const tot: Record<string, number> = {}; const scen: Record<string, number> = {};
  for (let seed = 1; seed <= 200; seed++) {
  const sc = await scenarioOf(seed);
  const c = new Causality(sc.plan.topology, { disturbed: sc.rates !== null, exact: true });
  const run = prepare({ plan: sc.plan, trace: sc.trace, ...(sc.rates ? { disturbance: new Disturbance(sc.rates, sc.random) } : {}), observers: [c] });
  const ing = new CancellingIngress(run.cluster.workload, run.simulation.host(WORKLOAD), sc.cancels);
  run.simulation.setMachines([ing, ...run.cluster.machines.slice(1)]);
  try { run.simulation.run(); } catch (e) { console.log(seed, (e as Error).message); }
  const add = (k: string, v: number) => { if (v === 0) return; tot[k] = (tot[k] ?? 0) + v; scen[k] = (scen[k] ?? 0) + 1; };
  for (const [k, v] of c.seen) add(k, v);
  COUNT_NAMES.forEach((k, i) => add('count ' + k, run.recorder.counts[i]));
  for (const [k, v] of Object.entries(Outcome)) add('outcome ' + k, run.recorder.column(Mark.outcome).filter((x) => x === v).length);
  add('undone', run.cluster.workload.done ? 0 : 1);
  }
  for (const k of Object.keys(tot).sort()) console.log(k.padEnd(30), tot[k], 'in', scen[k]);
});
