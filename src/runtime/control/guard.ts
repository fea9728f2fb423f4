/**
 * The door of a server: takes connections before anything is known of who is there, and bounds what
 * they cost. Who has not shown who they are within a few seconds is put out; when too many stand
 * there, the one that waited longest goes first, so that a flood does not keep members out.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { InputError } from '../../core/errors.ts';

/** How long a connection may stay without a stream that was taken. */
const HELLO_MS = 5000;
const SWEEP_MS = 500;
/** Connections that have not shown who they are, and all of them. */
const STRANGERS_MAX = 128;
const CONNECTIONS_MAX = 4096;

interface Visitor {
  readonly socket: Socket;
  readonly sinceMs: number;
}

export class Guard {
  private readonly server: Server;
  private readonly helloMs: number;
  /** By remote address and port; those that came first stand first. */
  private readonly strangers = new Map<string, Visitor>();
  private readonly sockets = new Set<Socket>();
  private sweeper: NodeJS.Timeout | null = null;
  /** Connections put out before they showed who they are. */
  putOut = 0;

  /** `take` gets each connection as it comes. */
  constructor(take: (socket: Socket) => void, helloMs = HELLO_MS) {
    this.helloMs = helloMs;
    this.server = createServer({ noDelay: true }, (socket) => this.meet(socket, take));
    this.server.maxConnections = CONNECTIONS_MAX;
  }

  /** Resolves with the port. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', (error) => {
        reject(new InputError(`found ${host}:${port} in use or not ours: ${error.message}`));
      });
      this.server.listen(port, host, () => {
        this.server.on('error', () => {});
        const address = this.server.address();
        resolve(address === null || typeof address === 'string' ? port : address.port);
      });
    });
  }

  /** `peer` is remote address and port: it has shown who it is. */
  admit(peer: string): void {
    this.strangers.delete(peer);
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    if (this.sweeper !== null) clearInterval(this.sweeper);
  }

  private meet(socket: Socket, take: (socket: Socket) => void): void {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    this.sockets.add(socket);
    this.strangers.set(peer, { socket, sinceMs: performance.now() });
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      this.sockets.delete(socket);
      if (this.strangers.get(peer)?.socket === socket) this.strangers.delete(peer);
    });
    this.sweeper ??= setInterval(() => this.sweep(), SWEEP_MS).unref();
    if (this.strangers.size > STRANGERS_MAX) this.putOutFirst();
    take(socket);
  }

  private putOutFirst(): void {
    for (const [peer, { socket }] of this.strangers) {
      this.strangers.delete(peer);
      this.putOut++;
      socket.destroy();
      return;
    }
  }

  private sweep(): void {
    const beforeMs = performance.now() - this.helloMs;
    for (const { sinceMs } of this.strangers.values()) {
      if (sinceMs > beforeMs) return;
      this.putOutFirst();
    }
    if (this.strangers.size > 0 || this.sweeper === null) return;
    clearInterval(this.sweeper);
    this.sweeper = null;
  }
}
