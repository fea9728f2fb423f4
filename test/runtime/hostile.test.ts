/** What clients that mean harm, or are broken, can do to a process: end their own channel. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { encode } from '../../src/core/codec.ts';
import {
  FRAME_BYTES_MAX,
  FRAME_ROOM_BYTES,
  FrameWriter,
} from '../../src/runtime/control/frames.ts';
import { MAGIC, Part } from '../../src/runtime/control/socket-wire.ts';
import { WIRE_NAMES, type WireName } from '../../src/runtime/control/wires.ts';
import { RegistryServer } from '../../src/runtime/registry/served.ts';
import {
  frameOf,
  HELLO,
  Peers,
  partOf,
  pause,
  type Stranger,
  strangerOn,
  until,
} from '../support/links.ts';

const peers = new Peers();
const sockets: Socket[] = [];
const strangers: Stranger[] = [];

function dial(port: number): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
}

function stranger(port: number, wire: WireName): Stranger {
  const made = strangerOn(wire, port);
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
});

describe.each(WIRE_NAMES)('strangers on the wire %s', (wire) => {
  it.each([
    ['another version', { protocol: '99' }, 'found protocol 99, expected 3'],
    ['no version', { protocol: '' }, 'found protocol none, expected 3'],
    ['no token', { token: '' }, 'wrong token'],
    ['a token that begins right', { token: 'secre' }, 'wrong token'],
    ['a path for a name', { name: '../x' }, 'no name'],
    ['a life that is no number', { life: '1e9' }, 'no life'],
    ['no stream', { stream: '' }, 'no stream'],
    ['an endpoint with a path', { endpoint: '127.0.0.1:1/x' }, 'no endpoint'],
  ])('with %s are refused', async (_, headers, why) => {
    const b = await peers.add('b');
    expect(await stranger(b.port, wire).say({ ...HELLO, ...headers }, [])).toBe(why);
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

describe.each(WIRE_NAMES)('who has the token, on the wire %s,', (wire) => {
  it.each([
    ['bytes that are no values', Buffer.from([1, 0x89, 0xff, 0xff]), /found/],
    ['no list', frameOf(1, 'x'), /no list of messages/],
    ['values without end', DEEP, /at most 16 levels/],
    ['arrays without end', WIDE, /at most 16777216/],
    ['bytes after the messages', Buffer.concat([frameOf(1, []), Buffer.of(0)]), /the end/],
    ['another frame than the first', frameOf(2, ['x']), /found frame 2, expected 1/],
  ])('and sends %s loses the channel', async (_, frame, why) => {
    const b = await peers.add('b');
    void stranger(b.port, wire).say(HELLO, [frame]);
    await until(() => b.resets.length === 1);
    expect(b.resets[0]).toMatch(/^stranger: it sent nonsense/);
    expect(b.resets[0]).toMatch(why);
    expect(b.got).toEqual([]);
    expect(b.links.counts.nonsense).toBe(1);
    await worksFor(['c', 'd']);
  });

  it('and sends a frame again loses the channel', async () => {
    const b = await peers.add('b');
    const frame = frameOf(1, ['once']);
    void stranger(b.port, wire).say(HELLO, [frame, frame]);
    await until(() => b.resets.length === 1);
    expect(b.got).toEqual(['once']);
    expect(b.resets[0]).toMatch(/found frame 1, expected 2/);
  });

  it('and sends a frame that is too large loses the channel', async () => {
    const b = await peers.add('b');
    const ended = stranger(b.port, wire).say(HELLO, [Buffer.alloc(FRAME_BYTES_MAX + 1)]);
    expect(await ended).toMatch(/larger than max|RESOURCE_EXHAUSTED|message|at most/i);
    expect(b.got).toEqual([]);
  }, 20_000);

  it('and plays back a recorded stream is refused', async () => {
    const b = await peers.add('b');
    const one = stranger(b.port, wire);
    void one.say({ ...HELLO, life: '7', stream: '3' }, [frameOf(1, [1])]);
    await until(() => b.got.length === 1);
    const again = (life: string, stream: string) =>
      one.say({ ...HELLO, life: life, stream: stream }, [frameOf(1, [1])]);
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
    void stranger(b.port, wire).say(HELLO, [frameOf(1, ['x'])]);
    await until(() => resets.length === 1);
    expect(resets[0]).toBe('stranger: it sent nonsense: TypeError: x is not a function');
  });
});

describe('on the lean wire, connections that', () => {
  const hello = partOf(Part.hello, encode(HELLO));

  it.each([
    ['begin with another word', [Buffer.from('moonshot'), hello]],
    ['say nothing of themselves', [MAGIC, partOf(Part.frame, frameOf(1, ['x']))]],
    ['say it at length', [MAGIC, partOf(Part.hello, encode({ ...HELLO, more: 'x'.repeat(5000) }))]],
    ['say it in other words', [MAGIC, partOf(Part.hello, encode({ ...HELLO, life: 1 }))]],
    ['say it in no words', [MAGIC, partOf(Part.hello, Buffer.of(0x89, 0xff, 0xff))]],
  ])('%s are closed', async (_, bytes) => {
    const b = await peers.add('b');
    const socket = dial(b.port).resume();
    let closed = false;
    socket.on('close', () => {
      closed = true;
    });
    for (const some of bytes) socket.write(some);
    await until(() => closed);
    expect([b.got, b.resets]).toEqual([[], []]);
  });

  it.each([
    ['a second hello', [hello], /found part 1/],
    ['a kind of part that is none', [partOf(7, Buffer.alloc(3))], /found part 7/],
    ['half a frame, then nothing', [partOf(Part.frame, frameOf(1, ['x'])).subarray(0, 5)], /ended/],
  ])('go on with %s lose the channel', async (_, bytes, why) => {
    const b = await peers.add('b');
    const socket = dial(b.port).resume();
    for (const some of [MAGIC, hello, ...bytes]) socket.write(some);
    socket.end();
    await until(() => b.resets.length === 1);
    expect(b.resets[0]).toMatch(why);
    expect(b.got).toEqual([]);
  });

  it('come byte by byte are understood', async () => {
    const b = await peers.add('b');
    const socket = dial(b.port).resume().setNoDelay(true);
    const text = 'x'.repeat(50);
    const writer = new FrameWriter();
    const frames = [['a'], [text, text], ['c', 'a']].map((some) => writer.frame(some));
    const parts = frames.map((frame) => partOf(Part.frame, frame.subarray(FRAME_ROOM_BYTES)));
    const all = [MAGIC, hello, ...parts];
    for (const byte of Buffer.concat(all)) {
      socket.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => b.got.length === 5);
    expect(b.got).toEqual(['a', text, text, 'c', 'a']);
  });

  it('answer under another name than was dialled are refused', async () => {
    const a = await peers.add('a');
    const server = createServer((socket) => {
      sockets.push(socket.on('error', () => {}));
      socket.write(hello);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    peers.ports.set('b', (server.address() as AddressInfo).port);
    a.links.send('b', 1);
    await until(() => a.resets.length === 1);
    expect(a.resets).toEqual(['b: found stranger, expected b']);
    server.close();
  });

  it('fall silent are given up', async () => {
    const a = await peers.add('a');
    const server = createServer((socket) => sockets.push(socket.on('error', () => {})));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    peers.ports.set('b', (server.address() as AddressInfo).port);
    a.links.send('b', 1);
    await until(() => a.resets.length === 1);
    expect(a.resets).toEqual(['b: no answer']);
    server.close();
  }, 20_000);

  it('remember a bounded part of what is said', async () => {
    const b = await peers.add('b');
    const words = Array.from({ length: 5000 }, (_, i) => `word ${i}`);
    const writer = new FrameWriter();
    const frames = [words, words].map((some) => writer.frame(some).subarray(FRAME_ROOM_BYTES));
    void stranger(b.port, 'socket').say(HELLO, frames);
    await until(() => b.got.length === 10_000);
    expect(b.got).toEqual([...words, ...words]);
    // Of the second time a fifth is short.
    expect(frames[1].length).toBeGreaterThan(0.8 * frames[0].length);
    expect(frames[1].length).toBeLessThan(0.9 * frames[0].length);
  });

  it('are one for both directions', async () => {
    const [a, b] = [await peers.add('a'), await peers.add('b')];
    a.links.send('b', 1);
    await until(() => b.got.length === 1);
    peers.ports.set('a', 1);
    b.links.send('a', 2);
    await until(() => a.got.length === 1);
    expect([...a.resets, ...b.resets]).toEqual([]);
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
    [['put', 1, 'a', 'b', 0.5, 0, null]],
    [['put', 1, 'a', 'b', -2, 0, null]],
    [['put', 1, 'a', 'x'.repeat((4 << 20) + 1), -1, 0, null]],
    [['put', 1, 'a', {}, -1, 0, null]],
    [['put', 1, 'a', 'b', -1, 0, { key: 'c' }]],
    [['put', 1, 'buckets/map', '{}', -1, 0]],
    [['lease', 1, 1e9]],
    [['lease', 1, -1]],
    [['constructor', 1]],
    [['close', 1]],
  ])('takes no %j', (ask) => {
    expect(() => serve().receive('x', ask)).toThrow(/found no question/);
  });

  it('lets nobody write what is another member, or elect one', async () => {
    const server = serve();
    server.receive('node-1', ['put', 1, 'members/node-2', '{}', -1, 0, null]);
    server.receive('node-1', ['put', 2, 'incarnations/node-2', '9', -1, 0, null]);
    server.receive('node-1', ['remove', 3, 'members/node-2', -1]);
    server.receive('node-1', ['put', 4, 'leader/conductor', 'node-2', -1, 0, null]);
    server.receive('node-1', ['put', 5, 'members/node-1', '{}', -1, 0, null]);
    server.receive('node-1', ['put', 6, 'buckets/map', '{}', -1, 0, null]);
    server.receive('node-1', ['remove', 7, 'buckets/map', -1]);
    await pause(1);
    expect(answers.map((answer) => (answer as unknown[]).slice(0, 2))).toEqual([
      ['refused', 1],
      ['refused', 2],
      ['refused', 3],
      ['refused', 4],
      ['answer', 5],
      ['refused', 6],
      ['refused', 7],
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
