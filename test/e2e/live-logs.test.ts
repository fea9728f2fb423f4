/**
 * Fact logs of live clusters: what real processes did comes again, command by command. More
 * policies, and processes that are killed, are in log-kills.test.ts.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { LogReplay } from '../../src/study/live/replay-log.ts';
import { openTrace, writeMooncake } from '../../src/trace/index.ts';
import { moontide, type Ran } from '../support/cli.ts';
import { describeNative } from '../support/native.ts';

const LIMIT = 40;
/** Room for 60 blocks of 512 tokens a node: the demo's first requests have ten times as many. */
const SMALL = ['--set', 'cluster.groups.0.dram=10GB', '--set', 'cluster.groups.1.dram=10GB'];

let folder: string;
let logs: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-logs-'));
  logs = join(folder, 'logs');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function liveReplay(...flags: string[]): Ran {
  const size = ['--nodes', '3', '--limit', String(LIMIT), '--speed', '60', '--utilisation', '0.8'];
  return moontide(['live', 'replay', 'demo', ...size, '--logs', logs, ...SMALL, ...flags]);
}

describeNative('the logs of a live cluster', () => {
  it.each([
    ['kvcache-centric', 'lru', 'least-tbt'],
    ['least-loaded', 'sieve', 'round-robin'],
  ])(
    'replay identically with prefill %s, eviction %s, decode %s',
    (prefill, eviction, decode) => {
      const policies = ['--prefill', prefill, '--eviction', eviction, '--decode', decode];
      expect(liveReplay(...policies)).toMatchObject({ code: 0, stderr: '' });
      const other = prefill === 'least-loaded' ? 'round-robin' : 'least-loaded';
      const shadows = ['--shadow', `prefill=${other}`, '--shadow', 'eviction=fifo'];
      const run = moontide(['live', 'replay-log', logs, '--json', ...shadows]);
      expect(run).toMatchObject({ code: 0, stderr: '' });
      const replay = JSON.parse(run.stdout) as LogReplay;
      expect(replay).toMatchObject({ identical: true, unlogged: [] });
      expect(replay.machines.every(({ closed, missing }) => closed && missing === 0)).toBe(true);
      expect(replay.commands).toBeGreaterThan(LIMIT * 20);
      const [chosen, evicted] = replay.shadows.map(({ counts }) => counts[0]);
      expect(chosen.decisions).toBe(LIMIT);
      expect(evicted.decisions).toBeGreaterThan(50);
    },
    200_000,
  );

  it('hold the trace that was played, in a form that the simulator takes', async () => {
    const source = join(folder, 'source.jsonl');
    const trace = join(folder, 'trace.jsonl');
    await writeMooncake(await openTrace('demo', { limit: LIMIT }), source);
    const size = ['--nodes', '2', '--speed', '60', '--logs', logs];
    expect(moontide(['live', 'replay', source, ...size])).toMatchObject({ code: 0, stderr: '' });
    const table = moontide(['live', 'replay-log', logs]);
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(/^conductor +conductor-0\.0 +1 .* stopped +identical$/m);
    expect(table.stdout).toMatch(/commands: all commands are identical\n$/);

    expect(moontide(['trace', 'from-log', logs, '-o', trace]).code).toBe(0);
    expect(readFileSync(trace, 'utf8')).toBe(readFileSync(source, 'utf8'));
    const sent = moontide(['trace', 'from-log', logs, '-o', '-', '--arrivals', 'sent']).stdout;
    expect(sent.trim().split('\n')).toHaveLength(LIMIT);
    const simulated = moontide(['replay', '-', '--json'], sent);
    expect(simulated.code).toBe(0);
    expect(JSON.parse(simulated.stdout).requests).toMatchObject({ arrived: LIMIT });
  }, 200_000);

  it('are asked for in one line', () => {
    const fails = (...args: string[]) => {
      const { code, stdout, stderr } = moontide(args);
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr.trim().split('\n')).toHaveLength(1);
      return stderr;
    };
    const none = join(folder, 'none');
    expect(fails('live', 'replay-log', none)).toContain(`${none}/cluster.json: found no such file`);
    expect(fails('trace', 'from-log', none, '-o', '-')).toContain('found no such folder');
    expect(fails('trace', 'from-log', none, '-o', '-', '--arrivals', 'x')).toContain(
      '--arrivals: found x, expected planned or sent',
    );
  });
});
