/** `moontide native` and `moontide bench` as a user runs them. */
import { expect, it } from 'vitest';
import { moontide } from '../support/cli.ts';
import { describeNative } from '../support/native.ts';

describeNative('the native commands', () => {
  it('says what works and why the rest does not', () => {
    const { code, stdout } = moontide(['native', '--json']);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report.addon.available).toBe(true);
    for (const { available, reason } of report.capabilities) {
      expect(available ? reason === null : reason.length > 0).toBe(true);
    }
    const names = report.capabilities.map(({ name }: { name: string }) => name);
    expect(names).toEqual(['local', 'fabric', 'tcp', 'io_uring', 'cuda']);
    const works = report.rails.map(({ kind }: { kind: string }) => kind);
    expect(works).toEqual(expect.arrayContaining(['local', 'tcp']));
    expect(moontide(['native']).stdout).toMatch(/addon +yes/);
  });

  it('measures between two processes, against the baseline', () => {
    const args = ['bench', '--rounds', '1', '--seconds', '0.05', '--block', '64KiB'];
    const { code, stdout, stderr } = moontide([...args, '--batch', '8', '--verify', '--json']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const rows = JSON.parse(stdout);
    expect(
      rows.map((row: { rail: string; operation: string }) => [row.rail, row.operation]),
    ).toEqual([
      ['local', 'read'],
      ['local', 'write'],
      ['tcp', 'read'],
      ['tcp', 'write'],
    ]);
    for (const row of rows) {
      expect(row.gbPerSec).toBeGreaterThan(0);
      expect(row.baselineGbPerSec).toBeGreaterThan(0);
      expect(row.latencyNsP99).toBeGreaterThanOrEqual(row.latencyNsP50);
    }
  });

  it('says what it expected', () => {
    for (const [args, text] of [
      [['--rail', 'ib'], "--rail: found 'ib', expected local, tcp, fabric"],
      [['--block', '0'], '--block: found "0"'],
      [['--policy', 'nearst'], 'rail policy'],
    ] as const) {
      const { code, stderr } = moontide(['bench', ...args, '--json']);
      expect(stderr).toContain(text);
      expect(code).toBe(2);
    }
  });
});
