/** A certificate authority for tests, by openssl, in a folder that `remove` takes away. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TlsFiles } from '../../src/runtime/control/security.ts';

export const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
export const NO_OPENSSL = 'skipped: no openssl; apt-get install openssl';

export class Authority {
  readonly folder = mkdtempSync(join(tmpdir(), 'moontide-pki-'));
  readonly ca = join(this.folder, 'ca.pem');

  constructor() {
    const key = join(this.folder, 'ca.key');
    openssl('req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca', [
      ...['-keyout', key, '-out', this.ca],
    ]);
  }

  /** A certificate for loopback, and for a member's name if one is given. */
  issue(name: string | null): TlsFiles {
    const file = (end: string) => join(this.folder, `${name ?? 'any'}.${end}`);
    const [key, request, cert, extensions] = ['key', 'csr', 'pem', 'ext'].map(file);
    const uri = name === null ? '' : `,URI:moontide://${name}`;
    writeFileSync(extensions, `subjectAltName=IP:127.0.0.1${uri}\n`);
    openssl('req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=moontide', [
      ...['-keyout', key, '-out', request],
    ]);
    openssl('x509 -req -days 2 -CAcreateserial', [
      ...['-in', request, '-CA', this.ca, '-CAkey', join(this.folder, 'ca.key')],
      ...['-extfile', extensions, '-out', cert],
    ]);
    return { cert, key, ca: this.ca };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function openssl(words: string, more: readonly string[]): void {
  const { status, stderr } = spawnSync('openssl', [...words.split(' '), ...more]);
  if (status !== 0) throw new Error(`openssl ${words}: ${stderr}`);
}
