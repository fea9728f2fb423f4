/**
 * A trace through a live cluster on this machine: processes for the agents and the conductor, real
 * channels, real bytes. Brings it up, plays the trace, takes it down, and reads from the fact logs
 * what the simulator would have reported.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type ConfigOptions, configOptions } from '../../config/load.ts';
import { anchorPolicy } from '../../config/policy-ref.ts';
import { DEFAULT_PRESET } from '../../config/presets/index.ts';
import { InputError } from '../../core/errors.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { tlsFrom } from '../../runtime/control/security.ts';
import type { RailKind } from '../../runtime/data-plane.ts';
import { HUB, LiveMember } from '../../runtime/live/member.ts';
import { type LivePlan, type LiveSpec, planOf, SPEC_KEY } from '../../runtime/live/spec.ts';
import { ANY } from '../../runtime/registry/registry.ts';
import { RegistryServer } from '../../runtime/registry/served.ts';
import { openTrace } from '../../trace/index.ts';
import { VERSION } from '../version.ts';
import { type Child, startChild } from './children.ts';
import { blockBytesOf, PAGE_BYTES } from './probe.ts';
import { type LiveResult, readResult } from './results.ts';
import { stretched } from './stretch.ts';

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
  readonly onWarning?: (message: string) => void;
  readonly onProgress?: (ended: number, requests: number) => void;
}

const START_MS = 120_000;
/** What is not gone by then is killed. */
const STOP_MS = 10_000;
const POLL_MS = 50;
/** After the last request's end: saves and releases under way. */
const SETTLE_MS = 500;

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
    return readResult(folder, live, trace);
  } finally {
    if (options.logs === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

/** Policies' files as every process finds them, and later a replay of the logs. */
function anchored(options: ConfigOptions): ConfigOptions {
  const entries = Object.entries(options).map(([key, value]) => [
    key,
    typeof value === 'string' ? anchorPolicy(value, process.cwd()) : value,
  ]);
  return Object.fromEntries(entries) as ConfigOptions;
}

async function specOf(options: LiveOptions, trace: TraceColumns, logs: string): Promise<LiveSpec> {
  const { nodes, speed, transport } = options;
  if (nodes < 2) throw new InputError(`found ${nodes}, expected at least 2`, '--nodes');
  const config = options.config ?? DEFAULT_PRESET;
  const groups = [`cluster.groups.0.count=${nodes - 1}`, 'cluster.groups.1.count=1'];
  const spec: LiveSpec = {
    version: VERSION,
    config: existsSync(config) ? resolve(config) : config,
    sets: [...groups, ...(options.sets ?? [])],
    options: anchored(configOptions(options)),
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
    tls: tlsFrom({}, process.env),
    registry: { hub: '' },
    server,
    trace,
    onError: failed,
    ...(options.onWarning === undefined ? {} : { onWarning: options.onWarning }),
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
