/**
 * Issue 7's idle cluster: four agents and a conductor with three members of etcd, fresh and after
 * they have served requests, under 3 % of a core in all and 130 MB each without their pools.
 */
import { spawnSync } from 'node:child_process';
import type { IdleResult } from '../../src/study/bench/idle.ts';
import type { Soak } from './main.ts';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const CPU_RATIO_MAX = 0.03;
const BYTES_MAX = 130e6;

function bench(requests: number): IdleResult {
  const flags = { requests, etcd: 3, settle: 15, seconds: 60 };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const command = [MAIN, 'bench', 'idle', ...args, '--json'];
  const ran = spawnSync(process.execPath, command, { encoding: 'utf8' });
  if (ran.status !== 0) throw new Error(ran.stderr.slice(-4000));
  const result = JSON.parse(ran.stdout) as IdleResult;
  const { cpuRatio, withoutPoolsBytesMax } = result;
  if (cpuRatio >= CPU_RATIO_MAX) throw new Error(`${cpuRatio} of a core`);
  if (withoutPoolsBytesMax >= BYTES_MAX) throw new Error(`${withoutPoolsBytesMax} bytes`);
  return result;
}

function run(): Promise<Readonly<Record<string, unknown>>> {
  return Promise.resolve({ fresh: bench(0), served: bench(200) });
}

export const soaks: readonly Soak[] = [{ name: 'idle', run }];
