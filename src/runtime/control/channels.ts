/** The links and the registry of one process: a member, a store, a client, a peer of a swarm. */
import type { RailSpec } from '../data-plane.ts';
import { EtcdRegistry } from '../registry/etcd.ts';
import { HUB, type RegistryRef } from '../registry/open.ts';
import type { Registry } from '../registry/registry.ts';
import { RegistryServer, RemoteRegistry } from '../registry/served.ts';
import { type LinkProbe, Links } from './links.ts';
import { checkBind, etcdCredentials, hostPort, type Security } from './security.ts';
import type { WireName } from './wires.ts';

export interface ChannelOptions {
  /** Unique in the cluster. */
  readonly name: string;
  /** `host:port` to listen on; port 0 takes a free one. */
  readonly listen: string;
  readonly security: Security;
  /** Null: this process serves one in memory to the others; its name is HUB. */
  readonly registry: RegistryRef | null;
  /** Of every peer but the one that serves the registry. */
  readonly endpointOf: (peer: string) => string | null;
  /** What is not for the registry. Throws InputError: the peer sent nonsense, its link ends. */
  readonly onLetter: (peer: string, letter: unknown) => void;
  readonly onReset: (peer: string, cause: string) => void;
  readonly probe?: LinkProbe | undefined;
  /** Of the links that it opens. Default: MOONTIDE_WIRE's. */
  readonly wire?: WireName | undefined;
}

export class Channels {
  readonly links: Links;
  readonly registry: Registry;
  private readonly options: ChannelOptions;
  private readonly served: RegistryServer | null = null;
  private readonly remote: RemoteRegistry | null = null;

  /** @throws InputError where strangers could reach it */
  constructor(options: ChannelOptions) {
    this.options = options;
    const { name, listen, security, registry, probe, wire } = options;
    checkBind(listen, security, '--listen');
    this.links = new Links({
      name,
      life: Date.now(),
      listen,
      token: security.token,
      tls: security.tls,
      wire,
      endpointOf: (peer) => this.endpointOf(peer),
      handler: {
        onMessage: (peer, letter) => this.receive(peer, letter),
        onReset: (peer, cause) => this.reset(peer, cause),
      },
      probe,
    });
    const say = (peer: string, letter: unknown) => this.links.send(peer, letter);
    if (registry === null) {
      this.served = new RegistryServer(say);
      this.registry = this.served.registry;
    } else if ('etcd' in registry) {
      const { etcd: endpoints, prefix } = registry;
      const credentials = etcdCredentials(security);
      this.registry = new EtcdRegistry({ endpoints, prefix, credentials });
    } else {
      this.remote = new RemoteRegistry(HUB, say);
      this.registry = this.remote;
    }
  }

  /** Resolves with where peers reach it. */
  async listen(): Promise<string> {
    const { listen } = this.options;
    const port = await this.links.listen();
    return `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`;
  }

  async close(): Promise<void> {
    await this.registry.close().catch(() => {});
    await this.links.close();
  }

  private endpointOf(peer: string): string | null {
    const { registry, endpointOf } = this.options;
    if (peer === HUB && registry !== null && 'hub' in registry) return registry.hub;
    return endpointOf(peer);
  }

  private receive(peer: string, letter: unknown): void {
    if (!Array.isArray(letter) || letter[0] !== 'registry') this.options.onLetter(peer, letter);
    else if (this.served !== null) this.served.receive(peer, letter[1]);
    else if (peer === HUB) this.remote?.receive(letter[1]);
  }

  private reset(peer: string, cause: string): void {
    this.served?.reset(peer);
    if (peer === HUB) this.remote?.reset();
    this.options.onReset(peer, cause);
  }
}

/** Sockets are where the links are, for those who have the token. */
export function railsAt(
  listen: string,
  { token }: Security,
  rails: readonly RailSpec[],
): RailSpec[] {
  const { host } = hostPort(listen, '--listen');
  const at = host === 'localhost' ? {} : { host };
  const known = token === null ? {} : { token };
  return rails.map((rail) =>
    rail.kind === 'tcp' ? { ...rail, options: { ...known, ...at, ...rail.options } } : rail,
  );
}
