/** Channels between processes: order and resets. What strangers may send: hostile.test.ts. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WIRE_NAMES, wireFrom } from '../../src/runtime/control/wires.ts';
import { type Peer, Peers, pause, until } from '../support/links.ts';

const peers = new Peers();
const { ports } = peers;

function peer(name: string, token: string | null = 'secret'): Promise<Peer> {
  return peers.add(name, { token });
}

afterEach(() => peers.close());

describe.each(WIRE_NAMES)('links over %s', (wire) => {
  beforeEach(() => {
    peers.wire = wire;
  });

  it('keep the order of many messages, both ways', async () => {
    const [a, b] = [await peer('a'), await peer('b')];
    for (let i = 0; i < 3000; i++) {
      a.links.send('b', { i, blocks: Int32Array.of(i, i + 1) });
      b.links.send('a', i);
      if (i % 500 === 0) await pause(1);
    }
    await until(() => a.got.length === 3000 && b.got.length === 3000);
    expect(a.got).toEqual(Array.from({ length: 3000 }, (_, i) => i));
    expect(b.got[2999]).toEqual({ i: 2999, blocks: Int32Array.of(2999, 3000) });
    expect([...a.resets, ...b.resets]).toEqual([]);
  });

  it('reset both ends once when a process goes away, and work again when it is back', async () => {
    const [a, b] = [await peer('a'), await peer('b')];
    a.links.send('b', 1);
    b.links.send('a', 2);
    await until(() => a.got.length + b.got.length === 2);
    await b.links.close();
    await until(() => a.resets.length > 0);
    await pause(50);
    expect(a.resets).toHaveLength(1);
    const again = await peer('b');
    a.links.send('b', 3);
    again.links.send('a', 4);
    await until(() => again.got.length > 0 && a.got.length === 2);
    expect([again.got, a.got]).toEqual([[3], [2, 4]]);
    expect(a.resets).toHaveLength(1);
  });

  it('reset when the peer is not known or nobody listens there', async () => {
    const a = await peer('a');
    a.links.send('nobody', 1);
    await until(() => a.resets.length === 1);
    ports.set('gone', 1);
    a.links.send('gone', 1);
    await until(() => a.resets.length === 2);
    expect(a.resets[0]).toBe('nobody: nobody is not a member');
  });

  it.each(['0.0.0.0:0', '[::]:0'])('do not listen on %s, which is nobody', async (listen) => {
    await expect(peers.add('a', { listen })).rejects.toThrow(/expected the address that peers/);
  });

  it('refuse who does not know the token', async () => {
    const [a, b] = [await peer('a', 'wrong'), await peer('b')];
    a.links.send('b', 1);
    await until(() => a.resets.length === 1);
    expect(a.resets).toEqual(['b: wrong token']);
    expect(b.got).toEqual([]);
  });

  it('end the channel of a peer that sends nonsense', async () => {
    const [a, b] = [await peer('a'), await peer('b')];
    a.links.send('b', 'nonsense');
    await until(() => a.resets.length === 1 && b.resets.length === 1);
    expect(b.resets).toEqual(['a: it sent nonsense: found nonsense']);
    a.links.send('b', 'sense');
    await until(() => b.got.length === 1);
  });
});

describe('the wire that a process dials with', () => {
  it('is the lean one, or the one that it is told', () => {
    expect(['', 'socket', 'grpc'].map((MOONTIDE_WIRE) => wireFrom({ MOONTIDE_WIRE }))).toEqual([
      'socket',
      'socket',
      'grpc',
    ]);
    expect(wireFrom({})).toBe('socket');
    expect(() => wireFrom({ MOONTIDE_WIRE: 'http' })).toThrow(
      'MOONTIDE_WIRE: found http, expected socket or grpc',
    );
  });

  it('may be another on the other side', async () => {
    const [a, b] = [await peers.add('a', { wire: 'grpc' }), await peers.add('b')];
    for (let i = 0; i < 10; i++) {
      a.links.send('b', i);
      b.links.send('a', i);
      await pause(1);
    }
    await until(() => a.got.length === 10 && b.got.length === 10);
    expect([...a.resets, ...b.resets]).toEqual([]);
  });
});
