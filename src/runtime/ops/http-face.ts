/**
 * A small HTTP server for operators: fixed routes, bounded bodies, answers in one piece. On
 * loopback it asks for nothing but a Host of loopback (a page in a browser must not reach it by
 * another name); beyond, for the cluster's token as `Authorization: Bearer`, or a certificate.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { InputError } from '../../core/errors.ts';
import { checkBind, hostPort, isLoopback, type Security, sameToken } from '../control/security.ts';

const BODY_BYTES_MAX = 1 << 20;
const CONNECTIONS_MAX = 256;
const REQUEST_MS = 10_000;

export interface Answer {
  readonly code: number;
  readonly type: 'application/json' | 'text/plain; version=0.0.4';
  readonly body: string;
}

/** The answer to a request; `body` is parsed JSON, null of a GET. */
export type Route = (body: unknown) => Answer;

export function json(value: unknown, code = 200): Answer {
  return { code, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}

const problem = (code: number, error: string): Answer => json({ error }, code);

export class HttpFace {
  private readonly server: Server;
  private readonly listenAt: string;
  private readonly token: string | null;
  private readonly local: boolean;
  /** By `GET /path`. */
  private readonly routes: ReadonlyMap<string, Route>;

  /** @throws InputError where strangers could reach it */
  constructor(listen: string, security: Security, routes: ReadonlyMap<string, Route>) {
    const { host } = hostPort(listen, '--http');
    checkBind(listen, security, '--http');
    this.listenAt = listen;
    this.local = isLoopback(host);
    this.token = this.local ? null : security.token;
    this.routes = routes;
    const answer = (request: IncomingMessage, response: ServerResponse) =>
      void this.serve(request, response);
    const { tls } = security;
    const options = { headersTimeout: REQUEST_MS, requestTimeout: REQUEST_MS };
    const secured = { ...tls, requestCert: true, rejectUnauthorized: true, ...options };
    this.server =
      tls === null || this.local
        ? createServer(options, answer)
        : createTlsServer({ ...secured, cert: tls.cert, key: tls.key, ca: tls.ca }, answer);
    this.server.maxConnections = CONNECTIONS_MAX;
    this.server.on('clientError', (_, socket) => socket.destroy());
  }

  /** Resolves with `host:port`. */
  listen(): Promise<string> {
    const { host, port } = hostPort(this.listenAt, '--http');
    return new Promise((resolve, reject) => {
      this.server.once('error', (error) => {
        const found = `found ${this.listenAt} in use or not ours: ${error.message}`;
        reject(new InputError(found, '--http'));
      });
      this.server.listen(port, host, () => {
        const address = this.server.address();
        const bound = address === null || typeof address === 'string' ? port : address.port;
        resolve(this.listenAt.replace(/:\d+$/, `:${bound}`));
      });
      this.server.unref();
    });
  }

  close(): Promise<void> {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = this.refusal(request) ?? (await this.answer(request));
    } catch (error) {
      if (error instanceof InputError) answer = problem(400, error.message);
      else answer = problem(500, (error as Error).message);
    }
    // What is left of a body that nobody reads must not stay in the connection.
    const ends = request.complete ? {} : { connection: 'close' };
    response.writeHead(answer.code, { 'content-type': answer.type, ...ends });
    response.end(answer.body);
  }

  private refusal({ headers }: IncomingMessage): Answer | null {
    if (this.local) {
      const host = (headers.host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
      return isLoopback(host) ? null : problem(403, 'found another Host than loopback');
    }
    const given = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? '';
    const known = this.token === null || sameToken(given, this.token);
    return known ? null : problem(401, 'found no Authorization: Bearer with the token');
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    const path = (request.url ?? '/').split('?', 1)[0];
    const route = this.routes.get(`${request.method} ${path}`);
    if (route === undefined) {
      const known = [...this.routes.keys()].some((key) => key.endsWith(` ${path}`));
      return known ? problem(405, `found ${request.method} ${path}`) : problem(404, 'not found');
    }
    return route(request.method === 'POST' ? await bodyOf(request) : null);
  }
}

/** @throws InputError for what is too long or no JSON */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > BODY_BYTES_MAX) {
      throw new InputError(`found a longer body, expected at most ${BODY_BYTES_MAX} bytes`);
    }
    chunks.push(chunk as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    throw new InputError(`found no JSON: ${(error as Error).message}`);
  }
}
