/** The checker of trace events finds every fault that is planted into a file that is right. */
import { describe, expect, it } from 'vitest';
import { traceEventProblems } from '../support/trace-event-checker.ts';

type Event = Record<string, unknown>;

const named = (pid: number, tid: number): Event[] => [
  { ph: 'M', pid, tid: 0, name: 'process_name', args: { name: `p${pid}` } },
  { ph: 'M', pid, tid, name: 'thread_name', args: { name: `t${tid}` } },
];
const slice = (tid: number, ts: number, dur: number): Event => ({
  ph: 'X',
  pid: 1,
  tid,
  ts,
  dur,
  name: 'work',
});
const flow = (ph: string, tid: number, ts: number): Event => ({
  ph,
  pid: 1,
  tid,
  ts,
  id: 7,
  cat: 'request',
  name: 'request',
  ...(ph === 's' ? {} : { bp: 'e' }),
});
const counter = (ts: number, value: unknown): Event => ({
  ph: 'C',
  pid: 1,
  ts,
  name: 'queue',
  args: { value },
});

/** Two tracks with nested and adjacent slices, a flow of three points, a counter, an instant. */
function sound(): Event[] {
  return [
    ...named(1, 1),
    ...named(1, 2),
    slice(1, 0, 10),
    slice(1, 2, 3),
    slice(1, 10, 5),
    slice(2, 4, 8),
    flow('s', 1, 5),
    flow('t', 2, 6),
    flow('f', 1, 12),
    counter(0, 1),
    counter(3, 0),
    { ph: 'i', s: 't', pid: 1, tid: 2, ts: 4, name: 'evict' },
  ];
}

const check = (events: readonly Event[]) =>
  traceEventProblems(JSON.stringify({ traceEvents: events }));

const FAULTS: readonly [what: string, plant: (events: Event[]) => void, said: RegExp][] = [
  ['slices that overlap', (e) => e.push(slice(1, 14, 3)), /slices overlap/],
  ['a track that goes back', (e) => e.push(slice(2, 1, 1)), /track 1\/2 goes back/],
  ['a negative duration', (e) => e.push(slice(1, 20, -1)), /bad dur/],
  ['a time that is no number', (e) => e.push({ ...slice(1, 20, 1), ts: null }), /bad ts/],
  ['a flow without a start', (e) => remove(e, 's'), /flow .* is tf/],
  ['a flow without an end', (e) => remove(e, 'f'), /flow .* is st,/],
  ['a flow that starts twice', (e) => e.push(flow('s', 1, 13)), /flow .* is stfs/],
  ['a flow that runs back', (e) => move(e, 't', { ts: 4 }), /goes back/],
  ['a flow that binds to no slice', (e) => move(e, 'f', { ts: 40 }), /in no slice/],
  ['a flow on an empty track', (e) => move(e, 't', { tid: 3 }), /in no slice/],
  ['a flow that ends in the next slice', (e) => move(e, 'f', { bp: undefined }), /next slice/],
  ['a flow without id', (e) => move(e, 't', { id: undefined }), /without id/],
  ['a counter that goes back', (e) => e.push(counter(1, 5)), /counter .* goes back/],
  ['a counter of words', (e) => e.push(counter(9, 'many')), /without numbers/],
  ['an instant that goes back', (e) => e.push({ ...e.at(-1), ts: 1 }), /goes back/],
  ['an instant without scope', (e) => e.push({ ...e.at(-1), s: 'x' }), /without scope/],
  ['a track without a name', (e) => e.push(slice(9, 0, 1)), /track 1\/9 has no name/],
  ['a process without a name', (e) => e.push({ ...counter(0, 1), pid: 5 }), /process 5 has no/],
  ['a phase that is none', (e) => e.push({ ...slice(1, 30, 1), ph: 'Q' }), /unknown phase/],
  ['an event without a name', (e) => e.push({ ...slice(1, 30, 1), name: '' }), /no name/],
  ['a thread that is no number', (e) => e.push({ ...slice(1, 30, 1), tid: 'a' }), /tid/],
];

function remove(events: Event[], phase: string): void {
  events.splice(
    events.findIndex(({ ph }) => ph === phase),
    1,
  );
}

function move(events: Event[], phase: string, to: Event): void {
  const at = events.findIndex(({ ph }) => ph === phase);
  events[at] = { ...events[at], ...to };
}

describe('the checker of trace events', () => {
  it('accepts what is right, as an object and as an array', () => {
    expect(check(sound())).toEqual([]);
    expect(traceEventProblems(JSON.stringify(sound()))).toEqual([]);
  });

  it.each(FAULTS)('finds %s', (_what, plant, said) => {
    const events = sound();
    plant(events);
    expect(check(events).join('\n')).toMatch(said);
  });

  it('finds a file that is cut off', () => {
    const text = JSON.stringify({ traceEvents: sound() });
    expect(traceEventProblems(text.slice(0, -20)).join()).toMatch(/not JSON/);
  });
});
