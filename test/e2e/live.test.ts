/** A live cluster of real processes on this machine, as a user runs it. */
import { execFile } from 'node:child_process';
import { expect, it } from 'vitest';
import type { LiveResult } from '../../src/study/live/results.ts';
import { describeNative } from '../support/native.ts';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;

function moontide(...args: string[]): Promise<{ stdout: string; stderr: string; code: number }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [MAIN, ...args],
      { maxBuffer: 1 << 26, timeout: 150_000 },
      (error, stdout, stderr) => {
        resolve({ stdout, stderr, code: error === null ? 0 : Number(error.code ?? -1) });
      },
    );
    child.stdin?.end();
  });
}

describeNative('live replay', () => {
  // Small DRAM, so that blocks go to SSD and come back.
  const TIERS = [
    ...['--set', 'cluster.groups.0.dram=20GB', '--set', 'cluster.groups.0.ssd=1TB'],
    ...['--set', 'instance.hbmCache=on', '--set', 'store.placement=random'],
  ];

  it.each([
    ['local', 'DRAM', []],
    ['tcp', 'HBM, DRAM and SSD', TIERS],
  ] as const)(
    'serves a trace over %s from %s, every block as it should be',
    async (kind, _tiers, sets) => {
      const size = ['--nodes', '3', '--limit', '25', '--speed', '60', '--utilisation', '0.5'];
      const run = await moontide(
        ...['live', 'replay', 'demo', ...size, ...sets, '--transport', kind, '--json'],
      );
      expect(run.stderr).toBe('');
      const result = JSON.parse(run.stdout) as LiveResult;
      expect(result.requests).toMatchObject({ arrived: 25, completed: 25, inFlight: 0 });
      expect(result.live.checksumFailures).toBe(0);
      expect(result.live.verifiedBlocks).toBeGreaterThan(100);
      expect(result.ttftNs.mean).toBeGreaterThan(0);
      const sources = Object.values(result.hit.bySource).reduce((sum, tokens) => sum + tokens, 0);
      expect(sources).toBe(result.trace.inputTokens);
      expect(result.bytes.railsOut).toBeGreaterThan(0);
      if (sets.length > 0) expect(result.counts.demoted).toBeGreaterThan(0);
    },
    200_000,
  );

  it('refuses what it cannot do in one line', async () => {
    const alone = await moontide('live', 'agent', '--node', '0', '--hub', '127.0.0.1:1');
    expect([alone.code, alone.stdout]).toEqual([2, '']);
    expect(alone.stderr).toMatch(/MOONTIDE_TOKEN/);
  }, 60_000);
});
