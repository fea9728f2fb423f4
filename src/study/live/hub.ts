/** A registry in memory that this process serves to the others, where there is no etcd. */
import { Links } from '../../runtime/control/links.ts';
import { checkBind, type Security } from '../../runtime/control/security.ts';
import { HUB } from '../../runtime/registry/open.ts';
import type { Registry } from '../../runtime/registry/registry.ts';
import { RegistryServer } from '../../runtime/registry/served.ts';

export class Hub {
  private readonly links: Links;
  private readonly server: RegistryServer;

  private constructor(listen: string, security: Security) {
    checkBind(listen, security, '--listen');
    this.server = new RegistryServer((peer, letter) => this.links.send(peer, letter));
    this.links = new Links({
      name: HUB,
      life: Date.now(),
      listen,
      token: security.token,
      tls: security.tls,
      // A client is where its own stream says.
      endpointOf: () => null,
      handler: {
        onMessage: (peer, letter) => {
          if (Array.isArray(letter) && letter[0] === 'registry') {
            this.server.receive(peer, letter[1]);
          }
        },
        onReset: (peer) => this.server.reset(peer),
      },
    });
  }

  /** @throws InputError where strangers could reach it */
  static async start(listen: string, security: Security): Promise<Hub> {
    const hub = new Hub(listen, security);
    await hub.links.listen();
    return hub;
  }

  get port(): number {
    return this.links.port;
  }

  get registry(): Registry {
    return this.server.registry;
  }

  async close(): Promise<void> {
    await this.links.close();
  }
}
