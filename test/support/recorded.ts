/** A simulated cluster whose machines log as live ones do: quick, and the same every time. */
import { policiesText } from '../../src/config/policies.ts';
import { wireCluster } from '../../src/config/wire.ts';
import {
  type Command,
  type Log,
  type LoggedMachine,
  recordHost,
  recordMachine,
} from '../../src/core/log.ts';
import { type Address, AddressBook, CONDUCTOR, WORKLOAD } from '../../src/core/topology.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { FactLogs, type LogLimits } from '../../src/runtime/live/fact-logs.ts';
import { manifestOf } from '../../src/runtime/live/log-manifest.ts';
import { type LiveSpec, planOf } from '../../src/runtime/live/spec.ts';
import { railPolicies } from '../../src/sim/rails.ts';
import { Simulation } from '../../src/sim/simulation.ts';

export interface RecordedOptions {
  readonly folder: string;
  readonly trace: TraceColumns;
  /** Policies, as options of the command line. */
  readonly options?: LiveSpec['options'];
  readonly sets?: readonly string[];
  readonly limits?: Partial<LogLimits>;
  /** Spoils a command on its way into the log of a machine. */
  readonly change?: (machine: string, command: Command) => Command;
}

/** Three prefill nodes and one for decode, with room for 38 blocks of the tiny traces. */
const CLUSTER = [
  'cluster.groups.0.count=3',
  'cluster.groups.0.dram=200MB',
  'cluster.groups.1.count=1',
  'cluster.groups.1.dram=200MB',
];

export async function record(given: RecordedOptions): Promise<void> {
  const { folder, trace, options = {}, sets = [], limits = {}, change } = given;
  const live = await planOf({
    version: '0.0.1',
    config: 'mooncake-16',
    sets: [...CLUSTER, ...sets],
    options,
    blockTokens: trace.blockTokens,
    blocks: trace.distinctBlocks,
    speed: 1,
    origin: { boot: '', hrtimeNs: '0', epochMs: 0 },
    blockBytes: 4096,
    rails: [],
    prefault: false,
    ssd: null,
    logs: folder,
  });
  const { plan, resolved } = live;
  const addresses = new AddressBook(plan.topology);
  const memberOf = (address: Address) =>
    address === WORKLOAD
      ? 'hub'
      : address === CONDUCTOR
        ? 'conductor-0'
        : `node-${addresses.nodeOf[address]}`;
  const logs = new Map<string, FactLogs>();
  const logsOf = (member: string) => {
    const onWarning = (message: string) => {
      throw new Error(message);
    };
    const own =
      logs.get(member) ??
      new FactLogs({
        folder,
        member,
        incarnation: 0,
        manifest: manifestOf(live),
        stats: () => ({}),
        onWarning,
        limits: { frameBytes: 4096, segmentBytes: 10_000, snapshotShare: 1e9, ...limits },
      });
    logs.set(member, own);
    return own;
  };
  const simulation = new Simulation({
    topology: plan.topology,
    costs: resolved.truth,
    loadOverlap: plan.settings.instance.loadOverlap,
    rails: railPolicies(plan, false),
    observers: [],
    disturbance: null,
  });
  const logOf: Log[] = [];
  for (let address = 0; address < addresses.count; address++) {
    const header = {
      machine: addresses.name(address),
      incarnation: 0,
      seed: plan.seed,
      policies: policiesText(plan.policies),
      configuration: plan.settings,
    };
    const log = logsOf(memberOf(address)).open(header, address === WORKLOAD ? trace : null);
    logOf.push({
      fact: (machine, fact) => log.fact(machine, fact),
      command: (command) => log.command(change?.(header.machine, command) ?? command),
    });
  }
  const hostOf = (address: Address) => recordHost(simulation.host(address), logOf[address]);
  const { machines } = wireCluster(plan, trace, hostOf);
  simulation.setMachines(
    machines.map((machine, address) => recordMachine(machine as LoggedMachine, logOf[address])),
  );
  simulation.run();
  for (const own of logs.values()) own.close();
}
