/**
 * Checks a file in the Trace Event Format as Perfetto UI and chrome://tracing read it: fields,
 * nested slices, tracks and counters in order of time, named tracks, flows that start once, end
 * once and bind to a slice. Answers what is wrong, in words; nothing when nothing is.
 */

type Event = Readonly<Record<string, unknown>>;

interface Slice {
  readonly startUs: number;
  readonly endUs: number;
}

/** Rounding of a ns in a microsecond double, with room. */
const TOLERANCE_US = 1e-4;

export function traceEventProblems(text: string): string[] {
  let events: unknown;
  try {
    const file = JSON.parse(text);
    events = Array.isArray(file) ? file : file.traceEvents;
  } catch (error) {
    return [`not JSON: ${(error as Error).message}`];
  }
  if (!Array.isArray(events)) return ['no traceEvents'];
  const checker = new Checker();
  events.forEach((event, i) => {
    checker.add(event, i);
  });
  return checker.finish();
}

class Checker {
  private readonly problems: string[] = [];
  private readonly slices = new Map<string, Slice[]>();
  private readonly counters = new Map<string, number>();
  private readonly instants = new Map<string, number>();
  private readonly flows = new Map<string, { event: Event; at: number }[]>();
  private readonly processNames = new Set<number>();
  private readonly threadNames = new Set<string>();

  add(event: Event, at: number): void {
    const { ph, pid, tid, ts } = event;
    const wrong = (what: string) => this.problems.push(`event ${at}: ${what}`);
    if (!Number.isInteger(pid)) wrong('pid is no whole number');
    if (ph !== 'C' && !Number.isInteger(tid)) wrong('tid is no whole number');
    if (typeof event.name !== 'string' || event.name === '') wrong('no name');
    if (ph !== 'M' && !(typeof ts === 'number' && Number.isFinite(ts) && ts >= 0)) wrong('bad ts');
    const track = `${pid}/${tid}`;
    if (ph === 'M') this.metadata(event, track, wrong);
    else if (ph === 'X') this.slice(event, track, wrong);
    else if (ph === 'C') this.counter(event, wrong);
    else if (ph === 'i') this.instant(event, track, wrong);
    else if (ph === 's' || ph === 't' || ph === 'f') this.flow(event, at, wrong);
    else wrong(`unknown phase ${JSON.stringify(ph)}`);
  }

  private metadata(event: Event, track: string, wrong: (what: string) => void): void {
    const args = event.args as Event | undefined;
    if (event.name === 'process_name') this.processNames.add(event.pid as number);
    if (event.name === 'thread_name') this.threadNames.add(track);
    if (String(event.name).endsWith('_name') && typeof args?.name !== 'string') wrong('no name');
  }

  private slice(event: Event, track: string, wrong: (what: string) => void): void {
    const { ts, dur } = event as { ts: number; dur: unknown };
    if (!(typeof dur === 'number' && Number.isFinite(dur) && dur >= 0)) return wrong('bad dur');
    const slices = this.slices.get(track) ?? [];
    this.slices.set(track, slices);
    const last = slices.at(-1);
    if (last !== undefined && ts < last.startUs - TOLERANCE_US) wrong(`track ${track} goes back`);
    slices.push({ startUs: ts, endUs: ts + dur });
  }

  private counter(event: Event, wrong: (what: string) => void): void {
    const values = Object.values((event.args as Event | undefined) ?? {});
    const numbers = values.every((value) => typeof value === 'number' && Number.isFinite(value));
    if (values.length === 0 || !numbers) wrong('a counter without numbers');
    const key = `${event.pid}/${event.name}`;
    const before = this.counters.get(key) ?? Number.NEGATIVE_INFINITY;
    if ((event.ts as number) < before) wrong(`counter ${key} goes back`);
    this.counters.set(key, event.ts as number);
  }

  private instant(event: Event, track: string, wrong: (what: string) => void): void {
    if (!['t', 'p', 'g'].includes(String(event.s))) wrong('an instant without scope');
    if ((event.ts as number) < (this.instants.get(track) ?? 0)) wrong(`track ${track} goes back`);
    this.instants.set(track, event.ts as number);
  }

  private flow(event: Event, at: number, wrong: (what: string) => void): void {
    const { id, cat, name } = event;
    if (typeof id !== 'number' && typeof id !== 'string') return wrong('a flow without id');
    const key = `${cat}/${name}/${id}`;
    const points = this.flows.get(key) ?? [];
    this.flows.set(key, points);
    points.push({ event, at });
  }

  finish(): string[] {
    for (const [track, slices] of this.slices) this.nesting(track, slices);
    for (const [key, points] of this.flows) this.flowOrder(key, points);
    const tracks = [...this.slices.keys(), ...this.instants.keys()];
    for (const track of new Set(tracks)) {
      if (!this.threadNames.has(track)) this.problems.push(`track ${track} has no name`);
    }
    const counted = [...this.counters.keys()].map((key) => Number(key.split('/')[0]));
    const processes = [...tracks.map((track) => Number(track.split('/')[0])), ...counted];
    for (const pid of new Set(processes)) {
      if (!this.processNames.has(pid)) this.problems.push(`process ${pid} has no name`);
    }
    return this.problems;
  }

  /** Two slices of a track are apart, or one is within the other. */
  private nesting(track: string, slices: readonly Slice[]): void {
    const order = slices.toSorted((a, b) => a.startUs - b.startUs || b.endUs - a.endUs);
    const open: Slice[] = [];
    for (const slice of order) {
      while (open.length > 0 && open.at(-1)!.endUs <= slice.startUs + TOLERANCE_US) open.pop();
      const outer = open.at(-1);
      if (outer !== undefined && slice.endUs > outer.endUs + TOLERANCE_US) {
        this.problems.push(`track ${track}: slices overlap at ${slice.startUs}`);
      }
      open.push(slice);
    }
  }

  private flowOrder(key: string, points: readonly { event: Event; at: number }[]): void {
    const phases = points.map(({ event }) => event.ph).join('');
    if (!/^st*f$/.test(phases)) this.problems.push(`flow ${key} is ${phases}, not s, t…, f`);
    let beforeUs = Number.NEGATIVE_INFINITY;
    for (const { event, at } of points) {
      const ts = event.ts as number;
      if (ts < beforeUs) this.problems.push(`event ${at}: flow ${key} goes back`);
      beforeUs = ts;
      if (event.ph === 'f' && event.bp !== 'e') {
        this.problems.push(`event ${at}: the end of flow ${key} binds to the next slice`);
      }
      if (!this.encloses(`${event.pid}/${event.tid}`, ts)) {
        this.problems.push(`event ${at}: flow ${key} is in no slice`);
      }
    }
  }

  private encloses(track: string, ts: number): boolean {
    const slices = this.slices.get(track) ?? [];
    let low = 0;
    let high = slices.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (slices[middle].startUs <= ts) low = middle + 1;
      else high = middle;
    }
    for (let i = low - 1; i >= 0; i--) if (slices[i].endUs > ts) return true;
    return false;
  }
}
