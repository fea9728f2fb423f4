/** Who may listen where, and mutual TLS between peers. */
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  certifiedNames,
  checkBind,
  hostPort,
  loadTls,
  sameToken,
  type Tls,
  tlsFrom,
} from '../../src/runtime/control/security.ts';
import { WIRE_NAMES } from '../../src/runtime/control/wires.ts';
import { frameOf, HELLO, Peers, pause, strangerOn, until } from '../support/links.ts';
import { Authority, hasOpenssl, NO_OPENSSL } from '../support/pki.ts';

const STRONG = '0123456789abcdef01234567';
const TLS: Tls = { cert: Buffer.of(), key: Buffer.of(), ca: Buffer.of() };

describe('what a process listens on', () => {
  it.each(['127.0.0.1:0', '127.8.8.8:80', 'localhost:1', '[::1]:7000'])('may be %s', (listen) => {
    expect(() => checkBind(listen, { token: null, tls: null }, '--listen')).not.toThrow();
  });

  it.each([
    ['0.0.0.0:7000', null, /with no token and no TLS, expected a loopback address/],
    ['[::]:7000', null, /with no token/],
    ['10.0.0.1:7000', 'short', /a token that can be guessed/],
    ['10.0.0.1:7000', 'a'.repeat(64), /a token that can be guessed/],
    ['128.0.0.1:7000', null, /with no token/],
    ['127.0.0.1.example.com:1', null, /with no token/],
  ])('is not %s with the token %s', (listen, token, why) => {
    expect(() => checkBind(listen, { token, tls: null }, '--listen')).toThrow(why);
    expect(() => checkBind(listen, { token: STRONG, tls: null }, '--listen')).not.toThrow();
    expect(() => checkBind(listen, { token, tls: TLS }, '--listen')).not.toThrow();
  });

  it.each(['', 'host', 'host:', ':1', 'a b:1', '::1:7000', 'host:70000', 'host:1/x'])(
    'is not %j',
    (listen) => {
      expect(() => hostPort(listen, '--listen')).toThrow(/expected host:port/);
    },
  );
});

describe('a token', () => {
  it('is compared whole', () => {
    expect(sameToken('secret', 'secret')).toBe(true);
    for (const other of ['', 'secre', 'secrets', 'Secret']) {
      expect(sameToken(other, 'secret')).toBe(false);
    }
  });
});

describe('names of a certificate', () => {
  it('are its moontide URIs', () => {
    expect(certifiedNames('DNS:a, URI:moontide://node-1, URI:moontide://node-2')).toEqual([
      'node-1',
      'node-2',
    ]);
    expect(certifiedNames('DNS:node-1, URI:spiffe://node-1')).toEqual([]);
    expect(certifiedNames(undefined)).toEqual([]);
  });
});

const suite = describe.skipIf(!hasOpenssl && process.env.CI !== 'true');
for (const wire of WIRE_NAMES)
  suite(`mutual TLS over ${wire} (${NO_OPENSSL})`, () => {
    const peers = new Peers();
    let authority: Authority;
    beforeAll(() => {
      peers.wire = wire;
      authority = new Authority();
    });
    afterAll(() => authority.remove());
    afterEach(() => peers.close());

    const add = (name: string, tls: Tls, token: string | null = null, helloMs = 5000) =>
      peers.add(name, {
        token,
        helloMs,
        tls,
      });

    it('lets members of the authority talk, with one certificate or one each', async () => {
      const any = loadTls(authority.issue(null));
      const [a, b] = [await add('a', any), await add('node-1', loadTls(authority.issue('node-1')))];
      a.links.send('node-1', 1);
      b.links.send('a', 2);
      await until(() => a.got.length === 1 && b.got.length === 1);
      expect([...a.resets, ...b.resets]).toEqual([]);
    });

    it('puts out who shows no certificate, and nobody who did', async () => {
      const any = loadTls(authority.issue(null));
      const [a, b] = [await add('a', any), await add('b', any, null, 200)];
      const silent = connect(b.port, '127.0.0.1').on('error', () => {});
      a.links.send('b', 1);
      await until(() => b.links.putOut === 1);
      await pause(1000);
      a.links.send('b', 2);
      await until(() => b.got.length === 2);
      expect([...a.resets, ...b.resets]).toEqual([]);
      expect(b.links.putOut).toBe(1);
      silent.destroy();
    });

    it('refuses who speaks under a name that is not in the certificate', async () => {
      const b = await add('b', loadTls(authority.issue(null)));
      const a = await add('node-2', loadTls(authority.issue('node-1')));
      a.links.send('b', 1);
      await until(() => a.resets.length === 1);
      expect(a.resets).toEqual(['b: a certificate of node-1']);
      expect(b.got).toEqual([]);
    });

    it('refuses other authorities, and who has no certificate', async () => {
      const other = new Authority();
      try {
        const b = await add('b', loadTls(authority.issue(null)), 'secret');
        const tls = loadTls(other.issue(null));
        const mixed = { ...tls, ca: loadTls(authority.issue(null)).ca };
        const a = await add('a', mixed, 'secret');
        a.links.send('b', 1);
        await until(() => a.resets.length === 1);
        for (const wire of WIRE_NAMES) {
          const plain = strangerOn(wire, b.port);
          await plain.say(HELLO, [frameOf(1, ['x'])]);
          plain.close();
        }
        expect(b.got).toEqual([]);
        expect(b.links.counts.messagesIn).toBe(0);
      } finally {
        other.remove();
      }
    });

    it('asks for the token too where there is one', async () => {
      const tls = loadTls(authority.issue(null));
      await add('b', tls, 'secret');
      const a = await add('a', tls, 'wrong');
      a.links.send('b', 1);
      await until(() => a.resets.length === 1);
      expect(a.resets).toEqual(['b: wrong token']);
    });

    it('needs all three files, that fit together', () => {
      const one = authority.issue('one');
      const two = authority.issue('two');
      const flags = { tlsCert: one.cert, tlsKey: one.key, tlsCa: one.ca };
      expect(tlsFrom({}, {})).toBeNull();
      expect(tlsFrom(flags, {})).not.toBeNull();
      const environment = { MOONTIDE_TLS_CERT: one.cert, MOONTIDE_TLS_KEY: one.key };
      expect(() => tlsFrom({}, environment)).toThrow(/found some of --tls-cert/);
      expect(tlsFrom({ tlsCa: one.ca }, environment)).not.toBeNull();
      expect(() => loadTls({ ...one, key: two.key })).toThrow(/no matching PEM/);
      expect(() => loadTls({ ...one, key: '/nowhere' })).toThrow(/\/nowhere: found no key to read/);
      const junk = join(authority.folder, 'junk');
      writeFileSync(junk, 'no certificate');
      expect(() => loadTls({ ...one, cert: junk })).toThrow(/no matching PEM/);
    });
  });
