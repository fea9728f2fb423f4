/**
 * The wires of one process, on one port: connections that come are sorted by what they speak, TLS's
 * ALPN where there is TLS, else their first byte; those that go out use the wire that is asked for.
 */
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { InputError } from '../../core/errors.ts';
import { GrpcWire } from './grpc-wire.ts';
import type { Tls } from './security.ts';
import { MAGIC, SOCKET_ALPN, SocketWire } from './socket-wire.ts';
import type { Accept, Hello, Outgoing, OutgoingEnd, Wire } from './wire.ts';

/** `socket`: frames over TCP or TLS. `grpc`: over HTTP/2, four times the CPU. */
export const WIRE_NAMES = ['socket', 'grpc'] as const;
export type WireName = (typeof WIRE_NAMES)[number];

/**
 * MOONTIDE_WIRE: what a process dials with; it takes both.
 * @throws InputError
 */
export function wireFrom(environment: Readonly<Record<string, string | undefined>>): WireName {
  const found = environment.MOONTIDE_WIRE || WIRE_NAMES[0];
  const wire = WIRE_NAMES.find((name) => name === found);
  if (wire !== undefined) return wire;
  throw new InputError(`found ${found}, expected ${WIRE_NAMES.join(' or ')}`, 'MOONTIDE_WIRE');
}

export class Wires implements Wire {
  private readonly socket: SocketWire;
  private readonly grpc: GrpcWire;
  private readonly out: Wire;
  private readonly door: Server | null;

  constructor(tls: Tls | null, out: WireName, accept: Accept) {
    this.socket = new SocketWire(tls, accept);
    this.grpc = new GrpcWire(tls, accept);
    this.out = this[out];
    this.door = tls === null ? null : this.secureDoor(tls);
  }

  dial(peer: string, endpoint: string, hello: Hello, end: OutgoingEnd): Outgoing {
    return this.out.dial(peer, endpoint, hello, end);
  }

  take(socket: Socket): void {
    if (this.door !== null) {
      this.door.emit('connection', socket);
      return;
    }
    socket.once('data', (bytes: Buffer) => {
      socket.pause();
      socket.unshift(bytes);
      (bytes[0] === MAGIC[0] ? this.socket : this.grpc).take(socket);
    });
  }

  close(): void {
    this.socket.close();
    this.grpc.close();
  }

  /** Lets in who has a certificate of the authority. */
  private secureDoor(tls: Tls): Server {
    const options = { requestCert: true, rejectUnauthorized: true };
    const server = createServer({ ...tls, ...options, ALPNProtocols: [SOCKET_ALPN, 'h2'] });
    server.on('secureConnection', (socket: TLSSocket) => {
      socket.on('error', () => socket.destroy());
      if (socket.alpnProtocol === SOCKET_ALPN) this.socket.take(socket);
      else if (socket.alpnProtocol === 'h2') this.grpc.take(socket);
      else socket.destroy();
    });
    server.on('tlsClientError', (_, socket) => socket.destroy());
    return server;
  }
}
