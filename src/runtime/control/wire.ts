/**
 * How frames get from one process to another: what links.ts asks of a wire, and what a wire tells.
 * A stream goes one way; its sender says who it is before anything else.
 */
import type { Socket } from 'node:net';

/** What a stream says of its sender first: words as they came, that nobody has looked at. */
export interface Hello {
  readonly protocol: string;
  readonly name: string;
  /** Grows with every start of the sender's process, and with every stream in it. */
  readonly life: string;
  readonly stream: string;
  /** Where the sender listens. */
  readonly endpoint: string;
  /** Empty: none. */
  readonly token: string;
}

/** A stream to a peer. */
export interface Outgoing {
  /** Its buffer is full: what is to be said waits until `onDrain`. */
  readonly isSlow: boolean;
  /** Bytes after FRAME_ROOM_BYTES of room. They are the wire's from here on. */
  write(frame: Buffer): void;
  /** Ends it; nothing is told of it from here on. */
  cancel(): void;
}

export interface OutgoingEnd {
  onDrain(): void;
  onEnd(cause: string): void;
}

/** A stream of a peer. */
export interface Incoming {
  /** Ends it, and tells the peer why; nothing is told of it from here on. */
  end(cause: string): void;
  /** A stream to that peer over the same connection; null where a wire has none. */
  readonly back: ((hello: Hello, end: OutgoingEnd) => Outgoing) | null;
}

export interface IncomingEnd {
  /** Bytes have come; frames of them follow. */
  onBytes(): void;
  onFrame(frame: Uint8Array): void;
  onEnd(cause: string): void;
}

/** A stream that somebody wants to open to us. */
export interface Arrival {
  readonly hello: Hello;
  /** Remote address and port of its connection. */
  readonly from: string;
  /** Alternative names of the certificate that its connection showed. */
  readonly alternatives: string | undefined;
  /** Whom we dialled: nobody else may answer there. Null: they came by themselves. */
  readonly dialled: string | null;
  readonly stream: Incoming;
}

/** What a wire tells of streams that come: those taken, or why one is not. */
export type Accept = (arrival: Arrival) => IncomingEnd | string;

export interface Wire {
  /** A stream to the peer that listens there. */
  dial(peer: string, endpoint: string, hello: Hello, end: OutgoingEnd): Outgoing;
  /** A connection from outside. */
  take(socket: Socket): void;
  close(): void;
}
