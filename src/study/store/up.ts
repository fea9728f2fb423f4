/**
 * Stores on this machine that stay up until they are told to stop: a cluster of stores alone, with
 * a registry in memory. Those who find a cluster by its state file find it.
 */
import { randomBytes } from 'node:crypto';
import { type RegistryRef, registryText } from '../../runtime/registry/open.ts';
import { STORES } from '../../runtime/store/spec.ts';
import { Child } from '../live/children.ts';
import { Hub } from '../live/hub.ts';
import { removeState, stateFolder, writeState } from '../live/state-file.ts';

export interface StoreUpOptions {
  readonly nodes: number;
  /** Options of `store serve`, but which store it is and where its cluster is. */
  readonly serve: (store: number) => readonly string[];
  /** Folder of the state file; the user's own where it is not given. */
  readonly dir?: string | undefined;
  readonly onWarning: (message: string) => void;
}

export interface UpStores {
  readonly registry: RegistryRef;
  readonly token: string;
  /** Folder of the state file. */
  readonly folder: string;
  /** Process of each store; null while it is not there. */
  pids(): (number | null)[];
  stop(): Promise<void>;
}

const START_MS = 60_000;

/** @throws InputError where a cluster is up already; Error when a store does not come up */
export async function storeUp(options: StoreUpOptions): Promise<UpStores> {
  const { nodes, serve, onWarning } = options;
  const folder = stateFolder(options.dir);
  const token = process.env.MOONTIDE_TOKEN || randomBytes(16).toString('hex');
  const hub = await Hub.start('127.0.0.1:0', { token, tls: null });
  const registry = { hub: `127.0.0.1:${hub.port}` };
  const children: Child[] = [];
  const stop = async () => {
    removeState(folder);
    await Promise.all(children.map((child) => child.stop()));
    await hub.close();
  };
  let up = false;
  try {
    writeState(folder, { registry, token, pid: process.pid });
    await new Promise<void>((resolve, reject) => {
      const late = () => reject(new Error(`not all stores were up after ${START_MS} ms`));
      const timer = setTimeout(late, START_MS);
      for (let store = 0; store < nodes; store++) {
        const where = ['--name', `store-${store}`, '--registry', registryText(registry)];
        children.push(
          new Child({
            args: ['store', 'serve', ...where, ...serve(store)],
            token,
            restarts: () => up,
            onEnd: reject,
            onWarning,
          }),
        );
      }
      void hub.registry.watch(STORES, (entries) => {
        if (entries.size < nodes) return;
        clearTimeout(timer);
        resolve();
      });
    });
    up = true;
  } catch (error) {
    await stop();
    throw error;
  }
  return { registry, token, folder, pids: () => children.map(({ pid }) => pid), stop };
}
