/** The registry on an etcd that asks for certificates. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadTls } from '../../src/runtime/control/security.ts';
import { EtcdRegistry } from '../../src/runtime/registry/etcd.ts';
import { ANY } from '../../src/runtime/registry/registry.ts';
import { freePorts, hasEtcd, NO_ETCD } from '../support/etcd.ts';
import { Authority, hasOpenssl, NO_OPENSSL } from '../support/pki.ts';

const missing = hasEtcd ? (hasOpenssl ? '' : ` (${NO_OPENSSL})`) : ` (${NO_ETCD})`;
const skipped = missing !== '' && process.env.CI !== 'true';
describe.skipIf(skipped)(`etcd with certificates${missing}`, () => {
  let authority: Authority;
  let etcd: ChildProcess;
  let endpoint: string;
  beforeAll(async () => {
    authority = new Authority();
    const { cert, key, ca } = authority.issue('etcd');
    const [client, peer] = await freePorts(2);
    endpoint = `127.0.0.1:${client}`;
    const peerUrl = `http://127.0.0.1:${peer}`;
    etcd = spawn(
      'etcd',
      [
        ...['--name', 'm0', '--data-dir', join(authority.folder, 'etcd'), '--logger', 'zap'],
        ...['--listen-client-urls', `https://${endpoint}`, '--log-level', 'error'],
        ...['--advertise-client-urls', `https://${endpoint}`, '--unsafe-no-fsync'],
        ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
        ...['--initial-cluster', `m0=${peerUrl}`, '--client-cert-auth'],
        ...['--cert-file', cert, '--key-file', key, '--trusted-ca-file', ca],
      ],
      { stdio: 'ignore' },
    );
  });
  afterAll(async () => {
    const gone = new Promise((resolve) => etcd.once('exit', resolve));
    etcd.kill('SIGKILL');
    await gone;
    authority.remove();
  });

  const open = (of: Authority) => {
    const { ca, key, cert } = loadTls(of.issue('member'));
    const credentials = { rootCertificate: ca, privateKey: key, certChain: cert };
    return new EtcdRegistry({ endpoints: [endpoint], prefix: 'tls/', credentials });
  };

  it('serves who has one of its authority', async () => {
    const registry = open(authority);
    try {
      await registry.put('a', '1', ANY);
      expect((await registry.get('a'))?.value).toBe('1');
    } finally {
      await registry.close();
    }
  }, 30_000);

  it('refuses others, and who has none', async () => {
    const other = new Authority();
    const plain = { endpoints: [endpoint], prefix: 'tls/', credentials: null };
    const refused = [open(other), new EtcdRegistry(plain)].map(async (registry) => {
      await expect(registry.get('a')).rejects.toThrow(/etcd/);
      await registry.close();
    });
    await Promise.all(refused);
    other.remove();
  }, 60_000);
});
