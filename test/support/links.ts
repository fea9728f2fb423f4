/** Peers with links between them, for tests of what crosses them. */
import { ChannelCredentials, Client, Metadata, ServerCredentials } from '@grpc/grpc-js';
import { InputError } from '../../src/core/errors.ts';
import { type LinkOptions, Links } from '../../src/runtime/control/links.ts';

export interface Peer {
  readonly links: Links;
  readonly port: number;
  readonly got: unknown[];
  readonly resets: string[];
}

let lives = 0;

/** Peers of one cluster that find each other by name. */
export class Peers {
  private readonly open: Links[] = [];
  readonly ports = new Map<string, number>();

  /** Its handler calls the message 'nonsense' so. */
  async add(name: string, given: Partial<LinkOptions> = {}): Promise<Peer> {
    const got: unknown[] = [];
    const resets: string[] = [];
    const links = new Links({
      name,
      life: ++lives,
      listen: `127.0.0.1:${this.ports.get(name) ?? 0}`,
      token: 'secret',
      serverCredentials: ServerCredentials.createInsecure(),
      channelCredentials: ChannelCredentials.createInsecure(),
      endpointOf: (other) => (this.ports.has(other) ? `127.0.0.1:${this.ports.get(other)}` : null),
      handler: {
        onMessage: (_, message) => {
          if (message === 'nonsense') throw new InputError('found nonsense');
          got.push(message);
        },
        onReset: (other, cause) => resets.push(`${other}: ${cause}`),
      },
      ...given,
    });
    this.open.push(links);
    const port = await links.listen();
    this.ports.set(name, port);
    return { links, port, got, resets };
  }

  async close(): Promise<void> {
    for (const links of this.open.splice(0)) await links.close();
    this.ports.clear();
  }
}

export const HELLO: Readonly<Record<string, string>> = {
  'moontide-protocol': '2',
  'moontide-name': 'stranger',
  'moontide-life': '1',
  'moontide-stream': '1',
  'moontide-token': 'secret',
  'moontide-endpoint': '127.0.0.1:1',
};

/** A client that speaks gRPC and whatever it likes over it. */
export class Stranger {
  private readonly client: Client;

  constructor(port: number, credentials = ChannelCredentials.createInsecure()) {
    this.client = new Client(`127.0.0.1:${port}`, credentials, {
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** Sends frames on a stream of its own; how that ended. */
  say(headers: Readonly<Record<string, string>>, frames: readonly Buffer[]): Promise<string> {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
    return new Promise((resolve) => {
      const pass = (bytes: Buffer) => bytes;
      const path = '/moontide.Control/Messages';
      const call = this.client.makeClientStreamRequest(path, pass, pass, metadata, (error) =>
        resolve(error?.details ?? ''),
      );
      call.on('error', () => {});
      for (const frame of frames) call.write(frame);
    });
  }

  close(): void {
    this.client.close();
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves once it holds; fails the test after ten seconds. */
export async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries === 1000) throw new Error('it never came to be');
    await pause(10);
  }
}
