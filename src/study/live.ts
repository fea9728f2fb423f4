/**
 * A trace through a live cluster on this machine: processes for the agents and the conductor, real
 * channels, real bytes. Brings it up, plays the trace, takes it down, and reads from the fact logs
 * what the simulator would have reported.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ConfigOptions, configOptions } from '../config/load.ts';
import { DEFAULT_PRESET } from '../config/presets/index.ts';
import { InputError } from '../core/errors.ts';
import type { Transfer } from '../core/host.ts';
import { type LogEntry, readSegment } from '../core/log.ts';
import type { Address, Topology } from '../core/topology.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { Recorder } from '../metrics/recorder.ts';
import { type Result, summarise } from '../metrics/result.ts';
import { DataPlane, PLANE_DEFAULTS, type RailKind } from '../runtime/data-plane.ts';
import { HUB, LiveMember, type MemberStats } from '../runtime/live/member.ts';
import { type LivePlan, type LiveSpec, planOf, SPEC_KEY } from '../runtime/live/spec.ts';
import { loadNative, Status } from '../runtime/native.ts';
import { ANY } from '../runtime/registry/registry.ts';
import { RegistryServer } from '../runtime/registry/served.ts';
import { openTrace } from '../trace/index.ts';
import { scaleRate } from '../trace/transform.ts';
import { VERSION } from './version.ts';

export interface LiveOptions extends ConfigOptions {
  /** A trace as `replay` takes it. */
  readonly trace: string;
  readonly config?: string;
  readonly sets?: readonly string[];
  /** One is for decode, the others for prefill. */
  readonly nodes: number;
  readonly limit?: number;
  /** The cluster's clock against the world's. */
  readonly speed: number;
  /** Stretches the trace's time to this predicted load of the prefill instances. */
  readonly utilisation?: number;
  readonly transport: RailKind;
  /** Folder for the fact logs; a temporary one, removed afterwards, when it is not given. */
  readonly logs?: string;
  readonly onProgress?: (ended: number, requests: number) => void;
}

export interface LiveResult extends Result {
  readonly live: {
    readonly nodes: number;
    readonly speed: number;
    readonly blockBytes: number;
    readonly movedBytes: number;
    /** Blocks that arrived somewhere and were what their ids say. */
    readonly verifiedBlocks: number;
    readonly checksumFailures: number;
  };
}

const START_MS = 120_000;
/** What is not gone by then is killed. */
const STOP_MS = 10_000;
const POLL_MS = 50;
/** After the last request's end: saves and releases under way. */
const SETTLE_MS = 500;
const PAGE_BYTES = 4096;
/** Bytes that are moved to learn what the rail moves here. */
const PROBE_BYTES = 256 << 20;
const PROBE_SLOT_BYTES = 1 << 20;

/** @throws InputError for bad options, and where the native addon is missing */
export async function liveReplay(options: LiveOptions): Promise<LiveResult> {
  const opened = await openTrace(
    options.trace,
    options.limit === undefined ? {} : { limit: options.limit },
  );
  const folder = options.logs ?? mkdtempSync(join(tmpdir(), 'moontide-live-'));
  if (options.logs !== undefined && existsSync(folder) && readdirSync(folder).length > 0) {
    throw new InputError('found a folder with files in it, expected an empty one', folder);
  }
  try {
    const spec = await specOf(options, opened, folder);
    const live = await planOf(spec);
    const trace = stretched(opened, live, options.utilisation);
    await run(options, { ...live, spec: { ...spec, blocks: trace.distinctBlocks } }, trace);
    return read(folder, live, trace);
  } finally {
    if (options.logs === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

// --- what is run --------------------------------------------------------------------------------

async function specOf(options: LiveOptions, trace: TraceColumns, logs: string): Promise<LiveSpec> {
  const { nodes, speed, transport } = options;
  if (nodes < 2) throw new InputError(`found ${nodes}, expected at least 2`, '--nodes');
  const config = options.config ?? DEFAULT_PRESET;
  const groups = [`cluster.groups.0.count=${nodes - 1}`, 'cluster.groups.1.count=1'];
  const spec: LiveSpec = {
    config: existsSync(config) ? resolve(config) : config,
    sets: [...groups, ...(options.sets ?? [])],
    options: configOptions(options),
    blockTokens: trace.blockTokens,
    blocks: trace.distinctBlocks,
    speed,
    originNs: String(process.hrtime.bigint()),
    blockBytes: PAGE_BYTES,
    rails: [{ kind: transport, bytesPerNs: null, options: {} }],
    logs: resolve(logs),
  };
  const { resolved } = await planOf(spec);
  return { ...spec, blockBytes: await blockBytesOf(resolved.topology, speed, transport) };
}

/** So large that a block takes here, times the speed, what it takes in the modelled cluster. */
async function blockBytesOf(topology: Topology, speed: number, kind: RailKind): Promise<number> {
  const { nodes, kv } = topology;
  const [node] = nodes;
  const rails = node.rails.reduce((sum, rail) => sum + rail.bytesPerNs, 0) * node.railEfficiency;
  const modelBytes = kv.blockTokens * kv.bytesPerToken[0];
  const bytes = (modelBytes * (await probeBytesPerNs(kind))) / (rails * speed);
  return Math.max(1, Math.round(bytes / PAGE_BYTES)) * PAGE_BYTES;
}

/** What one rail of this kind moves on this machine now, bytes per ns. */
async function probeBytesPerNs(kind: RailKind): Promise<number> {
  const { addon, reason } = loadNative();
  if (addon === null) throw new InputError(reason ?? '');
  const policy = { spread: (_: unknown, out: Int32Array) => out.fill(1) };
  const plane = new DataPlane(addon, policy as never, PLANE_DEFAULTS);
  try {
    plane.addRail({ kind, bytesPerNs: null, options: {} });
    const slots = 16;
    const pool = plane.createPool({
      slotBytes: PROBE_SLOT_BYTES,
      slots,
      hugetlb: false,
      prefault: true,
    });
    for (let slot = 0; slot < slots; slot++) pool.publish(slot, 1, 1);
    const segment = plane.importSegment(pool.describe());
    if (segment === null) throw new InputError('a pool does not import itself');
    const once = (i: number) =>
      new Promise<void>((done, fail) => {
        const slot = i % (slots / 2);
        plane.move(
          {
            write: false,
            pool,
            slot,
            offset: 0,
            segment,
            remoteSlot: slot + slots / 2,
            generation: 1,
            remoteOffset: 0,
            bytes: PROBE_SLOT_BYTES,
            crc: null,
            sum: true,
            urgent: false,
            deadlineNs: 5e9,
          },
          ({ status }) => {
            if (status === Status.ok) done();
            else fail(new InputError(`the ${kind} rail moves nothing here`));
          },
        );
      });
    const moves = PROBE_BYTES / PROBE_SLOT_BYTES;
    await Promise.all(Array.from({ length: slots / 2 }, (_, i) => once(i)));
    const startNs = process.hrtime.bigint();
    for (let i = 0; i < moves; i += slots / 2) {
      await Promise.all(Array.from({ length: slots / 2 }, (_, k) => once(i + k)));
    }
    return PROBE_BYTES / Number(process.hrtime.bigint() - startNs);
  } finally {
    plane.close();
  }
}

/** Time stretched so that prompts, less what an endless cache had of them, make that load. */
function stretched(
  trace: TraceColumns,
  { resolved, plan }: LivePlan,
  utilisation: number | undefined,
): TraceColumns {
  const spanNs = trace.arrivalNs[trace.requests - 1];
  if (utilisation === undefined || spanNs === 0) return trace;
  const seen = new Uint8Array(trace.distinctBlocks);
  let workNs = 0;
  for (let row = 0; row < trace.requests; row++) {
    let hit = 0;
    const [from, to] = [trace.blockStart[row], trace.blockStart[row + 1]];
    while (from + hit < to && seen[trace.blocks[from + hit]] === 1) hit++;
    for (let at = from; at < to; at++) seen[trace.blocks[at]] = 1;
    const input = trace.inputTokens[row];
    const cached = Math.min(hit * trace.blockTokens, input - 1);
    workNs += resolved.estimator.prefillNs(0, input, cached);
  }
  const { instances } = plan.topology;
  const prefill = instances.filter(({ roles }) => roles.includes('prefill')).length;
  return scaleRate(trace, (utilisation * prefill * spanNs) / workNs);
}

// --- the run ------------------------------------------------------------------------------------

async function run(options: LiveOptions, live: LivePlan, trace: TraceColumns): Promise<void> {
  const token = randomBytes(16).toString('hex');
  const children: Child[] = [];
  let failed: (error: unknown) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    failed = reject;
  });
  failure.catch(() => {});
  const server: RegistryServer = new RegistryServer((peer, letter) => hub.links.send(peer, letter));
  const hub = new LiveMember({
    name: HUB,
    role: 'ingress',
    node: -1,
    listen: '127.0.0.1:0',
    token,
    registry: { hub: '' },
    server,
    trace,
    onError: failed,
  });
  const work = async () => {
    await server.registry.put(SPEC_KEY, JSON.stringify(live.spec), ANY);
    await hub.join();
    const registry = `127.0.0.1:${hub.links.port}`;
    children.push(startChild(['conductor', '--name', 'conductor-0', '--hub', registry], token));
    for (const { id } of live.plan.topology.nodes) {
      children.push(startChild(['agent', '--node', String(id), '--hub', registry], token));
    }
    for (const { ended } of children) ended.catch(failed);
    await inTime(hub.ready(live.plan.topology.nodes.length), START_MS);
    hub.play();
    while (!hub.done) {
      options.onProgress?.(hub.endedRequests, trace.requests);
      await sleep(POLL_MS);
    }
    await sleep(SETTLE_MS);
  };
  try {
    await Promise.race([work(), failure]);
  } finally {
    for (const { process } of children) process.kill('SIGTERM');
    const late = setTimeout(() => {
      for (const { process } of children) process.kill('SIGKILL');
    }, STOP_MS);
    await Promise.allSettled(children.map(({ gone }) => gone));
    clearTimeout(late);
    await hub.leave();
  }
}

interface Child {
  readonly process: ChildProcess;
  /** Rejects when it ends before it was told to. */
  readonly ended: Promise<void>;
  readonly gone: Promise<void>;
}

function startChild(args: readonly string[], token: string): Child {
  const main = fileURLToPath(new URL('../cli/main.js', import.meta.url));
  const child = spawn(process.execPath, [main, 'live', ...args], {
    env: { ...process.env, MOONTIDE_TOKEN: token },
    // It ends when this process does: the pipe to its stdin breaks.
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let talk = '';
  child.stderr?.on('data', (text) => {
    talk = (talk + text).slice(-2000);
  });
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  const ended = new Promise<void>((_, reject) => {
    child.once('exit', (code, signal) => {
      if (!child.killed) {
        reject(new Error(`live ${args.join(' ')} ended (${signal ?? code}): ${talk.trim()}`));
      }
    });
  });
  return { process: child, ended, gone };
}

// --- what it was --------------------------------------------------------------------------------

/** The fact logs of all machines, in order of time, as the recorder would have watched them. */
function read(folder: string, { spec, resolved, plan }: LivePlan, trace: TraceColumns): LiveResult {
  const recorder = new Recorder(plan.topology, trace.requests);
  const entries: { to: Address; entry: LogEntry }[] = [];
  const stats: MemberStats[] = [];
  for (const file of readdirSync(folder).sort()) {
    const bytes = readFileSync(join(folder, file));
    if (file.endsWith('.json')) stats.push(JSON.parse(bytes.toString()) as MemberStats);
    if (!file.endsWith('.log')) continue;
    const to = Number(file.slice(0, file.indexOf('.')));
    for (const entry of readSegment(new Uint8Array(bytes)).entries) entries.push({ to, entry });
  }
  entries.sort((a, b) => a.entry.fact.atNs - b.entry.fact.atNs);
  for (const { to, entry } of entries) observe(recorder, to, entry);
  const sum = (of: (stats: MemberStats) => number) => stats.reduce((all, s) => all + of(s), 0);
  const result = summarise({
    recorder,
    trace,
    slo: plan.slo,
    version: VERSION,
    seed: plan.seed,
    config: resolved.describe(),
    evictions: { dram: sum(({ evictions }) => evictions) },
  });
  return {
    ...result,
    live: {
      nodes: plan.topology.nodes.length,
      speed: spec.speed,
      blockBytes: spec.blockBytes,
      movedBytes: sum(({ movedBytes }) => movedBytes),
      verifiedBlocks: sum(({ verifiedBlocks }) => verifiedBlocks),
      checksumFailures: sum(({ wrongBytes }) => wrongBytes),
    },
  };
}

function observe(recorder: Recorder, at: Address, { fact, commands }: LogEntry): void {
  recorder.onFact(at, fact);
  for (const [verb, ...given] of commands) {
    if (verb === 'mark') {
      const [request, mark, value] = given as Parameters<Recorder['onMark']> extends [
        Address,
        ...infer Rest,
      ]
        ? Rest
        : never;
      recorder.onMark(at, request, mark, value);
    } else if (verb === 'count') {
      const [what, by] = given as [Parameters<Recorder['onCount']>[1], number];
      recorder.onCount(at, what, by);
    } else if (verb === 'startTransfer') recorder.onTransfer(at, given[0] as Transfer);
  }
}

async function inTime(step: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the cluster was not up after ${ms} ms`)), ms);
  });
  await Promise.race([step, late]).finally(() => clearTimeout(timer));
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
