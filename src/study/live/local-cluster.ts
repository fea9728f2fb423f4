/**
 * A whole cluster on this machine: its registry (etcd members or one in memory), and a process for
 * each agent and conductor, which are started again when they die.
 */

import {
  etcdCredentials,
  loadTls,
  type Security,
  tlsFilesFrom,
} from '../../runtime/control/security.ts';
import { readWanted } from '../../runtime/live/operations.ts';
import { type LiveSpec, SPEC_KEY, WANTED, type Wanted } from '../../runtime/live/spec.ts';
import { EtcdRegistry } from '../../runtime/registry/etcd.ts';
import { DEFAULT_PREFIX, type RegistryRef, registryText } from '../../runtime/registry/open.ts';
import { ANY, type Registry } from '../../runtime/registry/registry.ts';
import { Child } from './children.ts';
import { EtcdMembers } from './etcd-members.ts';
import { Hub } from './hub.ts';

export interface LocalOptions {
  readonly spec: LiveSpec;
  readonly token: string;
  /** Nodes that are started; the spec may have more. */
  readonly nodes: readonly number[];
  readonly conductors: number;
  /** Members of etcd; 0: a registry in memory, in this process. */
  readonly etcd: number;
  /** Where a registry in memory listens. */
  readonly listen?: string;
  /** Memory for objects on every node, as `store serve --dram` takes it; left out: no stores. */
  readonly store?: string;
  /** Address of etcd's members; that of loopback where it is not given. */
  readonly etcdHost?: string;
  /** Where a process is to run and listen, by its name. */
  readonly place?: (name: string) => Place;
  /** Whether what dies is started again, asked when it has died. */
  readonly restarts: () => boolean;
  /** A process ended that is not started again. */
  readonly onEnd: (error: Error) => void;
  readonly onWarning?: (message: string) => void;
}

/** A command that a process is started within, and where peers reach it. */
export interface Place {
  readonly within: readonly string[];
  readonly listen: string;
}

export class LocalCluster {
  readonly registry: RegistryRef;
  /** By name: `node-0`, `conductor-0`, `store-0`. */
  readonly children = new Map<string, Child>();
  readonly etcd: EtcdMembers | null;
  private readonly options: LocalOptions;
  private readonly hub: Hub | null;
  /** A client of the registry, whatever that is. */
  private readonly shared: Registry;
  private stopping: Promise<void> | null = null;

  private constructor(
    options: LocalOptions,
    registry: RegistryRef,
    { etcd, hub, shared }: Pick<LocalCluster, 'etcd'> & { hub: Hub | null; shared: Registry },
  ) {
    this.options = options;
    this.registry = registry;
    this.etcd = etcd;
    this.hub = hub;
    this.shared = shared;
  }

  /** @throws InputError where etcd is wanted and missing */
  static async start(options: LocalOptions): Promise<LocalCluster> {
    const { spec, token, listen = '127.0.0.1:0', etcd: members, etcdHost } = options;
    const files = tlsFilesFrom({}, process.env);
    const security = { token, tls: files === null ? null : loadTls(files) };
    const etcd = members > 0 ? await EtcdMembers.start(members, etcdHost, files) : null;
    const hub = etcd === null ? await Hub.start(listen, security) : null;
    const prefix = DEFAULT_PREFIX;
    const ref: RegistryRef =
      etcd === null
        ? { hub: `127.0.0.1:${hub?.port}` }
        : { etcd: etcd.endpoints.map((url) => new URL(url).host), prefix };
    const shared = hub?.registry ?? clientOf(ref, security);
    const cluster = new LocalCluster(options, ref, { etcd, hub, shared });
    try {
      await cluster.shared.put(SPEC_KEY, JSON.stringify(spec), ANY);
      for (const node of spares(options.nodes)) {
        const wanted: Wanted = { state: 'out', roles: null };
        await cluster.shared.put(WANTED + node, JSON.stringify(wanted), ANY);
      }
      await cluster.follow();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    for (let i = 0; i < options.conductors; i++) {
      const name = `conductor-${i}`;
      cluster.launch(name, ['live', 'conductor', '--name', name]);
    }
    for (const node of options.nodes) cluster.launchNode(node);
    const { store } = options;
    for (const node of store === undefined ? [] : options.nodes) {
      const name = `store-${node}`;
      cluster.launch(name, ['store', 'serve', '--name', name, '--dram', store ?? '']);
    }
    return cluster;
  }

  launchNode(node: number): void {
    this.launch(`node-${node}`, ['live', 'agent', '--node', String(node)]);
  }

  stop(): Promise<void> {
    this.stopping ??= this.stopAll();
    return this.stopping;
  }

  private launch(name: string, args: readonly string[]): void {
    const { token, restarts, onEnd, onWarning = () => {} } = this.options;
    const { within, listen } = this.options.place?.(name) ?? NOWHERE;
    const where = ['--registry', registryText(this.registry), '--listen', listen];
    const child = new Child({
      args: [...args, ...where],
      within,
      token,
      restarts,
      onEnd,
      onWarning,
    });
    this.children.set(name, child);
  }

  /** Nodes that operators want and that are not there are started. */
  private async follow(): Promise<void> {
    await this.shared.watch(WANTED, (entries) => {
      for (const [node, { state }] of readWanted(entries)) {
        const child = this.children.get(`node-${node}`);
        const ended = child === undefined || child.hasEnded;
        if (state !== 'out' && ended && this.stopping === null) this.launchNode(node);
      }
    });
  }

  private async stopAll(): Promise<void> {
    await Promise.all([...this.children.values()].map((child) => child.stop()));
    await this.shared.close().catch(() => {});
    await this.hub?.close();
    await this.etcd?.stop();
  }
}

const NOWHERE: Place = { within: [], listen: '127.0.0.1:0' };

/** Nodes between those that are started. */
function spares(nodes: readonly number[]): number[] {
  const all = Array.from({ length: Math.max(...nodes) }, (_, node) => node);
  return all.filter((node) => !nodes.includes(node));
}

function clientOf(ref: RegistryRef, security: Security): Registry {
  if ('hub' in ref) throw new Error('a hub is its own client');
  const { etcd: endpoints, prefix } = ref;
  return new EtcdRegistry({ endpoints, prefix, credentials: etcdCredentials(security) });
}
