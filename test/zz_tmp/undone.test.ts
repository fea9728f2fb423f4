import { it } from 'vitest';
import { scenarioOf } from '/work/main/test/fuzz/scenario.ts';
import { prepare } from '/work/main/test/support/simulate.ts';
import { CancellingIngress } from '/work/main/test/support/cancelling.ts';
import { Disturbance } from '/work/main/src/sim/disturbance.ts';
import { inspect } from '/work/main/src/core/snapshot.ts';
import { WORKLOAD, AddressBook } from '/work/main/src/core/topology.ts';
import { Mark } from '/work/main/src/core/host.ts';
it('x', async () => {
  for (const seed of process.env.S!.split(',').map(Number)) {
  const sc = await scenarioOf(seed);
  const run = prepare({ plan: sc.plan, trace: sc.trace, ...(sc.rates ? { disturbance: new Disturbance(sc.rates, sc.random) } : {}) });
  const ing = new CancellingIngress(run.cluster.workload, run.simulation.host(WORKLOAD), sc.cancels);
  run.simulation.setMachines([ing, ...run.cluster.machines.slice(1)]);
  run.simulation.run();
  const c: any = run.cluster;
  const live = [...c.conductor.live.values()];
  console.log('seed', seed, 'live', live.length, sc.plan.policies.prefill.name, JSON.stringify(sc.rates), 'now', run.simulation.nowNs);
  for (const b of live.slice(0, 3)) {
    const k = [...c.conductor.live.entries()].find(([, v]: any) => v === b)![0];
    const p = c.instances[b.prefillInstance], d = c.instances[b.decodeInstance];
    const { request, ...prompt } = p.prompts.get(k) ?? {};
    console.log(' R', b.request.id, 'in', b.request.inputTokens, 'out', b.request.outputTokens, 'p', b.prefillInstance, 'd', b.decodeInstance, 'prefilled', b.prefilled, 'cancelled', b.cancelled, 'prompt', JSON.stringify(prompt), 'claiming', d.claiming.has(k), 'joining', d.joining.length, 'batch', d.batch.length, 'run', d.run, 'cur', p.current, 'step', p.step, 'q', p.queue.length);
    const mem = [...c.stores.flatMap((s: any) => [...s.memories.values()])].find((m: any) => m.instance === b.decodeInstance) as any;
    const pm = [...c.stores.flatMap((s: any) => [...s.memories.values()])].find((m: any) => m.instance === b.prefillInstance) as any;
    console.log('  dmem', mem.usedBytes, mem.capacityBytes, JSON.stringify([...mem.holdings]), 'waiting', JSON.stringify(mem.waiting.map((w: any) => [w.ask.kind, w.ask.request.id ?? w.ask.request, w.bytes])));
    console.log('  pmem', pm.usedBytes, pm.capacityBytes, JSON.stringify([...pm.holdings].slice(0,5)), 'waiting', JSON.stringify(pm.waiting.map((w: any) => [w.ask.kind, w.ask.request.id ?? w.ask.request, w.bytes])));
  }
  }
});
