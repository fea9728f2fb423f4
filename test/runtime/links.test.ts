/** Channels between processes: order, resets, and what strangers may send. */
import { connect } from 'node:net';
import { ChannelCredentials, Client, Metadata, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/errors.ts';
import { Links } from '../../src/runtime/control/links.ts';

interface Peer {
  readonly links: Links;
  readonly got: unknown[];
  readonly resets: string[];
}

const open: Links[] = [];
const ports = new Map<string, number>();

async function peer(name: string, token: string | null = 'secret'): Promise<Peer> {
  const got: unknown[] = [];
  const resets: string[] = [];
  const links = new Links({
    name,
    incarnation: 0,
    listen: `127.0.0.1:${ports.get(name) ?? 0}`,
    token,
    serverCredentials: ServerCredentials.createInsecure(),
    channelCredentials: ChannelCredentials.createInsecure(),
    endpointOf: (other) => (ports.has(other) ? `127.0.0.1:${ports.get(other)}` : null),
    handler: {
      onMessage: (_, message) => {
        if (message === 'nonsense') throw new InputError('found nonsense');
        got.push(message);
      },
      onReset: (other, cause) => resets.push(`${other}: ${cause}`),
    },
  });
  open.push(links);
  ports.set(name, await links.listen());
  return { links, got, resets };
}

afterEach(async () => {
  for (const links of open.splice(0)) await links.close();
  ports.clear();
});

describe('links', () => {
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

  it('survive strangers: random bytes, silence, frames that are none, other versions', async () => {
    const [a, b] = [await peer('a'), await peer('b')];
    const port = ports.get('b') ?? 0;
    for (let seed = 1; seed <= 20; seed++) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(Buffer.from(Array.from({ length: 300 }, (_, i) => (i * seed * 7919) % 256)));
      if (seed % 2 === 0) socket.end();
      open.push({ close: async () => socket.destroy() } as unknown as Links);
    }
    const stranger = new Client(`127.0.0.1:${port}`, ChannelCredentials.createInsecure());
    const say = (headers: Record<string, string>, frame: Buffer) => {
      const metadata = new Metadata();
      for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
      return new Promise<string>((resolve) => {
        const pass = (bytes: Buffer) => bytes;
        const path = '/moontide.Control/Messages';
        const call = stranger.makeClientStreamRequest(path, pass, pass, metadata, (error) =>
          resolve(error?.details ?? ''),
        );
        call.on('error', () => {});
        call.write(frame);
      });
    };
    const hello = {
      'moontide-protocol': '1',
      'moontide-name': 'stranger',
      'moontide-incarnation': '0',
      'moontide-token': 'secret',
      'moontide-endpoint': '127.0.0.1:1',
    };
    const frame = Buffer.from([0x89, 0xff, 0xff]);
    expect(await say({ ...hello, 'moontide-protocol': '99' }, frame)).toMatch(/expected 1/);
    expect(await say({ ...hello, 'moontide-name': '../x' }, frame)).toBe('no name');
    await say(hello, frame);
    await until(() => b.resets.length === 1);
    expect(b.resets[0]).toMatch(/^stranger: it sent nonsense/);
    stranger.close();
    a.links.send('b', 'still here');
    await until(() => b.got.length === 1);
  });
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves once it holds; fails the test after ten seconds. */
async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries === 1000) throw new Error('it never came to be');
    await pause(10);
  }
}
