/**
 * A trace through a live cluster: one that is running, or one of this machine's own that is brought
 * up for it and taken down afterwards.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { InputError } from '../../core/errors.ts';
import { openTrace } from '../../trace/index.ts';
import { type ClusterOptions, firstNodes, specOf } from './cluster-spec.ts';
import { type ClusterRef, drive } from './drive.ts';
import { LocalCluster } from './local-cluster.ts';
import type { LiveResult } from './results.ts';

interface TraceOptions {
  /** A trace as `replay` takes it. */
  readonly trace: string;
  readonly limit?: number | undefined;
  /** Stretches the trace's time to this predicted load of the prefill instances. */
  readonly utilisation?: number | undefined;
  readonly onProgress?: (ended: number, requests: number) => void;
  readonly onWarning?: (message: string) => void;
}

export interface LiveOptions extends TraceOptions, Omit<ClusterOptions, 'logs'> {
  /** Members of etcd; 0: a registry in memory. */
  readonly etcd?: number;
  readonly conductors?: number;
  /** Folder for the fact logs; without it none are kept. */
  readonly logs?: string;
}

/** @throws InputError for bad options, and where the native addon or etcd is missing */
export async function liveReplay(options: LiveOptions): Promise<LiveResult> {
  const trace = await open(options);
  const { logs = null, etcd = 0, conductors = 1, nodes, onWarning = () => {} } = options;
  if (logs !== null && existsSync(logs) && readdirSync(logs).length > 0) {
    throw new InputError('found a folder with files in it, expected an empty one', logs);
  }
  const blocks = trace.distinctBlocks;
  const spec = await specOf({ ...options, logs }, { blockTokens: trace.blockTokens, blocks });
  const token = randomBytes(16).toString('hex');
  let up = false;
  let fail: (error: unknown) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failure.catch(() => {});
  const cluster = await LocalCluster.start({
    spec,
    token,
    nodes: firstNodes({ ...options, logs }),
    conductors,
    etcd,
    restarts: () => up,
    onEnd: fail,
    onWarning,
  });
  const { registry } = cluster;
  const run = drive(
    { registry, token },
    {
      ...options,
      trace,
      agents: nodes,
      onPlay: () => {
        up = true;
      },
    },
  );
  try {
    return await Promise.race([run, failure]);
  } finally {
    await cluster.stop();
    await run.catch(() => {});
  }
}

/** Drives a cluster that is up. */
export async function liveReplayOn(where: ClusterRef, options: TraceOptions): Promise<LiveResult> {
  const trace = await open(options);
  return drive(where, { ...options, trace, agents: 1 });
}

function open({ trace, limit }: TraceOptions) {
  return openTrace(trace, limit === undefined ? {} : { limit });
}
