/** Fact logs on disk: what goes in comes out, whatever happens to the process or the disk. */
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ReplayHost, replayEntry } from '../../src/core/log.ts';
import { type LogItem, logFiles, readLog } from '../../src/runtime/live/fact-log-reader.ts';
import { FactLogs, type LogLimits } from '../../src/runtime/live/fact-logs.ts';
import { FrameKind, headerOf } from '../../src/runtime/live/log-frames.ts';
import { ECHO_HEADER, Echo, echoInto } from '../support/echo.ts';
import { framesAt } from '../support/log-frames.ts';
import { randomTrace } from '../support/tiny.ts';

const MANIFEST = { format: '', version: 0, spec: {} as never, policies: '', configuration: null };
const WRITER = new URL('../support/log-writer.ts', import.meta.url).pathname;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-logs-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open(
  limits: Partial<LogLimits> = {},
  onWarning = (message: string): void => {
    throw new Error(message);
  },
  clock = () => performance.now(),
): FactLogs {
  return new FactLogs({
    folder,
    member: 'node-7',
    incarnation: 1,
    manifest: MANIFEST,
    stats: () => ({ name: 'node-7', moved: 3 }),
    onWarning,
    limits: { snapshotShare: 1e9, ...limits },
    clock,
  });
}

const path = () => join(folder, 'node-7.1', 'store7.log');
const all = (file = path()): LogItem[] => [...readLog(file)];
const factsOf = (items: readonly LogItem[]) => items.filter((item) => item.kind === 'fact');
const segmentsOf = (items: readonly LogItem[]) => items.filter((item) => item.kind === 'segment');

/** Every segment restores and replays, and its facts are those that were told. */
function expectReplays(items: readonly LogItem[]): void {
  let host = new ReplayHost();
  let machine = new Echo(host);
  for (const item of items) {
    if (item.kind === 'segment') {
      host = new ReplayHost();
      machine = new Echo(host);
      machine.restore(item.snapshot);
      expect(item.header).toEqual(ECHO_HEADER);
    } else if (item.kind === 'fact') {
      expect(item.entry.fact.atNs).toBe(100 * item.number);
      expect(replayEntry(machine, host, item.entry, item.number)).toBeNull();
    }
  }
}

describe('fact logs', () => {
  it('hold every fact in segments that replay by themselves', async () => {
    const logs = open({ frameBytes: 300, segmentBytes: 2000 });
    echoInto(logs.open(ECHO_HEADER))(500);
    logs.close();
    const items = all();
    expect(factsOf(items).map((item) => item.number)).toEqual([...Array(500).keys()]);
    expect(segmentsOf(items).length).toBeGreaterThan(5);
    expect(items.at(-1)).toEqual({ kind: 'end', closed: true, tornBytes: 0, missing: 0 });
    expectReplays(items);
    const stats = JSON.parse(readFileSync(join(folder, 'node-7.1', 'stats.json'), 'utf8'));
    expect(stats).toEqual({ name: 'node-7', moved: 3 });
    expect(JSON.parse(readFileSync(join(folder, 'cluster.json'), 'utf8'))).toEqual(MANIFEST);
  });

  it('have all that was handled when a turn ends, while the process runs', () => {
    const logs = open();
    const tell = echoInto(logs.open(ECHO_HEADER));
    for (let told = 10; told <= 30; told += 10) {
      tell(10);
      logs.flush();
      expect(factsOf(all())).toHaveLength(told);
      expect(all().at(-1)).toEqual({ kind: 'end', closed: false, tornBytes: 0, missing: 0 });
    }
    logs.close();
  });

  it('take a snapshot no more often than it may hold the machine up', () => {
    // Each look at the clock takes a millisecond, so each snapshot does.
    let nowMs = 0;
    const limits = { segmentBytes: 1, snapshotShare: 0.01 };
    const logs = open(limits, undefined, () => nowMs++);
    const tell = echoInto(logs.open(ECHO_HEADER));
    for (let turn = 0; turn < 200; turn++) {
      tell(1);
      logs.flush();
    }
    logs.close();
    const items = all();
    expect(segmentsOf(items).length).toBeGreaterThan(3);
    expect(segmentsOf(items).length).toBeLessThan(nowMs / 100 + 1);
    expectReplays(items);
  });

  it('keep what an ingress plays, and the lives of a machine apart', async () => {
    const logs = open();
    const trace = randomTrace(3, { requests: 20, closed: 0.5 });
    echoInto(logs.open({ ...ECHO_HEADER, machine: 'workload' }, trace))(1);
    for (const count of [1, 2])
      echoInto(logs.open({ ...ECHO_HEADER, machine: 'conductor' }))(count);
    logs.close();
    const files = logFiles(folder);
    expect(files.map(({ machine, path: file }) => [machine, factsOf(all(file)).length])).toEqual([
      ['conductor', 1],
      ['conductor', 2],
      ['workload', 1],
    ]);
    expect(all(files[2].path)[0]).toEqual({ kind: 'trace', trace });
  });

  it('lose what a slow disk would hold up, say so, and go on with a snapshot', () => {
    let nowMs = 0;
    let writeMs = 1;
    const warnings: string[] = [];
    // Two looks at the clock are a write.
    const clock = () => {
      nowMs += writeMs / 2;
      return nowMs;
    };
    const logs = open({ heldMs: 100 }, (message) => warnings.push(message), clock);
    const tell = echoInto(logs.open(ECHO_HEADER));
    tell(5);
    logs.flush();
    expect(warnings).toEqual([]);
    writeMs = 300;
    tell(1);
    logs.flush();
    expect(warnings).toEqual([expect.stringMatching(/^node-7: the disk is too slow/)]);
    // Until the disk has held the machines up for a tenth of the time.
    writeMs = 1;
    tell(7);
    logs.flush();
    nowMs += 10_000;
    tell(4);
    logs.flush();
    logs.close();
    const items = all();
    expect(warnings).toHaveLength(1);
    expect(segmentsOf(items).map(({ missing }) => missing)).toEqual([0, 7]);
    const told = [0, 1, 2, 3, 4, 5, 13, 14, 15, 16];
    expect(factsOf(items).map((item) => item.number)).toEqual(told);
    expectReplays(items);
  });

  it('end where the disk does, and the machine goes on', async () => {
    mkdirSync(join(folder, 'node-7.1', 'store7.log'), { recursive: true });
    const warnings: string[] = [];
    const logs = open({}, (message) => warnings.push(message));
    const other = echoInto(logs.open({ ...ECHO_HEADER, machine: 'instance1' }));
    other(5);
    const tell = echoInto(logs.open(ECHO_HEADER));
    tell(5);
    other(5);
    logs.close();
    expect(warnings).toEqual([
      expect.stringMatching(/^node-7: the fact logs end here, the machines go on: E/),
    ]);
  });

  it('end on a disk that is full, and keep what it took', async () => {
    // So much and no more: the shell's ulimit stands for a disk.
    const into = join(folder, 'small');
    const script = `trap '' XFSZ; ulimit -f 64; exec "$@"`;
    const args = ['-c', script, 'sh', process.execPath, '--import', 'tsx', WRITER, into, '200'];
    const problem = await new Promise<string>((resolve) => {
      execFile('sh', args, (_error, _stdout, stderr) => resolve(stderr));
    });
    expect(problem).toContain('node-7: the fact logs end here, the machines go on: EFBIG');
    const [file] = logFiles(into);
    const items = all(file.path);
    expect(factsOf(items).length).toBeGreaterThanOrEqual(200);
    expect(items.at(-1)).toMatchObject({ closed: false, missing: 0 });
    expectReplays(items);
  }, 60_000);
});

describe('a torn file', () => {
  async function recorded(): Promise<Buffer> {
    const logs = open({ frameBytes: 150, segmentBytes: 600 });
    echoInto(logs.open(ECHO_HEADER))(40);
    logs.close();
    return readFileSync(path());
  }

  it('is cut at its last whole frame, wherever it ends', async () => {
    const bytes = await recorded();
    const starts = framesAt(bytes);
    const whole = all();
    // The end mark, facts before it, and a segment's beginning.
    const kinds = starts.map((at) => headerOf(bytes.subarray(at))!.kind);
    const lastSegment = kinds.lastIndexOf(FrameKind.segment);
    expect(lastSegment).toBeLessThan(starts.length - 2);
    for (let frame = lastSegment; frame < starts.length; frame++) {
      const from = starts[frame];
      const to = starts[frame + 1] ?? bytes.length;
      const known = headerOf(bytes.subarray(from))!.firstFact;
      for (let end = from; end < to; end++) {
        writeFileSync(path(), bytes.subarray(0, end));
        const items = all();
        const tail = { kind: 'end', closed: false, tornBytes: end - from, missing: 0 };
        expect(items.at(-1)).toEqual(tail);
        expect(factsOf(items)).toEqual(factsOf(whole).slice(0, known));
      }
    }
  });

  it('with zeros after a loss of power is cut as well', async () => {
    const bytes = await recorded();
    const starts = framesAt(bytes);
    const [last] = starts.slice(-2);
    writeFileSync(path(), Buffer.concat([bytes.subarray(0, last), Buffer.alloc(100_000)]));
    expect(all().at(-1)).toMatchObject({ closed: false, tornBytes: 100_000 });
    const spoilt = Buffer.from(bytes.subarray(0, starts.at(-1)));
    spoilt[spoilt.length - 1] ^= 1;
    writeFileSync(path(), spoilt);
    expect(all().at(-1)).toMatchObject({ tornBytes: spoilt.length - last });
  });

  it('in the middle is an error that names the place, for every bit', async () => {
    const bytes = await recorded();
    const starts = framesAt(bytes);
    const [from, to] = starts.slice(1);
    for (let at = from; at < to; at++) {
      const spoilt = Buffer.from(bytes);
      spoilt[at] ^= 1 << (at % 8);
      writeFileSync(path(), spoilt);
      expect(() => all()).toThrow(`${path()}, byte ${from}: found`);
    }
    writeFileSync(path(), Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]));
    expect(() => all()).toThrow(/store7.log: found fact \d+, expected fact \d+/);
  });

  it('is told from a file that is no log', () => {
    mkdirSync(join(folder, 'node-7.1'));
    writeFileSync(path(), 'once upon a time there was a text');
    expect(() => all()).toThrow('byte 0: found other bytes, expected a frame of a fact log');
    writeFileSync(path(), '');
    expect(all()).toEqual([{ kind: 'end', closed: false, tornBytes: 0, missing: 0 }]);
    expect(() => logFiles(join(folder, 'node-7.1'))).toThrow('found no logs, expected some');
  });

  it('of a killed process has all that the kernel was given', async () => {
    for (let kill = 0; kill < 5; kill++) {
      const into = join(folder, String(kill));
      const safe = await killedWriter(into, 1 + 60 * kill, 1 + kill);
      const [file] = logFiles(into);
      expect(statSync(file.path).size).toBeGreaterThan(0);
      const items = all(file.path);
      expect(factsOf(items).length).toBeGreaterThanOrEqual(safe);
      expect(items.at(-1)).toMatchObject({ closed: false, missing: 0 });
      expectReplays(items);
    }
  }, 60_000);
});

/** Kills it after so many of its lines, in the midst of the next; answers what the last said. */
function killedWriter(into: string, facts: number, lines: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', WRITER, into, String(facts)]);
    let said = '';
    let problem = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      problem += text;
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.split('\n').length > lines) child.kill('SIGKILL');
    });
    child.on('close', (_code, signal) => {
      if (signal === 'SIGKILL') resolve(Number(said.trim().split('\n').at(-1)));
      else reject(new Error(`the writer ended by itself: ${problem}`));
    });
  });
}
