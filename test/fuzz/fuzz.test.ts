/**
 * Random clusters under random workloads, disturbed and not: every law at every fact. A failure
 * prints its seed; MOONTIDE_FUZZ_SEED=n runs that one alone, MOONTIDE_FUZZ_SCENARIOS=n the first n.
 */
import { describe, expect, it } from 'vitest';
import { Mark } from '../../src/core/host.ts';
import { Outcome } from '../../src/core/request.ts';
import { AddressBook, WORKLOAD } from '../../src/core/topology.ts';
import { Disturbance } from '../../src/sim/disturbance.ts';
import { CancellingIngress } from '../support/cancelling.ts';
import { Causality } from '../support/causality.ts';
import { checkHbmDirectory } from '../support/hosts.ts';
import { prepare, type Simulated } from '../support/simulate.ts';
import { TornReads } from '../support/torn-reads.ts';
import { type Scenario, scenarioOf } from './scenario.ts';

const SCENARIOS = 500;
/**
 * No scenario needs as many; a livelock does. Most are looks of an elasticity policy, every 50,000
 * ns while a request waits for connections that take seconds to fail.
 */
const FACTS_MAX = 1_000_000;

const only = process.env.MOONTIDE_FUZZ_SEED;
const scenarios = Number(process.env.MOONTIDE_FUZZ_SCENARIOS ?? SCENARIOS);
const seeds = only === undefined ? Array.from({ length: scenarios }, (_, i) => i + 1) : [+only];

async function run(seed: number): Promise<void> {
  const scenario = await scenarioOf(seed);
  const { plan, trace, cancels, rates, random, faults } = scenario;
  const disturbed = rates !== null || faults !== null;
  const causality = new Causality(plan.topology, { disturbed, exact: true });
  const addresses = new AddressBook(plan.topology);
  const torn = new TornReads(addresses, () => run.cluster.stores);
  let last = -1;
  const checker = {
    onFact(to: number) {
      if (last >= 0) run.cluster.stores[addresses.storeNode(last)].check();
      last = addresses.isStore(to) ? to : -1;
      if (causality.facts > FACTS_MAX) throw new Error('the run does not come to an end');
    },
  };
  const run = prepare({
    plan,
    trace,
    observers: [causality, checker, torn],
    ...(rates === null ? {} : { disturbance: new Disturbance(rates, random) }),
    ...(faults === null ? {} : { scenario: faults }),
  });
  const { cluster, simulation } = run;
  const host = simulation.host(WORKLOAD);
  const ingress = new CancellingIngress(cluster.workload, host, cancels);
  simulation.setMachines([ingress, ...cluster.machines.slice(1)]);
  simulation.run();
  causality.checkEnd();
  checkRequests(run, scenario);
  checkNothingHeld(run, scenario);
  checkDirectory(run, scenario);
  if (!disturbed) checkBytes(run);
}

/** Requests in = completed + rejected + failed + cancelled, each with one outcome. */
function checkRequests({ cluster, recorder }: Simulated, { trace, cancels }: Scenario): void {
  expect(cluster.workload.done, 'every request has its end').toBe(true);
  const outcomes = recorder.column(Mark.outcome);
  const cancelled = new Set(cancels.map(({ request }) => request));
  for (let request = 0; request < trace.requests; request++) {
    const outcome = outcomes[request];
    expect(Object.values(Outcome), `outcome of request ${request}`).toContain(outcome);
    expect(outcome).not.toBe(Outcome.inFlight);
    if (outcome === Outcome.cancelled) expect(cancelled).toContain(request);
  }
}

/** Leases, memory and parking space came back; where messages were lost, after their ttl. */
function checkNothingHeld(run: Simulated, { plan, rates, faults }: Scenario): void {
  const { cluster, simulation, addresses } = run;

  const { leaseTtlNs, guardNs } = plan.settings.store;
  const { reserveTtlNs } = plan.settings.instance;
  const whole = rates === null && faults === null;
  const ttlNs = whole ? 0 : leaseTtlNs + guardNs + reserveTtlNs;
  for (const [node, store] of cluster.stores.entries()) {
    if (!simulation.isDead(addresses.store(node))) store.checkIdle(simulation.nowNs + ttlNs);
  }
  for (const [id, instance] of cluster.instances.entries()) {
    if (!simulation.isDead(addresses.instance(id))) instance.checkIdle();
  }
  cluster.conductor.checkIdle();
}

/** At rest the hint is the truth. */
function checkDirectory({ cluster, simulation, addresses }: Simulated, { trace }: Scenario): void {
  const { directory } = cluster.conductor;
  const isDead = (node: number) => simulation.isDead(addresses.store(node));
  checkHbmDirectory(cluster, trace.distinctBlocks, isDead);
  for (const [node, { tiers }] of cluster.stores.entries()) {
    for (let block = 0; block < trace.distinctBlocks; block++) {
      const message = `node ${node} holds block ${block}`;
      expect(directory.has(node, block), message).toBe(!isDead(node) && tiers.isReady(block));
    }
  }
}

/** What the network moved is what the metrics account, rail by rail summed up. */
function checkBytes({ simulation, recorder, cluster }: Simulated): void {
  const { network, nowNs } = simulation;
  const { nodes } = cluster.conductor.world.topology;
  const moved = new Map<string, number>();
  for (let resource = 0; resource < network.resourceCount; resource++) {
    const [owner, link] = network.resourceName(resource).split('/');
    const way = link.replace(/^(?:rails|r\d+)-(in|out)$/, 'rails-$1');
    const key = `${owner}/${way}`;
    moved.set(key, (moved.get(key) ?? 0) + network.bytesMoved(resource, nowNs));
  }
  const kinds = {
    'rails-out': recorder.bytes.railsOut,
    'rails-in': recorder.bytes.railsIn,
    'host-to-device': recorder.bytes.hostToDevice,
    'device-to-host': recorder.bytes.deviceToHost,
    'ssd-read': recorder.bytes.ssdRead,
    'ssd-write': recorder.bytes.ssdWrite,
  };
  for (const { id, name } of nodes) {
    for (const [kind, accounted] of Object.entries(kinds)) {
      const key = `${name}/${kind}`;
      expect(moved.get(key) ?? 0, key).toBeCloseTo(accounted[id], 3);
    }
  }
}

describe('random scenarios', () => {
  it.each(seeds)('seed %i', async (seed) => {
    try {
      await run(seed);
    } catch (error) {
      const { message, stack } = error as Error;
      throw new Error(`MOONTIDE_FUZZ_SEED=${seed}: ${message}\n${stack}`);
    }
  });
});
