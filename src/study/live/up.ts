/** A cluster on this machine that stays up until it is told to stop. */
import { randomBytes } from 'node:crypto';
import { registryText } from '../../runtime/registry/open.ts';
import { type ClusterOptions, firstNodes, specOf } from './cluster-spec.ts';
import { LocalCluster } from './local-cluster.ts';
import { removeState, stateFolder, writeState } from './state-file.ts';

export interface UpOptions extends ClusterOptions {
  readonly etcd: number;
  readonly conductors: number;
  /** Tokens of a block, and how many distinct blocks all traces together may have. */
  readonly blockTokens: number;
  readonly blocks: number;
  /** Folder of the state file; the user's own where it is not given. */
  readonly dir?: string | undefined;
  /** Where a registry in memory listens. */
  readonly listen?: string | undefined;
  /** Memory for objects on every node (`moontide store`); left out: none. */
  readonly store?: string | undefined;
  readonly onWarning: (message: string) => void;
}

export interface UpCluster {
  /** As `--registry` takes it. */
  readonly registry: string;
  /** Folder of the state file. */
  readonly folder: string;
  readonly blockBytes: number;
  readonly cluster: LocalCluster;
  stop(): Promise<void>;
}

/** @throws InputError for bad options, and where the native addon or etcd is missing */
export async function liveUp(options: UpOptions): Promise<UpCluster> {
  const { blockTokens, blocks, etcd, conductors, onWarning, listen, store } = options;
  const folder = stateFolder(options.dir);
  const spec = await specOf(options, { blockTokens, blocks });
  const token = process.env.MOONTIDE_TOKEN || randomBytes(16).toString('hex');
  const cluster = await LocalCluster.start({
    spec,
    token,
    nodes: firstNodes(options),
    conductors,
    etcd,
    ...(listen === undefined ? {} : { listen }),
    ...(store === undefined ? {} : { store }),
    restarts: () => true,
    onEnd: (error) => onWarning(error.message),
    onWarning,
  });
  const { registry } = cluster;
  try {
    writeState(folder, { registry, token, pid: process.pid });
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return {
    registry: registryText(registry),
    folder,
    blockBytes: spec.blockBytes,
    cluster,
    stop: async () => {
      removeState(folder);
      await cluster.stop();
    },
  };
}
