/**
 * The control-plane bench: the real conductor in a process of its own (real channels, real
 * registry), held to one core where `taskset` is there, against light agents and an ingress in this
 * process, held to another.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { InputError } from '../../core/errors.ts';
import { Outcome } from '../../core/request.ts';
import { Links } from '../../runtime/control/links.ts';
import {
  LEADER_KEY,
  type LivePlan,
  type LiveSpec,
  MEMBERS,
  originNow,
  planOf,
  SPEC_KEY,
} from '../../runtime/live/spec.ts';
import { EtcdRegistry } from '../../runtime/registry/etcd.ts';
import type { RegistryRef } from '../../runtime/registry/open.ts';
import { ANY, type Registry } from '../../runtime/registry/registry.ts';
import { EtcdMembers } from '../live/etcd-members.ts';
import { Hub } from '../live/hub.ts';
import { MAIN } from '../main-file.ts';
import { VERSION } from '../version.ts';
import { Crowd } from './control-agents.ts';
import type { ConductorFigures, ConductorSpec } from './control-conductor.ts';

export interface ControlOptions {
  readonly agents: number;
  /** Requests per second, and for how long; the first `warmSec` are not measured. */
  readonly perSec: number;
  readonly seconds: number;
  readonly warmSec: number;
  /** Blocks of a prompt; half of them are shared within a conversation. */
  readonly promptBlocks: number;
  /** Members of a real etcd that is started for it; 0: a registry in memory. */
  readonly etcd: number;
  readonly sets: readonly string[];
  /** Blocks that a node keeps: what comes beyond them removes the oldest. */
  readonly nodeBlocks: number;
  /** Hold the conductor and the load to a core each, where that can be. */
  readonly pin: boolean;
  /**
   * Real-time priority for both once they are warm: what a machine without other work would show.
   * Not before, because the compiler's threads would starve.
   */
  readonly realTime: boolean;
  /** Folder for the conductor's fact logs; null: it keeps none. */
  readonly logs: string | null;
}

export interface ControlResult {
  readonly options: ControlOptions;
  /** Whether the conductor and the load were held to a core each. */
  readonly pinned: boolean;
  readonly realTime: boolean;
  readonly conductor: ConductorFigures;
  /** CPU of the conductor per decision, ns, with all that goes with it. */
  readonly cpuNsPerDecision: number;
  readonly decisionsPerSec: number;
  /** As the load sees it: from the send of an arrival to the coming of its dispatch. */
  readonly roundTripNsP50: number;
  readonly roundTripNsP99: number;
  /** Blocks that agents said were stored and removed, while it was measured. */
  readonly storedBlocks: number;
  readonly removedBlocks: number;
  /** Requests in all, the warm-up included, and how they ended. */
  readonly requests: number;
  readonly completed: number;
  /** Writes to the registry while it was measured. */
  readonly registryWrites: number;
}

const START_MS = 60_000;
const DRAIN_MS = 20_000;
const PREFILL_MS = 40;
const DECODE_MS = 200;
const POLL_MS = 20;
const SETTLE_MS = 1000;
const TTL_MS = 5000;
const INGRESS = 'ingress';

/** Where the cluster agrees; `close` ends what serves it. */
interface Ground {
  readonly registry: Registry;
  readonly ref: RegistryRef;
  close(): Promise<void>;
}

/** The load: an ingress and agents, each with channels of its own. */
interface Stage {
  readonly ingress: Links;
  readonly agents: readonly Links[];
  readonly crowd: Crowd;
  readonly roundTripsNs: number[];
}

/** @throws InputError for bad options, or where etcd is asked for and missing */
export async function controlBench(options: ControlOptions): Promise<ControlResult> {
  const token = randomBytes(16).toString('hex');
  const spec = specOf(options);
  const live = await planOf(spec);
  const failures: string[] = [];
  const ground = await openGround(options, token);
  const stage = await openStage(options, live, token, ground.registry, (why) => failures.push(why));
  await ground.registry.put(SPEC_KEY, JSON.stringify(spec), ANY);
  const child = startConductor({ name: 'conductor-0', token, registry: ground.ref });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  try {
    await enter(stage, ground.registry);
    stage.crowd.greet();
    const result = await measure(options, ground.registry, stage, child, lines);
    if (failures.length > 0) throw new Error(failures[0]);
    return result;
  } finally {
    stage.crowd.stop();
    child.stdin?.end();
    await new Promise<void>((done) => {
      if (child.exitCode !== null || child.signalCode !== null) done();
      else child.once('exit', () => done());
    });
    for (const links of [...stage.agents, stage.ingress]) await links.close();
    await ground.close();
  }
}

async function openGround({ etcd }: ControlOptions, token: string): Promise<Ground> {
  if (etcd === 0) {
    const hub = await Hub.start('127.0.0.1:0', { token, tls: null });
    const { registry, port } = hub;
    return { registry, ref: { hub: `127.0.0.1:${port}` }, close: () => hub.close() };
  }
  const members = await EtcdMembers.start(etcd);
  const prefix = 'bench/';
  const { endpoints } = members;
  const registry = new EtcdRegistry({ endpoints, prefix, credentials: null });
  const close = async () => {
    await registry.close();
    await members.stop();
  };
  return { registry, ref: { etcd: endpoints, prefix }, close };
}

function specOf({ agents, seconds, perSec, promptBlocks, sets, logs }: ControlOptions): LiveSpec {
  if (agents < 2) throw new InputError(`found ${agents}, expected at least 2`, '--agents');
  const decode = Math.max(1, Math.round(agents / 4));
  return {
    version: VERSION,
    config: 'mooncake-16',
    sets: [
      `cluster.groups.0.count=${agents - decode}`,
      `cluster.groups.1.count=${decode}`,
      ...sets,
    ],
    options: {},
    blockTokens: 512,
    blocks: 100_000 + Math.ceil(Math.min(seconds, 120) * perSec * promptBlocks),
    speed: 1,
    origin: originNow(),
    blockBytes: 4096,
    rails: [],
    prefault: false,
    ssd: null,
    logs,
  };
}

/** Holds a process to a core of its own; false where that can't be. */
function pin(pid: number, core: number): boolean {
  if (cpus().length < 2) return false;
  return spawnSync('taskset', ['-a', '-p', '-c', String(core), String(pid)]).status === 0;
}

/** Gives all threads of a process real-time priority; false where that is not permitted. */
function makeRealTime(pid: number): boolean {
  return spawnSync('chrt', ['-a', '-r', '-p', '1', String(pid)]).status === 0;
}

function startConductor(spec: ConductorSpec): ChildProcess {
  const args = [MAIN, 'bench', 'control', '--part', JSON.stringify(spec)];
  return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
}

async function openStage(
  options: ControlOptions,
  { plan, spec }: LivePlan,
  token: string,
  registry: Registry,
  onFailure: (why: string) => void,
): Promise<Stage> {
  const endpoints = new Map<string, string>();
  let conductor = '';
  const open = (name: string): Links =>
    new Links({
      name,
      life: Date.now(),
      listen: '127.0.0.1:0',
      token,
      tls: null,
      endpointOf: (peer) => endpoints.get(peer) ?? null,
      handler: {
        onMessage: (_, letter) => {
          const [kind, , to, body] = letter as [string, number, number, never];
          if (kind === 'message') crowd.receive(to, body);
        },
        onReset: (peer, cause) => onFailure(`the channel of ${name} to ${peer} broke: ${cause}`),
      },
    });
  const ingress = open(INGRESS);
  const agents = plan.topology.nodes.map(({ id }) => open(`node-${id}`));
  for (const links of [ingress, ...agents]) await links.listen();
  await registry.watch(MEMBERS, (entries) => {
    for (const { value } of entries.values()) {
      const { name, role, endpoint } = JSON.parse(value);
      if (role === 'conductor') conductor = name;
      endpoints.set(name, endpoint);
    }
  });
  const roundTripsNs: number[] = [];
  let state = 1;
  const crowd = new Crowd({
    topology: plan.topology,
    perSec: options.perSec,
    promptBlocks: options.promptBlocks,
    sharedBlocks: options.promptBlocks >> 1,
    blocks: spec.blocks,
    nodeBlocks: options.nodeBlocks,
    prefillMs: PREFILL_MS,
    decodeMs: DECODE_MS,
    random: () => {
      state = (state * 48_271) % 2_147_483_647;
      return state / 2_147_483_647;
    },
    send: (node, letter) => (node < 0 ? ingress : agents[node]).send(conductor, letter),
    onRoundTrip: (ns) => roundTripsNs.push(ns),
  });
  return { ingress, agents, crowd, roundTripsNs };
}

/** Registers the agents and the ingress, and waits for the conductor to lead. */
async function enter({ ingress, agents }: Stage, registry: Registry): Promise<void> {
  const lease = await registry.lease(TTL_MS);
  const put = (name: string, role: string, node: number, { port }: Links) => {
    const endpoint = `127.0.0.1:${port}`;
    const member = { name, role, node, endpoint, incarnation: 0, segment: null };
    return lease.put(MEMBERS + name, JSON.stringify(member), ANY);
  };
  await put(INGRESS, 'ingress', -1, ingress);
  for (let node = 0; node < agents.length; node++) {
    await put(`node-${node}`, 'agent', node, agents[node]);
  }
  const untilMs = performance.now() + START_MS;
  while ((await registry.get(LEADER_KEY)) === null) {
    if (performance.now() > untilMs) throw new Error('no conductor led in time');
    await sleep(POLL_MS);
  }
  // Until all have seen who the members are and who leads.
  await sleep(SETTLE_MS);
}

async function measure(
  options: ControlOptions,
  registry: Registry,
  { crowd, roundTripsNs }: Stage,
  child: ChildProcess,
  lines: AsyncIterator<string>,
): Promise<ControlResult> {
  const { warmSec, seconds } = options;
  const { pid = 0 } = child;
  const pinned = options.pin && pin(pid, 0) && pin(process.pid, 1);
  crowd.start((warmSec + seconds) * 1e3);
  await sleep(warmSec * 750);
  const realTime = options.realTime && makeRealTime(pid) && makeRealTime(process.pid);
  // What other work has held up until then is worked off first.
  await sleep(warmSec * 250);
  const before = { stored: crowd.stored, removed: crowd.removed };
  const revision = await writesSoFar(registry);
  roundTripsNs.length = 0;
  child.stdin?.write('start\n');
  await sleep(seconds * 1e3);
  child.stdin?.write('stop\n');
  const { value, done } = await lines.next();
  if (done === true) throw new Error('the conductor ended');
  const conductor = JSON.parse(value) as ConductorFigures;
  const roundTrips = Float64Array.from(roundTripsNs).sort();
  const storedBlocks = crowd.stored - before.stored;
  const removedBlocks = crowd.removed - before.removed;
  const registryWrites = (await writesSoFar(registry)) - revision - 1;
  const untilMs = performance.now() + DRAIN_MS;
  while (crowd.ended < crowd.sent && performance.now() < untilMs) await sleep(POLL_MS);
  return {
    options,
    pinned,
    realTime,
    conductor,
    cpuNsPerDecision: Math.round((conductor.cpuSec * 1e9) / conductor.decisions),
    decisionsPerSec: conductor.decisions / conductor.wallSec,
    roundTripNsP50: Math.round(roundTrips[Math.ceil(0.5 * roundTrips.length) - 1] ?? 0),
    roundTripNsP99: Math.round(roundTrips[Math.ceil(0.99 * roundTrips.length) - 1] ?? 0),
    storedBlocks,
    removedBlocks,
    requests: crowd.sent,
    completed: crowd.outcomes.get(Outcome.completed) ?? 0,
    registryWrites,
  };
}

/** The registry's revision counts its writes; asking takes one. */
async function writesSoFar(registry: Registry): Promise<number> {
  return (await registry.put('bench/mark', '', ANY)) ?? 0;
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
