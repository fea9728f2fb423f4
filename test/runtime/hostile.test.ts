/** What clients that mean harm, or are broken, can do to a process: end their own channel. */
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { encode } from '../../src/core/codec.ts';
import { encodeFrame, FRAME_BYTES_MAX } from '../../src/runtime/control/frames.ts';
import { RegistryServer } from '../../src/runtime/registry/served.ts';
import { HELLO, Peers, pause, Stranger, until } from '../support/links.ts';

const peers = new Peers();
const sockets: Socket[] = [];
const strangers: Stranger[] = [];

function dial(port: number): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
}

function stranger(port: number): Stranger {
  const made = new Stranger(port);
  strangers.push(made);
  return made;
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const made of strangers.splice(0)) made.close();
  await peers.close();
});

/** A member's words still come through, in both directions. */
async function worksFor(names: readonly [string, string]): Promise<void> {
  const [a, b] = [await peers.add(names[0]), await peers.add(names[1])];
  a.links.send(names[1], 1);
  b.links.send(names[0], 2);
  await until(() => a.got.length === 1 && b.got.length === 1);
}

describe('strangers', () => {
  it('may send random bytes', async () => {
    const b = await peers.add('b');
    for (let seed = 1; seed <= 50; seed++) {
      const socket = dial(b.port);
      socket.write(Buffer.from(Array.from({ length: 300 }, (_, i) => (i * seed * 7919) % 256)));
      if (seed % 2 === 0) socket.end();
    }
    const a = await peers.add('a');
    a.links.send('b', 'still here');
    await until(() => b.got.length === 1);
  });

  it('that stay silent, or speak slowly, are put out', async () => {
    const b = await peers.add('b', { helloMs: 200 });
    const silent = [dial(b.port), dial(b.port)];
    let closed = 0;
    for (const socket of silent) socket.on('close', () => closed++).resume();
    const slow = dial(b.port);
    slow.on('close', () => closed++).resume();
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const drip = setInterval((bytes: number[]) => slow.write(Buffer.of(bytes.shift() ?? 0)), 50, [
      ...preface,
    ]);
    await until(() => closed === 3);
    clearInterval(drip);
    expect(b.links.putOut).toBe(3);
  });

  it('in a flood are bounded, and members come through', async () => {
    const b = await peers.add('b');
    let closed = 0;
    for (let i = 0; i < 400; i++)
      dial(b.port)
        .on('close', () => closed++)
        .resume();
    await until(() => closed >= 400 - 128);
    const a = await peers.add('a');
    a.links.send('b', 'through the flood');
    await until(() => b.got.length === 1);
    expect(b.links.putOut).toBeGreaterThanOrEqual(400 - 128);
  });

  it.each([
    ['another version', { 'moontide-protocol': '99' }, 'found protocol 99, expected 2'],
    ['no version', { 'moontide-protocol': '' }, 'found protocol none, expected 2'],
    ['no token', { 'moontide-token': '' }, 'wrong token'],
    ['a token that begins right', { 'moontide-token': 'secre' }, 'wrong token'],
    ['a path for a name', { 'moontide-name': '../x' }, 'no name'],
    ['a life that is no number', { 'moontide-life': '1e9' }, 'no life'],
    ['no stream', { 'moontide-stream': '' }, 'no stream'],
    ['an endpoint with a path', { 'moontide-endpoint': '127.0.0.1:1/x' }, 'no endpoint'],
  ])('with %s are refused', async (_, headers, why) => {
    const b = await peers.add('b');
    expect(await stranger(b.port).say({ ...HELLO, ...headers }, [])).toBe(why);
    expect(b.links.counts.refused).toBe(1);
    expect(b.resets).toEqual([]);
  });
});

/** Deeper than any stack: arrays of one array each. */
const DEEP = Buffer.from([
  ...encode(1),
  ...new Array<number>(200_000).fill(0x89).flatMap((t) => [t, 1]),
]);
/** Six bytes that ask for 1 GiB: a run of 2^27 doubles. */
const WIDE = Buffer.from([1, 0x8e, 8, 0x80, 0x80, 0x80, 0x40, 0x80, 0x80, 0x80, 0x40, 0]);

describe('who has the token', () => {
  it.each([
    ['bytes that are no values', Buffer.from([1, 0x89, 0xff, 0xff]), /found/],
    ['no list', encodeFrame(1, 'x' as never), /no list of messages/],
    ['values without end', DEEP, /at most 16 levels/],
    ['arrays without end', WIDE, /at most 16777216/],
    ['bytes after the messages', Buffer.concat([encodeFrame(1, []), Buffer.of(0)]), /the end/],
    ['another frame than the first', encodeFrame(2, ['x']), /found frame 2, expected 1/],
  ])('and sends %s loses the channel', async (_, frame, why) => {
    const b = await peers.add('b');
    void stranger(b.port).say(HELLO, [frame]);
    await until(() => b.resets.length === 1);
    expect(b.resets[0]).toMatch(/^stranger: it sent nonsense/);
    expect(b.resets[0]).toMatch(why);
    expect(b.got).toEqual([]);
    expect(b.links.counts.nonsense).toBe(1);
    await worksFor(['c', 'd']);
  });

  it('and sends a frame again loses the channel', async () => {
    const b = await peers.add('b');
    const frame = encodeFrame(1, ['once']);
    void stranger(b.port).say(HELLO, [frame, frame]);
    await until(() => b.resets.length === 1);
    expect(b.got).toEqual(['once']);
    expect(b.resets[0]).toMatch(/found frame 1, expected 2/);
  });

  it('and sends a frame that is too large loses the channel', async () => {
    const b = await peers.add('b');
    const ended = stranger(b.port).say(HELLO, [Buffer.alloc(FRAME_BYTES_MAX + 1)]);
    expect(await ended).toMatch(/larger than max|RESOURCE_EXHAUSTED|message/i);
    expect(b.got).toEqual([]);
  }, 20_000);

  it('and plays back a recorded stream is refused', async () => {
    const b = await peers.add('b');
    const one = stranger(b.port);
    void one.say({ ...HELLO, 'moontide-life': '7', 'moontide-stream': '3' }, [encodeFrame(1, [1])]);
    await until(() => b.got.length === 1);
    const again = (life: string, stream: string) =>
      one.say({ ...HELLO, 'moontide-life': life, 'moontide-stream': stream }, [
        encodeFrame(1, [1]),
      ]);
    expect(await again('7', '3')).toBe('an earlier stream');
    expect(await again('6', '9')).toBe('an earlier life');
    expect(b.resets).toEqual([]);
    void again('8', '1');
    await until(() => b.got.length === 2);
  });

  it('may throw what it likes at a handler that fails: its channel ends', async () => {
    const b = await peers.add('b', {
      handler: {
        onMessage: () => {
          throw new TypeError('x is not a function');
        },
        onReset: (peer, cause) => resets.push(`${peer}: ${cause}`),
      },
    });
    const resets: string[] = [];
    void stranger(b.port).say(HELLO, [encodeFrame(1, ['x'])]);
    await until(() => resets.length === 1);
    expect(resets[0]).toBe('stranger: it sent nonsense: TypeError: x is not a function');
  });
});

describe('the registry that a process serves', () => {
  const answers: unknown[] = [];
  const serve = () => {
    answers.length = 0;
    return new RegistryServer((_, [, answer]) => answers.push(answer));
  };

  it.each([
    [null],
    [[]],
    [['get']],
    [['get', 0, 'a']],
    [['get', 1]],
    [['get', 1, 'a', 'more']],
    [['get', 1, 'x'.repeat(513)]],
    [['put', 1, 'a', 'b', 0.5, 0]],
    [['put', 1, 'a', 'b', -2, 0]],
    [['put', 1, 'a', 'x'.repeat((4 << 20) + 1), -1, 0]],
    [['put', 1, 'a', {}, -1, 0]],
    [['lease', 1, 1e9]],
    [['lease', 1, -1]],
    [['constructor', 1]],
    [['close', 1]],
  ])('takes no %j', (ask) => {
    expect(() => serve().receive('x', ask)).toThrow(/found no question/);
  });

  it('lets nobody write what is another member, or elect one', async () => {
    const server = serve();
    server.receive('node-1', ['put', 1, 'members/node-2', '{}', -1, 0]);
    server.receive('node-1', ['put', 2, 'incarnations/node-2', '9', -1, 0]);
    server.receive('node-1', ['remove', 3, 'members/node-2', -1]);
    server.receive('node-1', ['put', 4, 'leader/conductor', 'node-2', -1, 0]);
    server.receive('node-1', ['put', 5, 'members/node-1', '{}', -1, 0]);
    await pause(1);
    expect(answers.map((answer) => (answer as unknown[]).slice(0, 2))).toEqual([
      ['refused', 1],
      ['refused', 2],
      ['refused', 3],
      ['refused', 4],
      ['answer', 5],
    ]);
  });

  it('bounds what one client holds', async () => {
    const server = serve();
    for (let i = 1; i <= 100; i++) server.receive('x', ['watch', i, 'a']);
    for (let i = 101; i <= 200; i++) server.receive('x', ['lease', i, 1000]);
    await until(
      () => answers.filter((answer) => (answer as unknown[])[0] !== 'changed').length === 200,
    );
    const refused = answers.filter((answer) => (answer as unknown[])[0] === 'refused');
    expect(refused).toHaveLength(200 - 64);
    await server.registry.close();
  });

  it('tells a client that began anew nothing of its earlier leases', async () => {
    const server = serve();
    server.receive('x', ['lease', 1, 30]);
    await pause(1);
    server.reset('x');
    server.receive('x', ['lease', 1, 10_000]);
    await pause(80);
    expect(answers).toEqual([
      ['answer', 1, null],
      ['answer', 1, null],
    ]);
    await server.registry.close();
  });
});
