/** Peers with links between them, for tests of what crosses them. */
import { connect, type Socket } from 'node:net';
import { ChannelCredentials, Client, Metadata } from '@grpc/grpc-js';
import { encode } from '../../src/core/codec.ts';
import { InputError } from '../../src/core/errors.ts';
import { type LinkOptions, Links } from '../../src/runtime/control/links.ts';
import { MAGIC, Part } from '../../src/runtime/control/socket-wire.ts';
import type { Hello } from '../../src/runtime/control/wire.ts';
import type { WireName } from '../../src/runtime/control/wires.ts';

export interface Peer {
  readonly links: Links;
  readonly port: number;
  readonly got: unknown[];
  readonly resets: string[];
}

let lives = 0;

/** Peers of one cluster that find each other by name. */
export class Peers {
  /** Of the channels that they open. */
  wire: WireName = 'socket';
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
      tls: null,
      wire: this.wire,
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

export const HELLO: Hello = {
  protocol: '3',
  name: 'stranger',
  life: '1',
  stream: '1',
  token: 'secret',
  endpoint: '127.0.0.1:1',
};

/** A frame as bytes: its number and its messages. */
export function frameOf(number: number, messages: unknown): Buffer {
  return Buffer.concat([encode(number), encode(messages)]);
}

/** A client that speaks a wire, and whatever it likes over it. */
export interface Stranger {
  /** Sends frames on a stream of its own; how that ended. */
  say(hello: Hello, frames: readonly Buffer[]): Promise<string>;
  close(): void;
}

export function strangerOn(wire: WireName, port: number): Stranger {
  return wire === 'grpc' ? new GrpcStranger(port) : new SocketStranger(port);
}

class GrpcStranger implements Stranger {
  private readonly client: Client;

  constructor(port: number) {
    this.client = new Client(`127.0.0.1:${port}`, ChannelCredentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  say(hello: Hello, frames: readonly Buffer[]): Promise<string> {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(hello)) metadata.set(`moontide-${key}`, value);
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

/** A part of the lean wire as bytes. */
export function partOf(kind: number, bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt32LE(kind * 2 ** 28 + bytes.length);
  return Buffer.concat([header, bytes]);
}

class SocketStranger implements Stranger {
  private readonly port: number;
  private readonly sockets: Socket[] = [];

  constructor(port: number) {
    this.port = port;
  }

  say(hello: Hello, frames: readonly Buffer[]): Promise<string> {
    const socket = connect(this.port, '127.0.0.1');
    this.sockets.push(socket);
    socket.write(MAGIC);
    socket.write(partOf(Part.hello, encode(hello)));
    for (const frame of frames) socket.write(partOf(Part.frame, frame));
    const found: Buffer[] = [];
    return new Promise((resolve) => {
      socket.on('data', (bytes) => found.push(bytes));
      socket.on('error', () => {});
      socket.on('close', () => resolve(Buffer.concat(found).subarray(4).toString()));
    });
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
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
