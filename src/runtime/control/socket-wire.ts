/**
 * The lean wire: frames over a plain TCP or TLS connection. Either end may open one stream on it,
 * so that two processes that talk to each other need one connection. After MAGIC, which who dialled
 * sends first, both ways are parts: a header of four bytes (kind and length), then so many bytes.
 *
 * An end that has nothing to say beats now and then; one that is silent for two sweeps is gone.
 * Sweeps are counted, not time: a process that stood still blames nobody for it.
 */
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { decode, encode } from '../../core/codec.ts';
import { FRAME_BYTES_MAX, FRAME_ROOM_BYTES } from './frames.ts';
import { hostPort, type Tls } from './security.ts';
import type { Accept, Hello, Incoming, IncomingEnd, Outgoing, OutgoingEnd, Wire } from './wire.ts';

/** First bytes of a connection. HTTP/2 begins with a `P`. */
export const MAGIC = Buffer.from('moontide');
/** Its name where TLS asks which protocol is spoken. */
export const SOCKET_ALPN = 'moontide';

/** Kinds of parts, in the upper bits of their header; below is the length. */
export const Part = { frame: 0, hello: 1, beat: 2, end: 3 } as const;
const LENGTH_BITS = 28;
const LENGTH_MASK = 2 ** LENGTH_BITS - 1;
const HEADER_BYTES = FRAME_ROOM_BYTES;
/** What a stranger may say. */
const HELLO_BYTES_MAX = 4096;
const CAUSE_CHARS_MAX = 512;

const READ_BYTES = 64 << 10;
const SWEEP_MS = 1500;
const SILENT_SWEEPS = 2;
/** A connection that was ended is torn down after so long, whatever the peer does. */
const LINGER_MS = 1000;
const BROKEN = 'the connection broke';

export class SocketWire implements Wire {
  private readonly tls: Tls | null;
  readonly accept: Accept;
  private readonly lines = new Set<Line>();
  /** What is read lies here until it has been heard: of all connections, one after the other. */
  private readonly room = Buffer.alloc(READ_BYTES);
  private sweeper: NodeJS.Timeout | null = null;

  constructor(tls: Tls | null, accept: Accept) {
    this.tls = tls;
    this.accept = accept;
  }

  dial(peer: string, endpoint: string, hello: Hello, end: OutgoingEnd): Outgoing {
    const { host, port } = hostPort(endpoint, peer);
    const { tls } = this;
    if (tls !== null) {
      const names = { ALPNProtocols: [SOCKET_ALPN], ...serverName(host) };
      return this.line(connectTls({ ...tls, host, port, ...names }), peer).open(hello, end);
    }
    const { room } = this;
    const callback = (size: number) => {
      line.read(room.subarray(0, size));
      return true;
    };
    const line = this.line(connect({ host, port, onread: { buffer: room, callback } }), peer);
    return line.open(hello, end);
  }

  take(socket: Socket): void {
    this.line(socket, null);
  }

  close(): void {
    for (const line of this.lines) line.destroy();
    this.lines.clear();
    if (this.sweeper !== null) clearInterval(this.sweeper);
  }

  private sweep(): void {
    for (const line of this.lines) line.sweep();
  }

  private line(socket: Socket, dialled: string | null): Line {
    const line = new Line(socket, dialled, this.accept);
    this.lines.add(line);
    socket.once('close', () => this.lines.delete(line));
    // What came while this process stood still is read before anybody is blamed.
    this.sweeper ??= setInterval(() => setImmediate(() => this.sweep()), SWEEP_MS).unref();
    return line;
  }
}

/** One connection, with at most a stream each way. */
class Line {
  private readonly socket: Socket;
  private readonly dialled: string | null;
  private readonly accept: Accept;
  private outgoing: OutgoingEnd | null = null;
  private incoming: IncomingEnd | null = null;
  /** What is left of a part that has come in pieces. */
  private readonly held = new Pieces();
  private over = false;
  private heard = false;
  private said = false;
  private silentSweeps = 0;

  constructor(socket: Socket, dialled: string | null, accept: Accept) {
    this.socket = socket;
    this.dialled = dialled;
    this.accept = accept;
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => this.read(bytes));
    socket.on('drain', () => this.outgoing?.onDrain());
    socket.on('error', (error) => this.ended(error.message));
    socket.on('end', () => this.ended('the peer ended it'));
    socket.on('close', () => this.ended(BROKEN));
    if (dialled !== null) socket.write(MAGIC);
    else this.held.expect(MAGIC.length);
    socket.resume();
  }

  /** Opens the stream of this end. */
  open(hello: Hello, end: OutgoingEnd): Outgoing {
    const { socket } = this;
    this.outgoing = end;
    this.say(Part.hello, encode(hello));
    return {
      get isSlow() {
        return socket.writableNeedDrain;
      },
      write: (frame) => {
        frame.writeUInt32LE(frame.length - HEADER_BYTES, 0);
        this.said = true;
        socket.write(frame);
      },
      cancel: () => this.finish(''),
    };
  }

  sweep(): void {
    // Strangers are the guard's, and are told nothing.
    if (this.over || (this.outgoing === null && this.incoming === null)) return;
    this.silentSweeps = this.heard ? 0 : this.silentSweeps + 1;
    if (this.silentSweeps >= SILENT_SWEEPS) {
      this.ended('no answer');
      this.socket.destroy();
      return;
    }
    if (!this.said && !this.socket.connecting) this.say(Part.beat, NOTHING);
    this.heard = this.said = false;
  }

  destroy(): void {
    this.over = true;
    this.socket.destroy();
  }

  private say(part: number, bytes: Uint8Array): void {
    const header = Buffer.allocUnsafe(HEADER_BYTES + bytes.length);
    header.writeUInt32LE(part * 2 ** LENGTH_BITS + bytes.length, 0);
    header.set(bytes, HEADER_BYTES);
    this.said = true;
    this.socket.write(header);
  }

  // --- reading ----------------------------------------------------------------------------------

  /** The bytes are the caller's again when it returns. */
  read(chunk: Buffer): void {
    if (this.over) return;
    this.heard = true;
    this.incoming?.onBytes();
    const bytes = this.held.join(chunk);
    if (bytes === null) return;
    let at = 0;
    if (this.dialled === null && this.held.isFirst) {
      if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return this.destroy();
      at = MAGIC.length;
    }
    while (at + HEADER_BYTES <= bytes.length) {
      const header = bytes.readUInt32LE(at);
      const part = header >>> LENGTH_BITS;
      const length = header & LENGTH_MASK;
      if (length > (this.incoming === null ? HELLO_BYTES_MAX : FRAME_BYTES_MAX)) {
        return this.fail(`found a frame of ${length} bytes, expected at most ${FRAME_BYTES_MAX}`);
      }
      const from = at + HEADER_BYTES;
      if (from + length > bytes.length) {
        this.held.keep(bytes.subarray(at), HEADER_BYTES + length);
        return;
      }
      at = from + length;
      this.hear(part, bytes.subarray(from, at));
      if (this.over) return;
    }
    if (at === bytes.length) this.held.expect(HEADER_BYTES);
    else this.held.keep(bytes.subarray(at), HEADER_BYTES);
  }

  private hear(part: number, bytes: Buffer): void {
    if (part === Part.frame && this.incoming !== null) this.incoming.onFrame(bytes);
    else if (part === Part.hello && this.incoming === null) this.greet(bytes);
    else if (part === Part.end) this.ended(bytes.toString('utf8', 0, CAUSE_CHARS_MAX));
    else if (part !== Part.beat) this.fail(`found part ${part} where it must not be`);
  }

  private greet(bytes: Buffer): void {
    const hello = helloOf(bytes);
    if (hello === null) return this.fail('found no hello');
    const { socket, dialled } = this;
    const stream: Incoming = {
      end: (cause) => this.finish(cause),
      back: dialled === null ? (own, end) => this.open(own, end) : null,
    };
    const taken = this.accept({
      hello,
      from: `${socket.remoteAddress}:${socket.remotePort}`,
      alternatives: (socket as Partial<TLSSocket>).getPeerCertificate?.().subjectaltname,
      dialled,
      stream,
    });
    if (typeof taken === 'string') this.fail(taken);
    else if (this.over) taken.onEnd(BROKEN);
    else this.incoming = taken;
  }

  // --- ends -------------------------------------------------------------------------------------

  /** What came must not come: both ends are told. */
  private fail(cause: string): void {
    const { outgoing, incoming } = this;
    this.finish(cause);
    outgoing?.onEnd(cause);
    incoming?.onEnd(cause);
  }

  /** The peer ended it, or it broke. */
  private ended(cause: string): void {
    if (this.over) return;
    const { outgoing, incoming } = this;
    this.finish('');
    outgoing?.onEnd(cause);
    incoming?.onEnd(cause);
  }

  private finish(cause: string): void {
    if (this.over) return;
    this.over = true;
    this.outgoing = this.incoming = null;
    if (this.socket.connecting) {
      this.socket.destroy();
      return;
    }
    if (cause !== '') this.say(Part.end, Buffer.from(cause.slice(0, CAUSE_CHARS_MAX)));
    this.socket.end();
    setTimeout(() => this.socket.destroy(), LINGER_MS).unref();
  }
}

/** Bytes of a part that comes in pieces, copied together once. */
class Pieces {
  private bytes = NOTHING;
  private size = 0;
  private needed = 0;
  private joins = 0;

  /** Nothing has been joined before what is in hand. */
  get isFirst(): boolean {
    return this.joins === 1;
  }

  expect(bytes: number): void {
    this.needed = bytes;
  }

  /** What was kept and what has come, as soon as that is what is needed; null before. */
  join(chunk: Buffer): Buffer | null {
    if (this.size === 0 && chunk.length >= this.needed) {
      this.joins++;
      return chunk;
    }
    this.append(chunk);
    if (this.size < this.needed) return null;
    const joined = this.bytes.subarray(0, this.size);
    this.size = 0;
    this.joins++;
    return joined;
  }

  /** Bytes that wait until there are `needed`. */
  keep(rest: Buffer, needed: number): void {
    this.needed = needed;
    // It may lie in the memory that it is copied to.
    this.bytes = rest.length === 0 ? NOTHING : Buffer.from(rest);
    this.size = rest.length;
  }

  /** Room grows with what has come, not with what was announced. */
  private append(chunk: Buffer): void {
    const size = this.size + chunk.length;
    if (size > this.bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(size, Math.min(2 * size, this.needed)));
      grown.set(this.bytes.subarray(0, this.size));
      this.bytes = grown;
    }
    this.bytes.set(chunk, this.size);
    this.size = size;
  }
}

const NOTHING = Buffer.alloc(0);
const WORDS = ['protocol', 'name', 'life', 'stream', 'endpoint', 'token'] as const;

/** TLS names hosts, not addresses; the certificate is checked against either. */
function serverName(host: string): { servername?: string } {
  return isIP(host) === 0 ? {} : { servername: '' };
}

/** Null: these bytes are none. */
function helloOf(bytes: Uint8Array): Hello | null {
  try {
    const found = decode(bytes) as Partial<Record<string, unknown>> | null;
    const isHello = WORDS.every((word) => typeof found?.[word] === 'string');
    return isHello ? (found as unknown as Hello) : null;
  } catch {
    return null;
  }
}
