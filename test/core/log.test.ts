/** Fact logs: what goes in comes out, a replay finds the first difference and names it. */
import { describe, expect, it } from 'vitest';
import type { Host } from '../../src/core/host.ts';
import {
  FactLog,
  type LogHeader,
  ReplayHost,
  readSegment,
  recordHost,
  recordMachine,
  replaySegment,
} from '../../src/core/log.ts';
import type { Body, Fact } from '../../src/core/messages.ts';
import { Restorable } from '../../src/core/snapshot.ts';

const HEADER: LogHeader = {
  machine: 'echo',
  incarnation: 1,
  seed: 7,
  policies: 'lru',
  configuration: { chunkTokens: 64 },
};

/** Sends a cancel for every wake, numbered, and says when a run ended. */
class Echo extends Restorable {
  readonly world: { readonly host: Host; readonly skew: number };
  private count = 0;

  constructor(host: Host, skew = 0) {
    super();
    this.world = { host, skew };
  }

  handle({ atNs, body }: Fact): void {
    const { host, skew } = this.world;
    if (body.kind === 'runEnded') host.mark(0, 0, body.gapsNs[body.from + 1]);
    if (body.kind !== 'wake') return;
    this.count++;
    if (this.count === skew) host.cutRun(1);
    if (this.count === -skew) throw new Error('lost my way');
    host.send(1, { kind: 'cancel', request: this.count, attempt: 0 });
    if (body.token === 1) host.wakeAt(atNs + 10, 2);
  }
}

const wake = (token: number): Body => ({ kind: 'wake', token });

function record(bodies: readonly Body[], segmentFacts?: number): Uint8Array[] {
  const log = new FactLog(HEADER, segmentFacts);
  const calls: string[] = [];
  const inner = new Proxy({} as Host, {
    get: (_target, verb: string) => () => calls.push(verb),
  });
  const machine = recordMachine(new Echo(recordHost(inner, log)), log);
  const fact: Fact = { atNs: 0, from: 3, body: bodies[0] };
  for (const [i, body] of bodies.entries()) {
    fact.atNs = 100 * i;
    fact.body = body;
    machine.handle(fact);
  }
  const commands = log.segments().flatMap((segment) => readSegment(segment).entries);
  expect(commands.flatMap((entry) => entry.commands.map(([verb]) => verb))).toEqual(calls);
  return log.segments();
}

function replayed(segment: Uint8Array, skew = 0, header = HEADER) {
  const host = new ReplayHost();
  return replaySegment(segment, header, new Echo(host, skew), host);
}

describe('a fact log', () => {
  it('holds the header, the facts and what each caused', () => {
    const [segment] = record([wake(0), wake(1)]);
    const { header, entries } = readSegment(segment);
    expect(header).toEqual(HEADER);
    expect(entries).toEqual([
      {
        fact: { atNs: 0, from: 3, body: { kind: 'wake', token: 0 } },
        commands: [['send', 1, { kind: 'cancel', request: 1, attempt: 0 }]],
      },
      {
        fact: { atNs: 100, from: 3, body: { kind: 'wake', token: 1 } },
        commands: [
          ['send', 1, { kind: 'cancel', request: 2, attempt: 0 }],
          ['wakeAt', 110, 2],
        ],
      },
    ]);
  });

  it('begins a segment with a snapshot after so many facts', () => {
    const segments = record([0, 1, 0, 1, 0].map(wake), 2);
    expect(segments.map((segment) => readSegment(segment).entries.length)).toEqual([2, 2, 1]);
    for (const segment of segments) expect(replayed(segment)).toBeNull();
  });

  it('keeps of a run the gaps of its own steps', () => {
    const gapsNs = Float64Array.of(9, 9, 5, 6, 9);
    const ended: Body = { kind: 'runEnded', run: 1, steps: 2, gapsNs, from: 2 };
    const [segment] = record([ended]);
    const body = readSegment(segment).entries[0].fact.body;
    expect(body).toEqual({ ...ended, gapsNs: Float64Array.of(5, 6), from: 0 });
    expect(replayed(segment)).toBeNull();
  });
});

describe('a replay', () => {
  const [segment] = record([0, 1, 0].map(wake));

  it('names a command that was not recorded', () => {
    const difference = replayed(segment, 2);
    expect(difference).toMatchObject({ fact: 1, command: 0 });
    expect(difference?.message).toBe(
      'fact 1 (wake at 100 ns), command 0: found ["cutRun",1], ' +
        'expected ["send",1,{"kind":"cancel","request":2,"attempt":0}]',
    );
  });

  it('names a command that is missing', () => {
    const short = record([wake(0)])[0];
    const entries = readSegment(short).entries.length;
    expect(entries).toBe(1);
    const host = new ReplayHost();
    const silent = Object.assign(new Echo(host), { handle: () => {} });
    expect(replaySegment(short, HEADER, silent, host)?.message).toContain(
      'found "no more commands", expected ["send",1',
    );
  });

  it('names what the machine throws', () => {
    const difference = replayed(segment, -3);
    expect(difference).toMatchObject({ fact: 2, command: 0, found: null });
    expect(difference?.message).toContain('found error lost my way');
  });

  it('refuses a log of another plan, saying what differs', () => {
    expect(() => replayed(segment, 0, { ...HEADER, policies: 'sieve' })).toThrow(
      'found a log with policies "lru", expected "sieve"',
    );
    expect(() => replayed(segment, 0, { ...HEADER, configuration: { chunkTokens: 8 } })).toThrow(
      'found a log with configuration {"chunkTokens":64}, expected {"chunkTokens":8}',
    );
  });

  it('refuses bytes that are no log', () => {
    expect(() => readSegment(new Uint8Array())).toThrow('found the end');
    expect(() => readSegment(Uint8Array.of(5))).toThrow('expected a segment of a fact log');
    expect(() => readSegment(segment.slice(0, -3))).toThrow('found');
  });
});
