/** The links and the registry of one process of a store's cluster, be it a store or a client. */
import { Links } from '../control/links.ts';
import {
  channelCredentials,
  checkBind,
  etcdCredentials,
  hostPort,
  serverCredentials,
  type Tls,
} from '../control/security.ts';
import type { RailSpec } from '../data-plane.ts';
import { EtcdRegistry } from '../registry/etcd.ts';
import { HUB, type RegistryRef } from '../registry/open.ts';
import type { Registry } from '../registry/registry.ts';
import { RemoteRegistry } from '../registry/served.ts';

export interface ChannelOptions {
  /** Unique in the cluster. */
  readonly name: string;
  /** `host:port` to listen on; port 0 takes a free one. */
  readonly listen: string;
  /** Shared by the cluster. */
  readonly token: string;
  /** Null: no TLS. */
  readonly tls: Tls | null;
  readonly registry: RegistryRef;
  readonly endpointOf: (peer: string) => string | null;
  /** Throws InputError: the peer sent nonsense, its link ends. */
  readonly onLetter: (peer: string, letter: unknown) => void;
  readonly onReset: (peer: string) => void;
}

export class Channels {
  readonly links: Links;
  readonly registry: Registry;
  private readonly options: ChannelOptions;
  private readonly remote: RemoteRegistry | null = null;

  /** @throws InputError where strangers could reach it */
  constructor(options: ChannelOptions) {
    this.options = options;
    const { name, listen, token, tls, registry } = options;
    const security = { token, tls };
    checkBind(listen, security, '--listen');
    this.links = new Links({
      name,
      life: Date.now(),
      listen,
      token,
      serverCredentials: serverCredentials(security),
      channelCredentials: channelCredentials(security),
      endpointOf: (peer) => this.endpointOf(peer),
      handler: {
        onMessage: (peer, letter) => this.receive(peer, letter),
        onReset: (peer) => this.reset(peer),
      },
    });
    if ('etcd' in registry) {
      const { etcd: endpoints, prefix } = registry;
      this.registry = new EtcdRegistry({
        endpoints,
        prefix,
        credentials: etcdCredentials(security),
      });
    } else {
      this.remote = new RemoteRegistry(HUB, (peer, letter) => this.links.send(peer, letter));
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
    return peer === HUB && 'hub' in registry ? registry.hub : endpointOf(peer);
  }

  private receive(peer: string, letter: unknown): void {
    if (Array.isArray(letter) && letter[0] === 'registry') {
      if (peer === HUB) this.remote?.receive(letter[1]);
    } else this.options.onLetter(peer, letter);
  }

  private reset(peer: string): void {
    if (peer === HUB) this.remote?.reset();
    this.options.onReset(peer);
  }
}

/** Sockets are where the links are, for those who have the token. */
export function railsAt(
  { listen, token }: Pick<ChannelOptions, 'listen' | 'token'>,
  rails: readonly RailSpec[],
): RailSpec[] {
  const { host } = hostPort(listen, '--listen');
  const at = host === 'localhost' ? {} : { host };
  return rails.map((rail) =>
    rail.kind === 'tcp' ? { ...rail, options: { token, ...at, ...rail.options } } : rail,
  );
}
