/**
 * Channels between processes: FIFO, each message at most once. A process opens one stream to every
 * peer that it talks to; what is sent in one turn of the event loop goes as one frame. When either
 * direction breaks both end, both sides are told once, and the next message opens the channel anew
 * (CORE.md, protocol 1). How frames travel is the wires' part.
 */
import { InputError } from '../../core/errors.ts';
import { FRAME_BYTES_MAX, FRAME_ROOM_BYTES, FrameReader, FrameWriter } from './frames.ts';
import { Guard } from './guard.ts';
import { certifiedNames, hostPort, sameToken, type Tls } from './security.ts';
import type { Arrival, Hello, Incoming, IncomingEnd, Outgoing } from './wire.ts';
import { type WireName, Wires, wireFrom } from './wires.ts';

/** Version of what crosses a link. */
export const PROTOCOL = 3;
/** Messages that may wait for a slow peer; more break the link. */
const WAITING_MAX = 100_000;
/** Messages of one frame after which what they caused is sent: a long one holds up no answers. */
const TURN_MESSAGES = 16;
/** Names that peers may have in a process's life. */
const PEERS_MAX = 10_000;
/** A channel that breaks again and again is opened after a while, which doubles up to the most. */
const BACK_OFF_MS = 25;
const BACK_OFF_MS_MAX = 1000;
/** One that held so long is opened at once. */
const CALM_MS = 5000;

/** What is said: any value that the core's codec takes. */
export interface LinkHandler {
  /** A message of a peer, in order. Throws InputError: the peer sent nonsense, its link ends. */
  onMessage(peer: string, message: unknown): void;
  /** The channel to a peer broke: what was under way either way may be lost. */
  onReset(peer: string, cause: string): void;
}

/** Sees frames come and go, to measure what lies between. */
export interface LinkProbe {
  /** Bytes have come, */
  received(): void;
  /** and this is what a frame of them says. */
  read(messages: readonly unknown[]): void;
  /** A frame has been given to the channel. */
  sent(messages: readonly unknown[]): void;
}

export interface LinkOptions {
  /** Of this process, unique in the cluster. */
  readonly name: string;
  /** Grows with every start of it: streams of an earlier life are refused. */
  readonly life: number;
  /** `host:port` to listen on; port 0 takes a free one. */
  readonly listen: string;
  /** Shared by the cluster; peers without it are refused. Null: none is asked for. */
  readonly token: string | null;
  /** Mutual TLS; null: none. */
  readonly tls: Tls | null;
  /** Of the channels that it opens; it takes all kinds. Default: MOONTIDE_WIRE's. */
  readonly wire?: WireName | undefined;
  /** Where a peer listens; null while it is not known: then where its own stream says. */
  readonly endpointOf: (peer: string) => string | null;
  readonly handler: LinkHandler;
  /** How long a connection may stay without showing who it is. Default: 5 s. */
  readonly helloMs?: number;
  readonly probe?: LinkProbe | undefined;
}

/** What has crossed the links of a process, and what was wrong. Each only grows. */
export interface LinkCounts {
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
  resets: number;
  /** Of these, because a peer sent what it must not. */
  nonsense: number;
  /** Streams of strangers: no token, another version, an earlier life. */
  refused: number;
}

interface Link {
  readonly peer: string;
  outgoing: Outgoing | null;
  incoming: Incoming | null;
  writer: FrameWriter;
  /** Of the peer, and the number of its stream in that life, as it said: -1 before it came. */
  life: number;
  stream: number;
  endpoint: string | null;
  waiting: unknown[];
  due: boolean;
  /** When it was opened last, and how much later it may be again. */
  openedMs: number;
  backOffMs: number;
}

export class Links {
  private readonly options: LinkOptions;
  private readonly wires: Wires;
  private readonly guard: Guard;
  private readonly links = new Map<string, Link>();
  /** Links with something to send at the end of this turn. */
  private due: Link[] = [];
  private closed = false;
  private streams = 0;
  readonly counts: LinkCounts = {
    messagesIn: 0,
    messagesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    resets: 0,
    nonsense: 0,
    refused: 0,
  };
  /** Port that it listens on, once `listen` has resolved. */
  port = 0;

  constructor(options: LinkOptions) {
    this.options = options;
    const { tls, wire = wireFrom(process.env), helloMs } = options;
    this.wires = new Wires(tls, wire, (arrival) => this.accept(arrival));
    this.guard = new Guard((socket) => this.wires.take(socket), helloMs);
  }

  /** @throws InputError for an address that can't be listened on */
  async listen(): Promise<number> {
    const { listen } = this.options;
    const { host, port } = hostPort(listen, '--listen');
    if (/^[0:.]+$/.test(host)) {
      // Peers are told where it listens.
      throw new InputError(`found ${listen}, expected the address that peers reach`, '--listen');
    }
    this.port = await this.guard.listen(host, port);
    return this.port;
  }

  /** Connections that were put out because they never showed who they are. */
  get putOut(): number {
    return this.guard.putOut;
  }

  /** Peers with a channel open now. */
  get open(): number {
    let open = 0;
    for (const { outgoing, incoming } of this.links.values()) {
      if (outgoing !== null || incoming !== null) open++;
    }
    return open;
  }

  /** Sends in order; without a channel one is opened. What can't be sent ends in a reset. */
  send(peer: string, message: unknown): void {
    if (this.closed) return;
    const link = this.link(peer);
    if (link.waiting.length >= WAITING_MAX) {
      this.reset(link, `more than ${WAITING_MAX} messages wait`);
      return;
    }
    link.waiting.push(message);
    if (link.due) return;
    link.due = true;
    if (this.due.push(link) === 1) process.nextTick(() => this.flushAll());
  }

  /** The peer is gone, or another one has its name: ends the channel, if there was one. */
  drop(peer: string, cause: string): boolean {
    const link = this.links.get(peer);
    if (link === undefined) return false;
    link.life = -1;
    this.reset(link, cause);
    return true;
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const link of this.links.values()) this.cut(link);
    this.links.clear();
    this.wires.close();
    this.guard.close();
  }

  private link(peer: string): Link {
    let link = this.links.get(peer);
    if (link === undefined) {
      link = {
        peer,
        outgoing: null,
        incoming: null,
        writer: new FrameWriter(),
        life: -1,
        stream: -1,
        endpoint: null,
        waiting: [],
        due: false,
        openedMs: Number.NEGATIVE_INFINITY,
        backOffMs: 0,
      };
      this.links.set(peer, link);
    }
    return link;
  }

  // --- sending --------------------------------------------------------------------------------

  private flushAll(): void {
    const { due } = this;
    this.due = [];
    for (const link of due) this.flush(link);
  }

  private flush(link: Link): void {
    link.due = false;
    if (this.closed || link.waiting.length === 0) return;
    const waitMs = link.openedMs + link.backOffMs - performance.now();
    if (link.outgoing === null && waitMs > 0) {
      link.due = true;
      setTimeout(() => this.flush(link), waitMs);
      return;
    }
    const outgoing = link.outgoing ?? this.connect(link);
    if (outgoing === null) {
      this.reset(link, `${link.peer} is not a member`);
      return;
    }
    // The peer is slow: what comes meanwhile waits, and goes as one frame.
    if (outgoing.isSlow) return;
    const frame = link.writer.frame(link.waiting);
    const bytes = frame.length - FRAME_ROOM_BYTES;
    if (bytes > FRAME_BYTES_MAX) {
      this.reset(link, `found ${bytes} bytes to send, expected at most ${FRAME_BYTES_MAX}`);
      return;
    }
    this.counts.messagesOut += link.waiting.length;
    this.counts.bytesOut += bytes;
    const messages = link.waiting;
    link.waiting = [];
    outgoing.write(frame);
    this.options.probe?.sent(messages);
  }

  /** Over the connection that the peer has opened, or one of its own. */
  private connect(link: Link): Outgoing | null {
    const endpoint = this.options.endpointOf(link.peer) ?? link.endpoint;
    const nowMs = performance.now();
    const calm = nowMs - link.openedMs > CALM_MS;
    link.backOffMs = calm ? BACK_OFF_MS : Math.min(BACK_OFF_MS_MAX, 2 * link.backOffMs);
    link.openedMs = nowMs;
    if (endpoint === null) return null;
    const end = {
      onDrain: () => this.flush(link),
      onEnd: (cause: string) => {
        if (link.outgoing === outgoing) this.reset(link, cause);
      },
    };
    const back = link.incoming?.back ?? null;
    const outgoing: Outgoing =
      back === null
        ? this.wires.dial(link.peer, endpoint, this.hello(), end)
        : back(this.hello(), end);
    link.outgoing = outgoing;
    link.writer = new FrameWriter();
    return outgoing;
  }

  private hello(): Hello {
    const { name, life, token, listen } = this.options;
    return {
      protocol: String(PROTOCOL),
      name,
      life: String(life),
      stream: String(++this.streams),
      endpoint: listen.replace(/:\d+$/, `:${this.port}`),
      token: token ?? '',
    };
  }

  // --- receiving ------------------------------------------------------------------------------

  private accept({ hello, from, alternatives, dialled, stream }: Arrival): IncomingEnd | string {
    const refused = this.refusal(hello, alternatives, dialled);
    if (refused !== null) {
      this.counts.refused++;
      return refused;
    }
    this.guard.admit(from);
    const { name } = hello;
    const link = this.link(name);
    // A second stream of a peer: it began anew, and what it sent before is over.
    if (link.incoming !== null) this.reset(link, `${name} opened its channel again`);
    link.incoming = stream;
    link.life = Number(hello.life);
    link.stream = Number(hello.stream);
    link.endpoint = hello.endpoint;
    const reader = new FrameReader();
    return {
      onBytes: () => this.options.probe?.received(),
      onFrame: (frame) => {
        if (link.incoming === stream) this.receive(link, stream, reader, frame);
      },
      onEnd: (cause) => {
        if (link.incoming === stream) this.reset(link, cause);
      },
    };
  }

  /** Why a stream is not taken; null: it is. */
  private refusal(
    hello: Hello,
    alternatives: string | undefined,
    dialled: string | null,
  ): string | null {
    const { token } = this.options;
    const { protocol, name } = hello;
    if (protocol !== String(PROTOCOL)) {
      return `found protocol ${protocol.slice(0, 16) || 'none'}, expected ${PROTOCOL}`;
    }
    if (token !== null && !sameToken(hello.token, token)) return 'wrong token';
    if (!/^[\w.-]{1,128}$/.test(name)) return 'no name';
    if (dialled !== null && name !== dialled) return `found ${name}, expected ${dialled}`;
    const names = certifiedNames(alternatives);
    if (names.length > 0 && !names.includes(name)) return `a certificate of ${names[0]}`;
    if (!/^\d{1,15}$/.test(hello.life)) return 'no life';
    if (!/^\d{1,15}$/.test(hello.stream)) return 'no stream';
    if (!/^[\w.[\]:-]{3,260}$/.test(hello.endpoint)) return 'no endpoint';
    return this.late(hello);
  }

  /** A stream that was here before, or whose sender has been followed by another. */
  private late(hello: Hello): string | null {
    const link = this.links.get(hello.name);
    if (link === undefined) return this.links.size < PEERS_MAX ? null : 'too many peers';
    const life = Number(hello.life);
    if (life < link.life) return 'an earlier life';
    if (life === link.life && Number(hello.stream) <= link.stream) return 'an earlier stream';
    return null;
  }

  /** Whatever a peer's bytes do to us ends its channel, and nothing else. */
  private receive(link: Link, stream: Incoming, reader: FrameReader, frame: Uint8Array): void {
    const { probe, handler } = this.options;
    this.counts.bytesIn += frame.length;
    try {
      const messages = reader.messages(frame);
      this.counts.messagesIn += messages.length;
      probe?.read(messages);
      for (let i = 0; i < messages.length; i++) {
        handler.onMessage(link.peer, messages[i]);
        if (i % TURN_MESSAGES === TURN_MESSAGES - 1) this.flushAll();
        if (link.incoming !== stream) return;
      }
    } catch (error) {
      this.counts.nonsense++;
      const fault = error instanceof InputError ? '' : `${(error as Error).name}: `;
      this.reset(link, `it sent nonsense: ${fault}${(error as Error).message}`);
    }
  }

  // --- ends -----------------------------------------------------------------------------------

  private reset(link: Link, cause: string): void {
    this.counts.resets++;
    this.cut(link);
    link.waiting = [];
    this.options.handler.onReset(link.peer, cause);
  }

  private cut(link: Link): void {
    const { outgoing, incoming } = link;
    link.outgoing = null;
    link.incoming = null;
    incoming?.end('the channel began anew');
    outgoing?.cancel();
  }
}
