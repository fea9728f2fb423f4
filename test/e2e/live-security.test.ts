/** Who may join a live cluster, and where its processes may listen, as a user sees it. */
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAIN } from '../support/cli.ts';
import { describeNative } from '../support/native.ts';
import { Authority, hasOpenssl, NO_OPENSSL } from '../support/pki.ts';

function moontide(args: readonly string[], environment: Record<string, string>) {
  const { MOONTIDE_TOKEN: _, ...rest } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    env: { ...rest, ...environment },
    encoding: 'utf8',
    input: '',
    timeout: 100_000,
  });
  return { code: status, stdout, stderr };
}

const AGENT = ['live', 'agent', '--node', '0', '--hub', '127.0.0.1:1'];

describe('live agent', () => {
  it.each([
    [[], {}, 'found no MOONTIDE_TOKEN, expected the cluster token, or --tls-cert'],
    [
      ['--listen', '0.0.0.0:0'],
      { MOONTIDE_TOKEN: 'letmein' },
      '--listen: found 0.0.0.0:0 with a token that can be guessed and no TLS, expected a ' +
        'loopback address, or a MOONTIDE_TOKEN of 24 random characters, or --tls-cert, ' +
        '--tls-key and --tls-ca',
    ],
    [
      ['--listen', 'nowhere'],
      { MOONTIDE_TOKEN: 'x' },
      '--listen: found nowhere, expected host:port',
    ],
    [
      ['--tls-cert', 'a.pem'],
      { MOONTIDE_TOKEN: 'x' },
      'found some of --tls-cert, --tls-key and --tls-ca, expected all or none',
    ],
    [
      ['--tls-cert', '/a.pem', '--tls-key', '/a.key', '--tls-ca', '/ca.pem'],
      {},
      "/a.pem: found no certificate to read: ENOENT: no such file or directory, open '/a.pem'",
    ],
  ])('%j %j: one line, exit 2', (more, environment, why) => {
    const { code, stdout, stderr } = moontide([...AGENT, ...more], environment);
    expect([code, stdout, stderr.trim()]).toEqual([2, '', `moontide: ${why}`]);
  });
});

describeNative('a live cluster with certificates', () => {
  const suite = it.skipIf(!hasOpenssl && process.env.CI !== 'true');
  let authority: Authority | null = null;
  beforeAll(() => {
    if (hasOpenssl) authority = new Authority();
  });
  afterAll(() => authority?.remove());

  const name = hasOpenssl ? 'serves a trace over %s' : `serves a trace over %s (${NO_OPENSSL})`;
  suite.each(['socket', 'grpc'])(
    name,
    (wire) => {
      const { cert, key, ca } = authority!.issue(null);
      const size = ['--nodes', '3', '--limit', '15', '--speed', '100', '--json'];
      const run = moontide(['live', 'replay', 'demo', ...size], {
        MOONTIDE_TLS_CERT: cert,
        MOONTIDE_TLS_KEY: key,
        MOONTIDE_TLS_CA: ca,
        MOONTIDE_WIRE: wire,
      });
      const result = JSON.parse(run.stdout);
      expect(result.requests).toMatchObject({ arrived: 15, completed: 15 });
      expect(result.live.checksumFailures).toBe(0);
    },
    120_000,
  );
});
