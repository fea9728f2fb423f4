/**
 * Channels between processes, over gRPC: FIFO, each message at most once. A process opens one
 * stream to every peer that it talks to; what is sent in one turn of the event loop goes as one
 * frame. When either direction breaks both end, both sides are told once, and the next message
 * opens the channel anew (CORE.md, protocol 1).
 */
import { timingSafeEqual } from 'node:crypto';
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
import { decode, encode } from '../../core/codec.ts';
import { InputError } from '../../core/errors.ts';

/** Version of what crosses a link. */
export const PROTOCOL = 1;
/** One frame; a larger one breaks the link. An inventory of a million blocks has about 5 MB. */
const FRAME_BYTES_MAX = 64 << 20;
/** Messages that may wait for a slow peer; more break the link. */
const WAITING_MAX = 100_000;
const PING_MS = 2000;
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

export interface LinkOptions {
  /** Of this process, unique in the cluster. */
  readonly name: string;
  readonly incarnation: number;
  /** `host:port` to listen on; port 0 takes a free one. */
  readonly listen: string;
  /** Shared by the cluster; peers without it are refused. Null: none is asked for. */
  readonly token: string | null;
  readonly serverCredentials: ServerCredentials;
  readonly channelCredentials: ChannelCredentials;
  /** Where a peer listens; null while it is not known: then where its own stream says. */
  readonly endpointOf: (peer: string) => string | null;
  readonly handler: LinkHandler;
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
  /** Of the peer, as its stream said. */
  incarnation: number;
  endpoint: string | null;
  waiting: unknown[];
  due: boolean;
}

export class Links {
  private readonly options: LinkOptions;
  private readonly server: Server;
  private readonly links = new Map<string, Link>();
  private closed = false;
  /** Port that it listens on, once `listen` has resolved. */
  port = 0;

  constructor(options: LinkOptions) {
    this.options = options;
    this.server = new Server({
      'grpc.max_receive_message_length': FRAME_BYTES_MAX,
      'grpc.keepalive_time_ms': PING_MS,
      'grpc.keepalive_timeout_ms': PING_MS,
    });
    this.server.addService(
      { Messages: METHOD },
      {
        Messages: (call: Incoming['call'], answer: Incoming['answer']) => this.accept(call, answer),
      },
    );
  }

  listen(): Promise<number> {
    const { listen, serverCredentials } = this.options;
    return new Promise((resolve, reject) => {
      this.server.bindAsync(listen, serverCredentials, (error, port) => {
        if (error !== null) {
          reject(new InputError(`found ${listen} in use or not ours: ${error.message}`));
          return;
        }
        this.port = port;
        resolve(port);
      });
    });
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
    setImmediate(() => this.flush(link));
  }

  /** The peer is gone, or another one has its name: ends the channel. */
  drop(peer: string, cause: string): void {
    const link = this.links.get(peer);
    if (link !== undefined) this.reset(link, cause);
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const link of this.links.values()) this.cut(link);
    this.links.clear();
    this.server.forceShutdown();
  }

  private link(peer: string): Link {
    let link = this.links.get(peer);
    if (link === undefined) {
      link = {
        peer,
        client: null,
        outgoing: null,
        incoming: null,
        incarnation: -1,
        endpoint: null,
        waiting: [],
        due: false,
      };
      this.links.set(peer, link);
    }
    return link;
  }

  // --- sending --------------------------------------------------------------------------------

  private flush(link: Link): void {
    link.due = false;
    if (this.closed || link.waiting.length === 0) return;
    const outgoing = link.outgoing ?? this.open(link);
    if (outgoing === null) {
      this.reset(link, `${link.peer} is not a member`);
      return;
    }
    // The peer is slow: what comes meanwhile waits, and goes as one frame.
    if (outgoing.writableNeedDrain) return;
    const frame = Buffer.from(encode(link.waiting));
    link.waiting = [];
    outgoing.write(frame);
  }

  private open(link: Link): ClientWritableStream<Buffer> | null {
    const endpoint = this.options.endpointOf(link.peer) ?? link.endpoint;
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
    return outgoing;
  }

  private metadata(): Metadata {
    const { name, incarnation, token, listen } = this.options;
    const metadata = new Metadata();
    metadata.set('moontide-endpoint', listen.replace(/:\d+$/, `:${this.port}`));
    metadata.set('moontide-protocol', String(PROTOCOL));
    metadata.set('moontide-name', name);
    metadata.set('moontide-incarnation', String(incarnation));
    if (token !== null) metadata.set('moontide-token', token);
    return metadata;
  }

  // --- receiving ------------------------------------------------------------------------------

  private accept(call: Incoming['call'], answer: Incoming['answer']): void {
    const refused = this.refusal(call.metadata);
    if (refused !== null) {
      answer({ code: status.PERMISSION_DENIED, details: refused });
      return;
    }
    const name = text(call.metadata, 'moontide-name');
    const link = this.link(name);
    // A second stream of a peer: it began anew, and what it sent before is over.
    if (link.incoming !== null) this.reset(link, `${name} opened its channel again`);
    const incoming = { call, answer };
    link.incoming = incoming;
    link.incarnation = Number(text(call.metadata, 'moontide-incarnation'));
    link.endpoint = text(call.metadata, 'moontide-endpoint');
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
  private refusal(metadata: Metadata): string | null {
    const { token } = this.options;
    const protocol = text(metadata, 'moontide-protocol');
    if (protocol !== String(PROTOCOL)) {
      return `found protocol ${protocol || 'none'}, expected ${PROTOCOL}`;
    }
    if (token !== null && !equal(text(metadata, 'moontide-token'), token)) return 'wrong token';
    if (!/^[\w.-]{1,128}$/.test(text(metadata, 'moontide-name'))) return 'no name';
    if (!/^\d{1,15}$/.test(text(metadata, 'moontide-incarnation'))) return 'no incarnation';
    if (!/^[\w.[\]:-]{3,260}$/.test(text(metadata, 'moontide-endpoint'))) return 'no endpoint';
    return null;
  }

  private receive(link: Link, frame: Buffer): void {
    try {
      const messages = decode(new Uint8Array(frame.buffer, frame.byteOffset, frame.length));
      if (!Array.isArray(messages)) throw new InputError('found no list of messages');
      for (const message of messages) this.options.handler.onMessage(link.peer, message);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      this.reset(link, `it sent nonsense: ${error.message}`);
    }
  }

  // --- ends -----------------------------------------------------------------------------------

  private reset(link: Link, cause: string): void {
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

/** In a time that does not tell how much of it is right. */
function equal(found: string, expected: string): boolean {
  const [a, b] = [Buffer.from(found), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
