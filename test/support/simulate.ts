/** Runs a tiny cluster in the simulator, recorded if asked. */
import { type Cluster, type ClusterPlan, wireCluster } from '../../src/config/wire.ts';
import type { Machine } from '../../src/core/host.ts';
import {
  FactLog,
  type LoggedMachine,
  type LogHeader,
  recordHost,
  recordMachine,
} from '../../src/core/log.ts';
import type { Observer } from '../../src/core/observer.ts';
import { POLICY_KINDS } from '../../src/core/policy.ts';
import type { Scenario } from '../../src/core/scenario.ts';
import { type Address, AddressBook } from '../../src/core/topology.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { Recorder } from '../../src/metrics/recorder.ts';
import type { Disturbance } from '../../src/sim/disturbance.ts';
import { Faults } from '../../src/sim/faults.ts';
import { railPolicies } from '../../src/sim/rails.ts';
import { Simulation } from '../../src/sim/simulation.ts';
import { tinyCosts } from './tiny.ts';

export interface SimulateOptions {
  readonly plan: ClusterPlan;
  readonly trace: TraceColumns;
  readonly observers?: readonly Observer[];
  readonly disturbance?: Disturbance;
  /** What happens from outside. */
  readonly scenario?: Scenario;
  /** Record every machine, with a new segment after so many facts. */
  readonly segmentFacts?: number;
}

export interface Simulated {
  readonly cluster: Cluster;
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  /** By address; empty when nothing is recorded. */
  readonly logs: readonly FactLog[];
  readonly addresses: AddressBook;
}

/** A cluster that is wired and not yet run. */
export function prepare(options: SimulateOptions): Simulated {
  const { plan, trace, observers = [], disturbance = null, segmentFacts, scenario } = options;
  const { topology } = plan;
  const recorder = new Recorder(topology, trace.requests);
  const simulation = new Simulation({
    topology,
    costs: tinyCosts(topology),
    loadOverlap: plan.settings.instance.loadOverlap,
    rails: railPolicies(plan, scenario !== undefined),
    observers: [recorder, ...observers],
    disturbance,
  });
  const { logs, cluster, machines } = wireRecorded(plan, trace, segmentFacts, (address) =>
    simulation.host(address),
  );
  simulation.setMachines(machines);
  if (scenario !== undefined) simulation.setFaults(new Faults(topology, scenario, cluster));
  return { cluster, simulation, recorder, logs, addresses: cluster.addresses };
}

export function simulate(options: SimulateOptions): Simulated {
  const prepared = prepare(options);
  prepared.simulation.run();
  return prepared;
}

export function headerOf(plan: ClusterPlan, address: Address): LogHeader {
  const { policies, seed, settings } = plan;
  const names = POLICY_KINDS.map((kind) => policies[kind].name);
  return {
    machine: new AddressBook(plan.topology).name(address),
    incarnation: 1,
    seed,
    policies: names.join(),
    configuration: settings,
  };
}

/** Wires a cluster whose machines write logs; plain when `segmentFacts` is undefined. */
export function wireRecorded(
  plan: ClusterPlan,
  trace: TraceColumns,
  segmentFacts: number | undefined,
  hostOf: Parameters<typeof wireCluster>[2],
  incarnation = 0,
): { cluster: Cluster; machines: readonly Machine[]; logs: readonly FactLog[] } {
  if (segmentFacts === undefined) {
    const cluster = wireCluster(plan, trace, hostOf, incarnation);
    return { cluster, machines: cluster.machines, logs: [] };
  }
  const { count } = new AddressBook(plan.topology);
  const logs = Array.from({ length: count }, (_, address) => {
    return new FactLog(headerOf(plan, address), segmentFacts);
  });
  const cluster = wireCluster(plan, trace, (address) => recordHost(hostOf(address), logs[address]));
  const machines = cluster.machines.map((machine, address) => {
    return recordMachine(machine as LoggedMachine, logs[address]);
  });
  return { cluster, machines, logs };
}
