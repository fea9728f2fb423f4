/** Perfetto traces are valid whatever the run was like, and say what the result says. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Mark } from '../../src/core/host.ts';
import { PerfettoTrace } from '../../src/report/perfetto.ts';
import { type Replay, replay } from '../../src/study/replay.ts';
import { simulate } from '../support/simulate.ts';
import { randomTrace, type TinyShape, tinyPlan, tinyTopology } from '../support/tiny.ts';
import { traceEventProblems } from '../support/trace-event-checker.ts';

interface Event {
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly name: string;
  readonly id: number;
  readonly args: Readonly<Record<string, number | string>>;
}

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function eventsIn(text: string): Event[] {
  return JSON.parse(text).traceEvents;
}

describe('a Perfetto trace of random runs', () => {
  const shapes: readonly [string, Partial<TinyShape>][] = [
    ['prefill and decode nodes', {}],
    ['coupled instances', { prefill: 0, decode: 0, coupled: 3 }],
    ['two instances on a node', { prefill: 0, decode: 0, mixed: 2 }],
    ['caches that overflow', { dramBlocks: 12, hbmTokens: 512 }],
    ['slow rails', { railBytesPerNs: 0.002 }],
  ];

  it.each(shapes)('is valid: %s', async (_name, shape) => {
    for (let seed = 1; seed <= 5; seed++) {
      const path = join(folder, 'random.json');
      const topology = tinyTopology(shape);
      const trace = new PerfettoTrace(path, topology);
      const plan = await tinyPlan({ topology, seed });
      const { recorder } = simulate({ plan, trace: randomTrace(seed), observers: [trace] });
      await trace.finish();
      const text = readFileSync(path, 'utf8');
      expect(traceEventProblems(text), `seed ${seed}`).toEqual([]);
      const last = new Map<string, number>();
      for (const { ph, pid, name, args } of eventsIn(text)) {
        if (ph === 'C' && name !== 'DRAM blocks') last.set(`${pid} ${name}`, Number(args.value));
      }
      // All requests ended: nothing waits, decodes or is in flight.
      expect([...last.values()].every((value) => value === 0)).toBe(true);
      const started = recorder.column(Mark.startedNs).filter((ns) => !Number.isNaN(ns)).length;
      const prefills = eventsIn(text).filter(({ name }) => name.startsWith('prefill #'));
      expect(new Set(prefills.map(({ args }) => args.request)).size).toBe(started);
    }
  });
});

describe('a Perfetto trace of a replay', () => {
  const state: { run?: Replay; events?: Event[]; text?: string } = {};

  beforeAll(async () => {
    const path = join(folder, 'demo.json.gz');
    const traces: PerfettoTrace[] = [];
    const observe = (topology: Replay['resolved']['topology']) => {
      traces.push(new PerfettoTrace(path, topology));
      return traces;
    };
    state.run = await replay({ trace: 'demo', limit: 400, observe });
    await traces[0].finish();
    state.text = gunzipSync(readFileSync(path)).toString();
    state.events = eventsIn(state.text);
  });

  it('is valid and leaves nothing else', () => {
    expect(traceEventProblems(state.text!)).toEqual([]);
    expect(readdirSync(folder).filter((name) => name.includes('demo'))).toEqual(['demo.json.gz']);
  });

  it('is as busy as the result says', () => {
    const { prefill, decode } = state.run!.result.gpuSeconds;
    const seconds = (name: RegExp) =>
      state
        .events!.filter((e) => e.ph === 'X' && name.test(e.name))
        .reduce((s, e) => s + e.dur, 0) / 1e6;
    expect(seconds(/^prefill/)).toBeCloseTo(prefill, 6);
    expect(seconds(/^decode/)).toBeCloseTo(decode, 6);
  });

  it('moves the bytes of the result over the rails, once out and once in', () => {
    const { railsOut } = state.run!.result.bytes;
    const tracks = new Map(
      state
        .events!.filter(({ name }) => name === 'thread_name')
        .map(({ pid, tid, args }) => [`${pid}/${tid}`, String(args.name)]),
    );
    const bytes = (track: string) =>
      state
        .events!.filter((e) => e.ph === 'X' && tracks.get(`${e.pid}/${e.tid}`)!.startsWith(track))
        .reduce((sum, { args }) => sum + Number(args.bytes), 0);
    expect(bytes('rails, out')).toBe(railsOut);
    expect(bytes('rails, in')).toBe(railsOut);
  });

  it('follows every request from its prefill to its decode', () => {
    const flows = new Map<number, Event[]>();
    for (const event of state.events!) {
      if (!['s', 't', 'f'].includes(event.ph)) continue;
      flows.set(event.id, [...(flows.get(event.id) ?? []), event]);
    }
    const decoded = Array.from(state.run!.recorder.column(Mark.joinedNs), (ns, id) => ({ ns, id }));
    const ids = decoded.filter(({ ns }) => !Number.isNaN(ns)).map(({ id }) => id);
    expect(ids.every((id) => flows.has(id))).toBe(true);
    const decodeProcesses = new Set(
      state.events!.filter(({ name }) => name === 'decode').map(({ pid }) => pid),
    );
    for (const id of ids) expect(decodeProcesses.has(flows.get(id)!.at(-1)!.pid)).toBe(true);
  });
});

describe('a Perfetto trace that fails', () => {
  it('leaves nothing behind', () => {
    const path = join(folder, 'failed.json');
    const trace = new PerfettoTrace(path, tinyTopology());
    trace.discard();
    expect(readdirSync(folder).filter((name) => name.includes('failed'))).toEqual([]);
  });

  it('says where it cannot write', () => {
    const path = join(folder, 'none', 'x.json');
    expect(() => new PerfettoTrace(path, tinyTopology())).toThrow(/none\/x\.json: found ENOENT/);
  });
});
