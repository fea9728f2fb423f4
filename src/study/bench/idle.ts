/**
 * What a cluster costs that has nothing to do: agents and conductors as real processes, the CPU of
 * each over a while, and its memory with and without its pools.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { InputError } from '../../core/errors.ts';
import { mappedMemory } from '../../runtime/process-memory.ts';
import { openTrace } from '../../trace/index.ts';
import { specOf } from '../live/cluster-spec.ts';
import { drive } from '../live/drive.ts';
import { LocalCluster } from '../live/local-cluster.ts';
import { visiting } from '../live/visitor.ts';

export interface IdleOptions {
  readonly nodes: number;
  readonly conductors: number;
  /** Members of a real etcd; 0: a registry in memory, in this process. */
  readonly etcd: number;
  /** Requests of the demo trace that it serves before; 0: none. */
  readonly requests: number;
  /** Left alone before, and measured. */
  readonly settleSec: number;
  readonly seconds: number;
}

/** One process. */
export interface IdleProcess {
  readonly name: string;
  /** Of one core, over the time measured. */
  readonly cpuRatio: number;
  /** At its end: resident without pools, of this what no other process has, and the pools. */
  readonly withoutPoolsBytes: number;
  readonly privateBytes: number;
  readonly poolBytes: number;
}

export interface IdleResult {
  readonly options: IdleOptions;
  readonly processes: readonly IdleProcess[];
  /** Of one core, all processes together. */
  readonly cpuRatio: number;
  readonly withoutPoolsBytesMax: number;
}

const UP_MS = 60_000;
const SPEED = 20;

/** @throws InputError for bad options, and where the addon, etcd or /proc is missing */
export async function idleBench(options: IdleOptions): Promise<IdleResult> {
  if (cpuNs(process.pid) === null) throw new InputError('found no /proc, expected Linux');
  const trace = await openTrace('demo', { limit: Math.max(1, options.requests) });
  const size = { blockTokens: trace.blockTokens, blocks: trace.distinctBlocks };
  const { nodes, conductors, etcd } = options;
  const own = { nodes, speed: SPEED, transport: 'local', logs: null } as const;
  const spec = await specOf(own, size);
  const token = randomBytes(16).toString('hex');
  const deaths: Error[] = [];
  const cluster = await LocalCluster.start({
    spec,
    token,
    nodes: Array.from({ length: nodes }, (_, node) => node),
    conductors,
    etcd,
    restarts: () => false,
    onEnd: (error) => deaths.push(error),
  });
  const where = { registry: cluster.registry, token };
  try {
    // Whoever looks leaves again: nobody but its members is in the cluster while it is measured.
    await visiting(where, (visitor) => inTime(visitor.ready(nodes)));
    if (options.requests > 0) await drive(where, { trace, agents: nodes });
    await sleep(1e3 * options.settleSec);
    const result = await measure(options, cluster);
    if (deaths.length > 0) throw deaths[0];
    return result;
  } finally {
    await cluster.stop();
  }
}

async function measure(options: IdleOptions, cluster: LocalCluster): Promise<IdleResult> {
  const pids = [...cluster.children].map(([name, { pid }]) => [name, pid ?? -1] as const);
  const look = () => pids.map(([, pid]) => ({ atNs: process.hrtime.bigint(), cpuNs: cpuNs(pid) }));
  const before = look();
  await sleep(1e3 * options.seconds);
  const after = look();
  const processes = pids.map(([name, pid], i): IdleProcess => {
    const memory = mappedMemory(pid);
    const [from, to] = [before[i], after[i]];
    if (memory === null || from.cpuNs === null || to.cpuNs === null) {
      throw new Error(`${name} is gone`);
    }
    const cpuRatio = (to.cpuNs - from.cpuNs) / Number(to.atNs - from.atNs);
    return { name, cpuRatio, ...memory };
  });
  return {
    options,
    processes,
    cpuRatio: processes.reduce((sum, { cpuRatio }) => sum + cpuRatio, 0),
    withoutPoolsBytesMax: Math.max(...processes.map((one) => one.withoutPoolsBytes)),
  };
}

/** Of a tick of /proc/PID/stat, on every Linux that Node.js runs on. */
const TICK_NS = 1e7;
/** Fields of that line after the name, which may have spaces: user and system time. */
const USER = 11;

/** Processor time of a process and its threads; null when there is none. */
function cpuNs(pid: number): number | null {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
    return TICK_NS * (Number(fields[USER]) + Number(fields[USER + 1]));
  } catch {
    return null;
  }
}

async function inTime(ready: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the cluster was not up in time')), UP_MS);
  });
  await Promise.race([ready, late]).finally(() => clearTimeout(timer));
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
