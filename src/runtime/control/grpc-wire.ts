/**
 * Frames over gRPC, for who configures it and for callers from outside: a client stream of
 * `moontide.Control/Messages` for each direction, the hello in its metadata.
 */
import type { Socket } from 'node:net';
import {
  Client,
  type ClientWritableStream,
  Metadata,
  Server,
  ServerCredentials,
  type ServerReadableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { FRAME_BYTES_MAX, FRAME_ROOM_BYTES } from './frames.ts';
import { channelCredentials, type Tls } from './security.ts';
import type { Accept, Hello, Outgoing, OutgoingEnd, Wire } from './wire.ts';

const PING_MS = 2000;
/** A connection that carries no stream for this long is closed. */
const IDLE_MS = 60_000;
/** Streams of one connection at once: a peer has one, and one that is ending. */
const STREAMS_MAX = 8;
const PATH = '/moontide.Control/Messages';

const pass = (bytes: Buffer): Buffer => bytes;
const METHOD = {
  path: PATH,
  requestStream: true,
  responseStream: false,
  requestSerialize: pass,
  requestDeserialize: pass,
  responseSerialize: pass,
  responseDeserialize: pass,
} as const;

type Call = ServerReadableStream<Buffer, Buffer>;

export class GrpcWire implements Wire {
  private readonly tls: Tls | null;
  private readonly accept: Accept;
  private readonly server: Server;
  private readonly inject: (socket: Socket) => void;

  /** Connections that it takes are open already: TLS, where there is any, has been settled. */
  constructor(tls: Tls | null, accept: Accept) {
    this.tls = tls;
    this.accept = accept;
    this.server = new Server({
      'grpc.max_receive_message_length': FRAME_BYTES_MAX,
      'grpc.keepalive_time_ms': PING_MS,
      'grpc.keepalive_timeout_ms': PING_MS,
      'grpc.max_connection_idle_ms': IDLE_MS,
      'grpc.max_concurrent_streams': STREAMS_MAX,
    });
    const injector = this.server.createConnectionInjector(ServerCredentials.createInsecure());
    this.inject = (socket) => injector.injectConnection(socket);
    const answer = (call: Call, callback: sendUnaryData<Buffer>) => this.receive(call, callback);
    this.server.addService({ Messages: METHOD }, { Messages: answer });
  }

  take(socket: Socket): void {
    this.inject(socket);
  }

  dial(_: string, endpoint: string, hello: Hello, end: OutgoingEnd): Outgoing {
    const client = new Client(endpoint, channelCredentials({ tls: this.tls }), {
      'grpc.max_send_message_length': FRAME_BYTES_MAX,
      'grpc.keepalive_time_ms': PING_MS,
      'grpc.keepalive_timeout_ms': PING_MS,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.use_local_subchannel_pool': 1,
    });
    let over = false;
    const call: ClientWritableStream<Buffer> = client.makeClientStreamRequest(
      PATH,
      pass,
      pass,
      metadataOf(hello),
      (error) => {
        if (over) return;
        over = true;
        client.close();
        end.onEnd(error?.details ?? 'the peer ended it');
      },
    );
    call.on('drain', () => over || end.onDrain());
    call.on('error', () => {});
    return {
      get isSlow() {
        return call.writableNeedDrain;
      },
      write: (frame) => call.write(frame.subarray(FRAME_ROOM_BYTES)),
      cancel: () => {
        over = true;
        call.cancel();
        client.close();
      },
    };
  }

  close(): void {
    this.server.forceShutdown();
  }

  private receive(call: Call, answer: sendUnaryData<Buffer>): void {
    let over = false;
    const end = (cause: string) => {
      over = true;
      answer({ code: status.ABORTED, details: cause });
    };
    const taken = this.accept({
      hello: helloOf(call.metadata),
      from: call.getPeer(),
      alternatives: call.getAuthContext().sslPeerCertificate?.subjectaltname,
      dialled: null,
      stream: { end, back: null },
    });
    if (typeof taken === 'string') {
      answer({ code: status.PERMISSION_DENIED, details: taken });
      return;
    }
    const ended = (cause: string) => {
      if (over) return;
      over = true;
      taken.onEnd(cause);
    };
    call.on('data', (frame: Buffer) => {
      if (over) return;
      taken.onBytes();
      taken.onFrame(frame);
    });
    call.on('end', () => ended('the peer ended it'));
    call.on('error', () => ended('the connection broke'));
    call.on('cancelled', () => ended('the connection broke'));
  }
}

function metadataOf(hello: Hello): Metadata {
  const metadata = new Metadata();
  for (const [word, value] of Object.entries(hello)) {
    if (value !== '') metadata.set(`moontide-${word}`, value);
  }
  return metadata;
}

function helloOf(metadata: Metadata): Hello {
  const word = (name: keyof Hello) => String(metadata.get(`moontide-${name}`)[0] ?? '');
  return {
    protocol: word('protocol'),
    name: word('name'),
    life: word('life'),
    stream: word('stream'),
    endpoint: word('endpoint'),
    token: word('token'),
  };
}
