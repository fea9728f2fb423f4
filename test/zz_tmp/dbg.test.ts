import { it } from 'vitest';
import { scenarioOf } from '/work/main/test/fuzz/scenario.ts';
import { prepare } from '/work/main/test/support/simulate.ts';
import { CancellingIngress } from '/work/main/test/support/cancelling.ts';
import { Disturbance } from '/work/main/src/sim/disturbance.ts';
import { AddressBook, WORKLOAD } from '/work/main/src/core/topology.ts';
it('x', async () => {
  const seed = +process.env.S!;
  const sc = await scenarioOf(seed);
  console.log(JSON.stringify({st: sc.plan.settings, rates: sc.rates, names: Object.values(sc.plan.policies).map((p:any)=>p.name), nodes: sc.plan.topology.nodes.length, dram: sc.plan.topology.nodes[0].dramCapacityBytes/64, inst: sc.plan.topology.instances.map(i=>i.roles.join('+')+'@'+i.node+' '+i.kvCapacityBytes/4), delay: sc.plan.topology.controlDelayNs, cancels: sc.cancels.length, n: sc.trace.requests}));
  const ab = new AddressBook(sc.plan.topology);
  const lines: string[] = [];
  const show = (o: any) => JSON.stringify(o, (k, v) => k === 'blocks' && v.ids ? `[${v.length}]` : k==='gapsNs'? undefined : k==='request' && v && v.id!==undefined ? `R${v.id}` : v);
  const from = +(process.env.F ?? 0), to = +(process.env.T ?? 300);
  let n = 0;
  const only = process.env.R;
  const run = prepare({ plan: sc.plan, trace: sc.trace, ...(sc.rates ? { disturbance: new Disturbance(sc.rates, sc.random) } : {}), observers: [{
    onFact(a, f) { n++; if (n >= from && n < to) { const l = `${n} ${f.atNs} ${ab.name(f.from)}>${ab.name(a)} ${show(f.body)}`; if (!only || l.includes(`"request":${only},`) || l.includes(`R${only}"`) || l.includes('peerReset')) console.log(l.slice(0, 300)); } if (n > 30000) throw new Error('livelock'); },
  }] });
  const ing = new CancellingIngress(run.cluster.workload, run.simulation.host(WORKLOAD), sc.cancels);
  run.simulation.setMachines([ing, ...run.cluster.machines.slice(1)]);
  run.simulation.run();
  console.log('facts', n, 'done', run.cluster.workload.done);
});
