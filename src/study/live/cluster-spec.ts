/** What a cluster on this machine is to be: its plan, and how large a live block is. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type ConfigOptions, configOptions } from '../../config/load.ts';
import { anchorPolicy } from '../../config/policy-ref.ts';
import { DEFAULT_PRESET } from '../../config/presets/index.ts';
import { InputError } from '../../core/errors.ts';
import type { RailKind } from '../../runtime/data-plane.ts';
import { type LiveSpec, originNow, planOf } from '../../runtime/live/spec.ts';
import { VERSION } from '../version.ts';
import { blockBytesOf, fitsInMemory, PAGE_BYTES } from './probe.ts';

export interface ClusterOptions extends ConfigOptions {
  readonly config?: string;
  readonly sets?: readonly string[];
  /** One is for decode, the others for prefill. */
  readonly nodes: number;
  /** Nodes for prefill that may join later. */
  readonly spares?: number | undefined;
  /** The cluster's clock against the world's. */
  readonly speed: number;
  readonly transport: RailKind;
  /** Folder for the nodes' SSDs, kept afterwards; without it a temporary one. */
  readonly ssd?: string;
  /** Folder for the fact logs; null: none are kept. */
  readonly logs: string | null;
}

/** @throws InputError for bad options, and where the native addon is missing */
export async function specOf(
  options: ClusterOptions,
  { blockTokens, blocks }: { readonly blockTokens: number; readonly blocks: number },
): Promise<LiveSpec> {
  const { nodes, spares = 0, speed, transport, logs } = options;
  if (nodes < 2) throw new InputError(`found ${nodes}, expected at least 2`, '--nodes');
  const config = options.config ?? DEFAULT_PRESET;
  const groups = [`cluster.groups.0.count=${nodes - 1 + spares}`, 'cluster.groups.1.count=1'];
  const spec: LiveSpec = {
    version: VERSION,
    config: existsSync(config) ? resolve(config) : config,
    sets: [...groups, ...(options.sets ?? [])],
    options: anchored(configOptions(options)),
    blockTokens,
    blocks,
    speed,
    origin: originNow(),
    blockBytes: PAGE_BYTES,
    rails: [{ kind: transport, bytesPerNs: null, options: {} }],
    prefault: false,
    ssd: options.ssd === undefined ? null : resolve(options.ssd),
    logs: logs === null ? null : resolve(logs),
  };
  const { resolved } = await planOf(spec);
  const { topology } = resolved;
  const blockBytes = await blockBytesOf(topology, speed, transport);
  const prefault = fitsInMemory(topology, blockBytes);
  return { ...spec, blockBytes, prefault, origin: originNow() };
}

/** Ids of the nodes that are there from the start: the spares come before the last one. */
export function firstNodes({ nodes, spares = 0 }: ClusterOptions): number[] {
  const prefill = Array.from({ length: nodes - 1 }, (_, id) => id);
  return [...prefill, nodes - 1 + spares];
}

/** Policies' files as every process finds them, and later a replay of the logs. */
function anchored(options: ConfigOptions): ConfigOptions {
  const entries = Object.entries(options).map(([key, value]) => [
    key,
    typeof value === 'string' ? anchorPolicy(value, process.cwd()) : value,
  ]);
  return Object.fromEntries(entries) as ConfigOptions;
}
