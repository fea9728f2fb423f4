/** Replaying fact logs: identical commands, the first difference, shadows, the workload. */
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import seedrandom from 'seedrandom';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Command } from '../../src/core/log.ts';
import { logFiles, readLog } from '../../src/runtime/live/fact-log-reader.ts';
import { headerOf } from '../../src/runtime/live/log-frames.ts';
import { replayLogs } from '../../src/study/live/replay-log.ts';
import { traceFromLog } from '../../src/study/live/trace-from-log.ts';
import { framesAt } from '../support/log-frames.ts';
import { record } from '../support/recorded.ts';
import { randomTrace } from '../support/tiny.ts';

/** Enough that tiers are full, and a log has several segments. */
const TRACE = randomTrace(11, { requests: 150, gapNs: 2e6, closed: 0.2 });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-logs-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const conductorLog = () => join(folder, 'conductor-0.0', 'conductor.log');

describe('a replay of fact logs', () => {
  it.each([
    { prefill: 'kvcache-centric', eviction: 'lru', decode: 'least-tbt' },
    { prefill: 'least-loaded', eviction: 'sieve', decode: 'round-robin' },
    { prefill: 'random', eviction: 'random', admission: 'early-rejection' },
    { prefill: 'power-of-two', eviction: 'w-tinylfu', batching: 'sarathi' },
    { prefill: 'session-affinity', eviction: 's3-fifo', replication: 'heat-threshold' },
  ])('finds every command again with %o', async (options) => {
    await record({ folder, trace: TRACE, options });
    const replay = await replayLogs(folder);
    expect(replay.machines.map(({ difference }) => difference)).toEqual(
      new Array(replay.machines.length).fill(null),
    );
    expect(replay).toMatchObject({ identical: true, unlogged: [], recordedBy: '0.0.1' });
    expect(replay.machines).toHaveLength(2 + 4 + 4);
    expect(replay.facts).toBeGreaterThan(TRACE.requests * 10);
    expect(Math.max(...replay.machines.map(({ segments }) => segments))).toBeGreaterThan(2);
  });

  it('takes a log that a kill cut, and counts what is there', async () => {
    await record({ folder, trace: TRACE });
    const whole = await replayLogs(folder);
    const size = readFileSync(conductorLog()).length;
    truncateSync(conductorLog(), Math.floor(size / 2));
    rmSync(join(folder, 'node-3.0'), { recursive: true });
    const replay = await replayLogs(folder);
    expect(replay.identical).toBe(true);
    expect(replay.unlogged).toEqual(['store3', 'instance3']);
    const [before, after] = [whole, replay].map(({ machines }) => machines[0]);
    expect(after).toMatchObject({ machine: 'conductor', closed: false, missing: 0 });
    expect(after.tornBytes).toBeGreaterThan(0);
    expect(after.facts).toBeLessThan(before.facts);
  });

  it('verifies whatever kills have left, wherever they cut', async () => {
    const trace = randomTrace(12, { requests: 40, gapNs: 2e6, closed: 0.2 });
    await record({ folder, trace, limits: { frameBytes: 600 } });
    const random = seedrandom.alea('cuts');
    const logs = logFiles(folder).map((file) => {
      const bytes = readFileSync(file.path);
      return { ...file, bytes, starts: framesAt(bytes) };
    });
    for (let round = 0; round < 25; round++) {
      const kept = logs.map(({ path, bytes, starts }) => {
        // On a frame's edge, around it, or anywhere; never before the machine had begun.
        const edge = starts[1 + Math.floor(random() * (starts.length - 1))];
        const around = edge + Math.floor(3 * random()) - 1;
        const anywhere = starts[1] + Math.floor(random() * (bytes.length - starts[1]));
        const end = [edge, around, anywhere][round % 3];
        writeFileSync(path, bytes.subarray(0, end));
        const whole = starts.findLastIndex((at) => at <= end);
        const facts = headerOf(bytes.subarray(starts[whole]))!.firstFact;
        return { facts, tornBytes: end - starts[whole] };
      });
      const { machines } = await replayLogs(folder);
      for (const [i, { facts, tornBytes }] of kept.entries()) {
        const expected = { facts, tornBytes, closed: false, missing: 0, difference: null };
        expect(machines[i], `round ${round}, ${logs[i].path}`).toMatchObject(expected);
      }
    }
  });

  it('names the first command that differs, and goes on with the other machines', async () => {
    let sends = 0;
    const change = (machine: string, command: Command): Command =>
      machine === 'conductor' && command[0] === 'send' && ++sends === 40 ? ['cutRun', 77] : command;
    await record({ folder, trace: TRACE, change });
    const facts = [...readLog(conductorLog())].filter((item) => item.kind === 'fact');
    const at = facts.find(({ entry }) => entry.commands.some(([verb]) => verb === 'cutRun'));
    const replay = await replayLogs(folder);
    expect(replay.identical).toBe(false);
    const differing = replay.machines.filter(({ difference }) => difference !== null);
    expect(differing.map(({ machine }) => machine)).toEqual(['conductor']);
    const [{ difference }] = differing;
    expect(difference).toMatchObject({ fact: at?.number, expected: '["cutRun",77]' });
    expect(difference?.message).toMatch(/command 0: found \["send",\d+,.*expected \["cutRun",77\]/);
  });

  it('refuses another version, other policies, another configuration and damage', async () => {
    const policy = join(folder, 'mine.js');
    const source = "import { defineDecode } from 'moontide/policy';\nexport default defineDecode({";
    const code = (pick: string) =>
      `${source} source: 'own', params: {}, create: () => ({ choose: (r, p, v) => ${pick} }) });`;
    writeFileSync(policy, code('v.decodeInstances[0]'));
    await record({ folder, trace: TRACE, options: { decode: policy } });
    const manifest = join(folder, 'cluster.json');
    const text = readFileSync(manifest, 'utf8');
    writeFileSync(policy, code('v.decodeInstances.at(-1)'));
    await expect(replayLogs(folder)).rejects.toThrow(/cluster.json: found policies that have ch/);
    writeFileSync(policy, code('v.decodeInstances[0]'));
    expect(await replayLogs(folder)).toMatchObject({ identical: true });

    writeFileSync(manifest, text.replace('"version": 1', '"version": 9'));
    await expect(replayLogs(folder)).rejects.toThrow('found version 9, expected version 1');
    writeFileSync(manifest, text.replace('groups.0.count=3', 'groups.0.count=2'));
    await expect(replayLogs(folder)).rejects.toThrow('found another configuration in mooncake-16');
    writeFileSync(manifest, '{"half":');
    await expect(replayLogs(folder)).rejects.toThrow('found no JSON');
    rmSync(manifest);
    await expect(replayLogs(folder)).rejects.toThrow('found no such file');

    writeFileSync(manifest, text);
    copyFileSync(conductorLog(), join(folder, 'node-0.0', 'store0.2.log'));
    await expect(replayLogs(folder)).rejects.toThrow('found a log with machine "conductor"');
    rmSync(join(folder, 'node-0.0', 'store0.2.log'));
    const bytes = readFileSync(conductorLog());
    bytes[1000] ^= 1;
    writeFileSync(conductorLog(), bytes);
    await expect(replayLogs(folder)).rejects.toThrow('found a wrong checksum');
  });
});

describe('a shadow', () => {
  it.each([
    'prefill=kvcache-centric',
    'decode=least-tbt',
    'disaggregation=always',
    'admission=early-rejection',
    'placement=local',
    'batching=disaggregated',
    'eviction=sieve',
  ])('of the recorded policy itself never disagrees: %s', async (shadow) => {
    const options = { admission: 'early-rejection', eviction: 'sieve' };
    await record({ folder, trace: TRACE, options });
    const replay = await replayLogs(folder, { shadows: [shadow] });
    expect(replay.identical).toBe(true);
    const [{ counts }] = replay.shadows;
    const sum = (of: 'decisions' | 'disagreements') => counts.reduce((all, c) => all + c[of], 0);
    expect(sum('disagreements')).toBe(0);
    // A placement that keeps everything at home is not asked.
    if (shadow !== 'placement=local') expect(sum('decisions')).toBeGreaterThan(100);
  });

  it('counts where another policy would have decided otherwise', async () => {
    await record({ folder, trace: TRACE });
    const shadows = ['prefill=round-robin', 'eviction=fifo', 'admission=queue-cap:requests=1'];
    const { identical, shadows: reports } = await replayLogs(folder, { shadows });
    expect(identical).toBe(true);
    const [prefill, eviction, admission] = reports;
    expect(prefill).toMatchObject({ recorded: 'kvcache-centric:threshold=1', kind: 'prefill' });
    const [choices] = prefill.counts;
    expect(choices.decisions).toBe(TRACE.requests);
    expect(choices.by.instance).toBe(choices.disagreements - onlySource(choices));
    expect(choices.disagreements).toBeGreaterThan(20);
    expect(prefill.examples[0]).toMatchObject({ machine: 'conductor', question: 'choose' });
    const [victims] = eviction.counts;
    expect(victims.question).toBe('victim');
    expect(victims.disagreements).toBeGreaterThan(10);
    expect(victims.disagreements).toBeLessThan(victims.decisions);
    expect(admission.counts[0]).toMatchObject({ question: 'verdict', decisions: TRACE.requests });
  });

  it('follows the record: round robin counts on, whoever was chosen', async () => {
    await record({ folder, trace: TRACE });
    const mine = join(folder, 'count.js');
    writeFileSync(
      mine,
      `import { definePrefill } from 'moontide/policy';
      let asked = 0;
      export default definePrefill({ source: 'own', params: {}, create: () => ({
        choose: (request, match, view) => ({ instance: asked++, sourceNode: -1, sourceBlocks: 0,
          ttftNs: 0 }) }) });`,
    );
    const { shadows } = await replayLogs(folder, { shadows: [`prefill=${mine}`] });
    const answers = shadows[0].examples.map(
      ({ other }) => (other as { instance: number }).instance,
    );
    expect(shadows[0].counts[0].decisions).toBe(TRACE.requests);
    expect(Math.max(...answers)).toBeGreaterThanOrEqual(answers.length - 1);
    expect(new Set(answers).size).toBe(answers.length);
  });

  it('refuses what has none, in one line', async () => {
    await record({ folder, trace: TRACE });
    const refused = async (...shadows: string[]) => {
      return await replayLogs(folder, { shadows }).then(
        () => 'not refused',
        (error: Error) => `${error.name} ${error.message}`,
      );
    };
    expect(await refused('queue=fcfs')).toMatch(/^InputError --shadow: found queue, which has no/);
    expect(await refused('rail=even')).toMatch(/^InputError --shadow: found rail, which has no/);
    expect(await refused('least-loaded')).toMatch(/expected KIND=POLICY with the kind/);
    expect(await refused('prefill=nobody')).toMatch(/found unknown prefill policy "nobody"/);
    expect(await refused('eviction=ttl')).toMatch(/found eviction policy ttl, which frees in rou/);
    expect(await refused('decode=least-kv', 'decode=least-tbt')).toMatch(/two policies for decode/);
    const mine = join(folder, 'mine.js');
    writeFileSync(
      mine,
      `import { defineDecode } from 'moontide/policy';
      export default defineDecode({ source: 'own', params: {}, create: () => ({
        choose: () => { throw new Error('no idea'); } }) });`,
    );
    expect(await refused(`decode=${mine}`)).toMatch(
      /^PolicyError .*mine\.js:3:31: the shadow policy mine\.js threw: no idea$/,
    );
  });
});

describe('the workload of a log', () => {
  it('is the trace that was played', async () => {
    await record({ folder, trace: TRACE });
    const { sha256: _, ...columns } = traceFromLog(folder);
    const { sha256: __, ...played } = TRACE;
    expect(columns).toEqual(played);
  });

  it('has what was sent before a kill, and when', async () => {
    await record({ folder, trace: TRACE, limits: { frameBytes: 300 } });
    const log = join(folder, 'hub.0', 'workload.log');
    truncateSync(log, Math.floor(readFileSync(log).length * 0.8));
    const planned = traceFromLog(folder);
    expect(planned.requests).toBeGreaterThan(10);
    expect(planned.requests).toBeLessThan(TRACE.requests);
    const sent = traceFromLog(folder, { arrivals: 'sent' });
    expect(sent.requests).toBe(planned.requests);
    expect(sent.arrivalNs).toEqual(sent.arrivalNs.slice().sort());
    // A simulated ingress is on time; turns that waited come when the turn before had its end.
    const open = (row: number) => sent.parent?.[row] === -1;
    const first = [...sent.arrivalNs.keys()].filter(open).map((row) => sent.arrivalNs[row]);
    const due = [...planned.arrivalNs.keys()].filter((row) => planned.parent?.[row] === -1);
    expect(first).toEqual(due.map((row) => planned.arrivalNs[row]));
  });

  it('needs the log of one ingress', async () => {
    await record({ folder, trace: TRACE });
    for (const file of readdirSync(join(folder, 'hub.0'))) {
      copyFileSync(join(folder, 'hub.0', file), join(folder, 'node-0.0', file));
    }
    expect(() => traceFromLog(folder)).toThrow(
      'found several that have played, expected --ingress',
    );
    expect(traceFromLog(folder, { ingress: 'hub.0' }).requests).toBe(TRACE.requests);
    expect(() => traceFromLog(folder, { ingress: 'x' })).toThrow('expected one of hub.0, node-0.0');
    for (const life of ['hub.0', 'node-0.0']) {
      rmSync(join(folder, life, 'workload.log'));
    }
    expect(() => traceFromLog(folder)).toThrow('found no log of an ingress');
    expect(() => traceFromLog(join(folder, 'none'))).toThrow('found no such folder');
  });
});

function onlySource({ disagreements, by }: { disagreements: number; by: Record<string, number> }) {
  return disagreements - (by.instance ?? 0);
}
