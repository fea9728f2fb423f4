/** The bench of a cluster without work: every process is there, pools are told from the rest. */
import { expect, it } from 'vitest';
import type { IdleResult } from '../../src/study/bench/idle.ts';
import { moontide } from '../support/cli.ts';
import { describeNative } from '../support/native.ts';

describeNative('the idle bench', () => {
  it('tells CPU, and memory with and without pools, of each process', () => {
    const flags = [
      '--nodes',
      '2',
      '--requests',
      '5',
      '--settle',
      '0.1',
      '--seconds',
      '1',
      '--json',
    ];
    const run = moontide(['bench', 'idle', ...flags]);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    const { processes, cpuRatio, withoutPoolsBytesMax } = JSON.parse(run.stdout) as IdleResult;
    expect(processes.map(({ name }) => name)).toEqual(['conductor-0', 'node-0', 'node-1']);
    for (const one of processes) {
      expect(one.withoutPoolsBytes).toBeGreaterThan(30e6);
      expect(one.withoutPoolsBytes).toBeLessThanOrEqual(withoutPoolsBytesMax);
      expect(one.privateBytes).toBeLessThan(one.withoutPoolsBytes);
      expect(one.poolBytes > 0).toBe(one.name !== 'conductor-0');
    }
    expect(processes.reduce((sum, one) => sum + one.cpuRatio, 0)).toBeCloseTo(cpuRatio);
  }, 60_000);
});
