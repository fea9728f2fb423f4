/**
 * Who may speak on the control plane: whoever has the cluster's token, or a certificate of the
 * cluster's authority (mutual TLS), or both where both are set. Beyond loopback one is a must.
 */
import { timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ChannelCredentials } from '@grpc/grpc-js';
import { InputError } from '../../core/errors.ts';

/** Paths of PEM files: own certificate and key, and the authority that signs all of the cluster. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** Their contents. */
export interface Tls {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

export interface Security {
  /** Null: none is asked for. */
  readonly token: string | null;
  readonly tls: Tls | null;
}

/** A token beyond loopback: 24 characters, 10 of them different (`openssl rand -hex 16`). */
const TOKEN_CHARS_MIN = 24;
const TOKEN_KINDS_MIN = 10;

/** @throws InputError for files that are not there or do not fit together */
export function loadTls(files: TlsFiles): Tls {
  const read = (path: string, what: string) => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new InputError(`found no ${what} to read: ${(error as Error).message}`, path);
    }
  };
  const tls = {
    cert: read(files.cert, 'certificate'),
    key: read(files.key, 'key'),
    ca: read(files.ca, 'authority'),
  };
  try {
    createSecureContext(tls);
  } catch (error) {
    const why = (error as Error).message;
    throw new InputError(`found no matching PEM certificate, key and authority: ${why}`, files.key);
  }
  return tls;
}

/**
 * From flags, or where they are not given from MOONTIDE_TLS_CERT, _KEY and _CA.
 * @throws InputError when only some are given
 */
export function tlsFilesFrom(
  flags: { readonly tlsCert?: string; readonly tlsKey?: string; readonly tlsCa?: string },
  environment: Readonly<Record<string, string | undefined>>,
): TlsFiles | null {
  const cert = flags.tlsCert ?? environment.MOONTIDE_TLS_CERT;
  const key = flags.tlsKey ?? environment.MOONTIDE_TLS_KEY;
  const ca = flags.tlsCa ?? environment.MOONTIDE_TLS_CA;
  if (cert === undefined && key === undefined && ca === undefined) return null;
  if (cert === undefined || key === undefined || ca === undefined) {
    throw new InputError('found some of --tls-cert, --tls-key and --tls-ca, expected all or none');
  }
  return { cert, key, ca };
}

/** @throws InputError when only some are given, or they do not fit together */
export function tlsFrom(...where: Parameters<typeof tlsFilesFrom>): Tls | null {
  const files = tlsFilesFrom(...where);
  return files === null ? null : loadTls(files);
}

export function channelCredentials({ tls }: Pick<Security, 'tls'>): ChannelCredentials {
  if (tls === null) return ChannelCredentials.createInsecure();
  return ChannelCredentials.createSsl(tls.ca, tls.key, tls.cert);
}

/** etcd is asked with the certificate of the cluster. */
export function etcdCredentials({ tls }: Security) {
  if (tls === null) return null;
  return { rootCertificate: tls.ca, privateKey: tls.key, certChain: tls.cert };
}

/**
 * `host:port` as its parts; IPv6 in brackets.
 * @throws InputError
 */
export function hostPort(listen: string, option: string): { host: string; port: number } {
  const found = /^(\[[\da-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5})$/.exec(listen);
  const port = Number(found?.[2]);
  if (found === null || port > 65_535) {
    throw new InputError(`found ${listen}, expected host:port`, option);
  }
  return { host: found[1].replace(/^\[|\]$/g, ''), port };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** @throws InputError where strangers could reach what is open to all */
export function checkBind(listen: string, { token, tls }: Security, option: string): void {
  const { host } = hostPort(listen, option);
  if (isLoopback(host) || tls !== null || isStrong(token)) return;
  const found = token === null ? 'no token' : 'a token that can be guessed';
  throw new InputError(
    `found ${listen} with ${found} and no TLS, expected a loopback address, or a MOONTIDE_TOKEN ` +
      `of ${TOKEN_CHARS_MIN} random characters, or --tls-cert, --tls-key and --tls-ca`,
    option,
  );
}

function isStrong(token: string | null): boolean {
  return (
    token !== null && token.length >= TOKEN_CHARS_MIN && new Set(token).size >= TOKEN_KINDS_MIN
  );
}

/** In a time that does not tell how much of it is right. */
export function sameToken(found: string, expected: string): boolean {
  const [a, b] = [Buffer.from(found), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/**
 * Names that a certificate is for: its URIs `moontide://NAME`. Empty: for any member, so that one
 * certificate can serve a whole cluster.
 */
export function certifiedNames(alternatives: string | undefined): readonly string[] {
  return [...(alternatives ?? '').matchAll(/URI:moontide:\/\/([\w.-]+)/g)].map(([, name]) => name);
}
