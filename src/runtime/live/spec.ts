/**
 * What all processes of a live cluster must agree on, as it stands in the registry. Each of them
 * makes the same plan of it.
 */
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConfigOptions, loadConfig, withOptions } from '../../config/load.ts';
import { loadPolicies } from '../../config/policies.ts';
import { type ResolvedConfig, resolveConfig } from '../../config/resolve.ts';
import type { Config } from '../../config/schema.ts';
import type { ClusterPlan } from '../../config/wire.ts';
import { InputError } from '../../core/errors.ts';
import type { Role } from '../../core/topology.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import type { RailSpec } from '../data-plane.ts';
import type { Registry } from '../registry/registry.ts';
import type { NodeSsdOptions } from './live-node.ts';

/** One instant: by `hrtime` on the machine (of that boot) that set it, and by the wall clock. */
export interface ClockOrigin {
  readonly boot: string;
  /** In decimal. */
  readonly hrtimeNs: string;
  readonly epochMs: number;
}

export interface LiveSpec {
  /** Of Moontide, where it was made. */
  readonly version: string;
  /** A preset or the absolute path of a YAML file, and what is set on top. */
  readonly config: string;
  readonly sets: readonly string[];
  readonly options: ConfigOptions;
  /** Tokens of a block, and distinct blocks that are expected: tables grow beyond. */
  readonly blockTokens: number;
  readonly blocks: number;
  /** The cluster's clock runs so many times as fast as the world's. */
  readonly speed: number;
  /** When it shows 0. */
  readonly origin: ClockOrigin;
  /** Of one live block; a multiple of 4096. */
  readonly blockBytes: number;
  readonly rails: readonly RailSpec[];
  /** Nodes touch their pools when they start, in place of faults later. */
  readonly prefault: boolean;
  /** Folder in which each node has one for its SSD; null: a temporary one. */
  readonly ssd: string | null;
  /** Folder for fact logs and statistics; null: none are kept. */
  readonly logs: string | null;
}

/** Keys of the registry. */
export const SPEC_KEY = 'cluster/spec';
export const LEADER_KEY = 'leader/conductor';
export const MEMBERS = 'members/';
/** The homes of blocks: see `BucketEntry`. */
export const BUCKETS_KEY = 'buckets/map';
/** What operators want of a node: see `Wanted`. */
export const WANTED = 'wanted/';

/** What a process says of itself; it is gone with its lease. */
export interface Member {
  readonly name: string;
  readonly role: 'agent' | 'conductor' | 'ingress' | 'client';
  /** Of an agent, else -1. */
  readonly node: number;
  readonly endpoint: string;
  readonly incarnation: number;
  /** An agent's pool, as base64; it is a key to its bytes, so the registry needs credentials. */
  readonly segment: string | null;
  /** Where its metrics and status are, `host:port`; null: nowhere. */
  readonly http?: string | null;
}

const ROLES: readonly Member['role'][] = ['agent', 'conductor', 'ingress', 'client'];

/** An entry of the registry as a member; null for what is none. */
export function memberOf(value: string): Member | null {
  let found: unknown;
  try {
    found = JSON.parse(value);
  } catch {
    return null;
  }
  if (found === null || typeof found !== 'object') return null;
  const { name, role, node, endpoint, incarnation, segment, http } = found as Partial<Member>;
  const whole =
    typeof name === 'string' &&
    ROLES.includes(role as Member['role']) &&
    Number.isSafeInteger(node) &&
    typeof endpoint === 'string' &&
    Number.isSafeInteger(incarnation) &&
    (segment === null || typeof segment === 'string') &&
    (http === undefined || http === null || typeof http === 'string');
  return whole ? (found as Member) : null;
}

/** What is wanted of a node. `out`: it drains and leaves. */
export interface Wanted {
  readonly state: 'in' | 'drained' | 'out';
  /** Null: as configured. */
  readonly roles: readonly Role[] | null;
}

export interface LivePlan {
  readonly spec: LiveSpec;
  readonly resolved: ResolvedConfig;
  readonly plan: ClusterPlan;
  readonly monitoring: Config['monitoring'];
}

/** @throws InputError for a bad configuration */
export async function planOf(spec: LiveSpec): Promise<LivePlan> {
  const loaded = withOptions(await loadConfig(spec.config, spec.sets), spec.options);
  const resolved = resolveConfig(loaded, spec.blockTokens);
  const plan: ClusterPlan = { ...resolved, policies: await loadPolicies(resolved.policies) };
  return { spec, resolved, plan, monitoring: loaded.config.monitoring };
}

export async function readSpec(registry: Registry): Promise<LiveSpec> {
  const entry = await registry.get(SPEC_KEY);
  if (entry === null) throw new InputError('found no cluster in the registry: moontide live up');
  return JSON.parse(entry.value) as LiveSpec;
}

/** Lives of a process so far: every start is another one. */
export async function nextIncarnation(registry: Registry, name: string): Promise<number> {
  const key = `incarnations/${name}`;
  for (;;) {
    const found = await registry.get(key);
    const incarnation = found === null ? 0 : Number(found.value) + 1;
    const written = await registry.put(key, String(incarnation), found?.revision ?? 0);
    if (written !== null) return incarnation;
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

export function originNow(): ClockOrigin {
  return {
    boot: bootId(),
    hrtimeNs: String(process.hrtime.bigint()),
    epochMs: Date.now(),
  };
}

/** The cluster's origin by this machine's `hrtime`; other machines go by the wall clock. */
export function clockOrigin({ origin }: LiveSpec): bigint {
  if (origin.boot !== '' && origin.boot === bootId()) return BigInt(origin.hrtimeNs);
  return process.hrtime.bigint() - BigInt(Math.round((Date.now() - origin.epochMs) * 1e6));
}

/** Agents and conductors play no requests; they need to know how many blocks there are. */
export function emptyTrace({ blocks, blockTokens }: LiveSpec): TraceColumns {
  return {
    requests: 0,
    blockTokens,
    distinctBlocks: blocks,
    arrivalNs: new Float64Array(0),
    inputTokens: new Int32Array(0),
    outputTokens: new Int32Array(0),
    blockStart: new Int32Array(1),
    blocks: new Int32Array(0),
    session: null,
    parent: null,
    thinkNs: null,
    priority: null,
    tenant: null,
    sloClass: null,
    namespace: null,
    sha256: '',
  };
}

/** Where a node's SSD tier lies, and what tells this cluster's blocks from another's. */
export function ssdOf(spec: LiveSpec, node: number): NodeSsdOptions {
  const { config, sets, blockTokens, blockBytes, origin } = spec;
  // Block ids mean the same as long as the clock that they came with does.
  const cluster = JSON.stringify([config, sets, blockTokens, blockBytes, origin]);
  const folder = spec.ssd ?? join(tmpdir(), `moontide-ssd-${origin.epochMs}-${origin.hrtimeNs}`);
  const temporary = spec.ssd === null;
  return { folder: join(folder, `node-${node}`), temporary, capacityBytes: null, cluster };
}
