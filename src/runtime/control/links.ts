/**
 * Channels between processes, over gRPC: FIFO, each message at most once. A process opens one
 * stream to every peer that it talks to; what is sent in one turn of the event loop goes as one
 * frame. When either direction breaks both end, both sides are told once, and the next message
 * opens the channel anew (CORE.md, protocol 1).
 */
import {
  type ChannelCredentials,
  Client,
  type ClientWritableStream,
  Metadata,
  Server,
  type ServerCredentials,
  type ServerReadableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { InputError } from '../../core/errors.ts';
import { decodeFrame, encodeFrame, FRAME_BYTES_MAX } from './frames.ts';
import { Guard } from './guard.ts';
import { certifiedNames, hostPort, sameToken } from './security.ts';

/** Version of what crosses a link. */
export const PROTOCOL = 2;
/** Messages that may wait for a slow peer; more break the link. */
const WAITING_MAX = 100_000;
const PING_MS = 2000;
/** A connection that carries no stream for this long is closed. */
const IDLE_MS = 60_000;
/** Streams of one connection at once: a peer has one, and one that is ending. */
const STREAMS_MAX = 8;
/** Names that peers may have in a process's life. */
const PEERS_MAX = 10_000;
/** A channel that breaks again and again is opened after a while, which doubles up to the most. */
const BACK_OFF_MS = 25;
const BACK_OFF_MS_MAX = 1000;
/** One that held so long is opened at once. */
const CALM_MS = 5000;
const SERVICE = '/moontide.Control/Messages';

const pass = (bytes: Buffer): Buffer => bytes;
const METHOD = {
  path: SERVICE,
  requestStream: true,
  responseStream: false,
  requestSerialize: pass,
  requestDeserialize: pass,
  responseSerialize: pass,
  responseDeserialize: pass,
} as const;

/** What is said: any value that the core's codec takes. */
export interface LinkHandler {
  /** A message of a peer, in order. Throws InputError: the peer sent nonsense, its link ends. */
  onMessage(peer: string, message: unknown): void;
  /** The channel to a peer broke: what was under way either way may be lost. */
  onReset(peer: string, cause: string): void;
}

/** Sees frames come and go, to measure what lies between. */
export interface LinkProbe {
  /** A frame has come, */
  received(): void;
  /** and this is what it says. */
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
  readonly serverCredentials: ServerCredentials;
  readonly channelCredentials: ChannelCredentials;
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

/** A peer's stream, and how it is ended. */
interface Incoming {
  readonly call: ServerReadableStream<Buffer, Buffer>;
  readonly answer: sendUnaryData<Buffer>;
}

interface Link {
  readonly peer: string;
  client: Client | null;
  outgoing: ClientWritableStream<Buffer> | null;
  incoming: Incoming | null;
  /** Of the peer, and the number of its stream in that life, as it said: -1 before it came. */
  life: number;
  stream: number;
  /** Frames of the stream to the peer, and of the one from it. */
  framesOut: number;
  framesIn: number;
  endpoint: string | null;
  waiting: unknown[];
  due: boolean;
  /** When it was opened last, and how much later it may be again. */
  openedMs: number;
  backOffMs: number;
}

export class Links {
  private readonly options: LinkOptions;
  private readonly server: Server;
  private readonly guard: Guard;
  private readonly links = new Map<string, Link>();
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
    this.server = new Server({
      'grpc.max_receive_message_length': FRAME_BYTES_MAX,
      'grpc.keepalive_time_ms': PING_MS,
      'grpc.keepalive_timeout_ms': PING_MS,
      'grpc.max_connection_idle_ms': IDLE_MS,
      'grpc.max_concurrent_streams': STREAMS_MAX,
    });
    const injector = this.server.createConnectionInjector(options.serverCredentials);
    this.guard = new Guard((socket) => injector.injectConnection(socket), options.helloMs);
    this.server.addService(
      { Messages: METHOD },
      {
        Messages: (call: Incoming['call'], answer: Incoming['answer']) => this.accept(call, answer),
      },
    );
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
    process.nextTick(() => this.flush(link));
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
    this.server.forceShutdown();
    this.guard.close();
  }

  private link(peer: string): Link {
    let link = this.links.get(peer);
    if (link === undefined) {
      link = {
        peer,
        client: null,
        outgoing: null,
        incoming: null,
        life: -1,
        stream: -1,
        framesOut: 0,
        framesIn: 0,
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
    if (outgoing.writableNeedDrain) return;
    const frame = encodeFrame(++link.framesOut, link.waiting);
    this.counts.messagesOut += link.waiting.length;
    this.counts.bytesOut += frame.length;
    const messages = link.waiting;
    link.waiting = [];
    outgoing.write(frame);
    this.options.probe?.sent(messages);
  }

  private connect(link: Link): ClientWritableStream<Buffer> | null {
    const endpoint = this.options.endpointOf(link.peer) ?? link.endpoint;
    const nowMs = performance.now();
    const calm = nowMs - link.openedMs > CALM_MS;
    link.backOffMs = calm ? BACK_OFF_MS : Math.min(BACK_OFF_MS_MAX, 2 * link.backOffMs);
    link.openedMs = nowMs;
    if (endpoint === null) return null;
    const client = new Client(endpoint, this.options.channelCredentials, {
      'grpc.max_send_message_length': FRAME_BYTES_MAX,
      'grpc.keepalive_time_ms': PING_MS,
      'grpc.keepalive_timeout_ms': PING_MS,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.use_local_subchannel_pool': 1,
    });
    const outgoing = client.makeClientStreamRequest(
      SERVICE,
      pass,
      pass,
      this.metadata(),
      (error) => {
        if (link.outgoing === outgoing) this.reset(link, error?.details ?? 'the peer ended it');
      },
    );
    outgoing.on('drain', () => this.flush(link));
    outgoing.on('error', () => {});
    link.client = client;
    link.outgoing = outgoing;
    link.framesOut = 0;
    return outgoing;
  }

  private metadata(): Metadata {
    const { name, life, token, listen } = this.options;
    const metadata = new Metadata();
    metadata.set('moontide-endpoint', listen.replace(/:\d+$/, `:${this.port}`));
    metadata.set('moontide-protocol', String(PROTOCOL));
    metadata.set('moontide-name', name);
    metadata.set('moontide-life', String(life));
    metadata.set('moontide-stream', String(++this.streams));
    if (token !== null) metadata.set('moontide-token', token);
    return metadata;
  }

  // --- receiving ------------------------------------------------------------------------------

  private accept(call: Incoming['call'], answer: Incoming['answer']): void {
    const refused = this.refusal(call);
    if (refused !== null) {
      this.counts.refused++;
      answer({ code: status.PERMISSION_DENIED, details: refused });
      return;
    }
    this.guard.admit(call.getPeer());
    const name = text(call.metadata, 'moontide-name');
    const link = this.link(name);
    // A second stream of a peer: it began anew, and what it sent before is over.
    if (link.incoming !== null) this.reset(link, `${name} opened its channel again`);
    const incoming = { call, answer };
    link.incoming = incoming;
    link.life = Number(text(call.metadata, 'moontide-life'));
    link.stream = Number(text(call.metadata, 'moontide-stream'));
    link.endpoint = text(call.metadata, 'moontide-endpoint');
    link.framesIn = 0;
    const ended = (cause: string) => {
      if (link.incoming === incoming) this.reset(link, cause);
    };
    call.on('data', (frame: Buffer) => {
      if (link.incoming === incoming) this.receive(link, frame);
    });
    call.on('end', () => ended('the peer ended it'));
    call.on('error', () => ended('the connection broke'));
    call.on('cancelled', () => ended('the connection broke'));
  }

  /** Why a stream is not taken; null: it is. */
  private refusal(call: Incoming['call']): string | null {
    const { token } = this.options;
    const { metadata } = call;
    const protocol = text(metadata, 'moontide-protocol');
    if (protocol !== String(PROTOCOL)) {
      return `found protocol ${protocol.slice(0, 16) || 'none'}, expected ${PROTOCOL}`;
    }
    if (token !== null && !sameToken(text(metadata, 'moontide-token'), token)) return 'wrong token';
    const name = text(metadata, 'moontide-name');
    if (!/^[\w.-]{1,128}$/.test(name)) return 'no name';
    const names = certifiedNames(call.getAuthContext().sslPeerCertificate?.subjectaltname);
    if (names.length > 0 && !names.includes(name)) return `a certificate of ${names[0]}`;
    if (!/^\d{1,15}$/.test(text(metadata, 'moontide-life'))) return 'no life';
    if (!/^\d{1,15}$/.test(text(metadata, 'moontide-stream'))) return 'no stream';
    if (!/^[\w.[\]:-]{3,260}$/.test(text(metadata, 'moontide-endpoint'))) return 'no endpoint';
    return this.late(name, metadata);
  }

  /** A stream that was here before, or whose sender has been followed by another. */
  private late(name: string, metadata: Metadata): string | null {
    const link = this.links.get(name);
    if (link === undefined) return this.links.size < PEERS_MAX ? null : 'too many peers';
    const life = Number(text(metadata, 'moontide-life'));
    const stream = Number(text(metadata, 'moontide-stream'));
    if (life < link.life) return 'an earlier life';
    if (life === link.life && stream <= link.stream) return 'an earlier stream';
    return null;
  }

  /** Whatever a peer's bytes do to us ends its channel, and nothing else. */
  private receive(link: Link, frame: Buffer): void {
    const { probe } = this.options;
    probe?.received();
    this.counts.bytesIn += frame.length;
    try {
      const bytes = new Uint8Array(frame.buffer, frame.byteOffset, frame.length);
      const messages = decodeFrame(bytes, ++link.framesIn);
      this.counts.messagesIn += messages.length;
      probe?.read(messages);
      for (const message of messages) this.options.handler.onMessage(link.peer, message);
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
    const { outgoing, incoming, client } = link;
    link.outgoing = null;
    link.incoming = null;
    link.client = null;
    outgoing?.cancel();
    client?.close();
    incoming?.answer({ code: status.ABORTED, details: 'the channel began anew' });
  }
}

function text(metadata: Metadata, key: string): string {
  return String(metadata.get(key)[0] ?? '');
}
