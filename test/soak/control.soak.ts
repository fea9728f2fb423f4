/**
 * Issue 7's control plane: 2,000 decisions per second for a minute on one core, with a real etcd,
 * the same with fact logs, and then a quarter of that, whose writes to etcd must be as many.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ControlResult } from '../../src/study/bench/control.ts';
import type { Soak } from './main.ts';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const P99_NS_MAX = 5e6;
/** Arrivals are random: so many that 2,000 a second are three standard deviations below. */
const RATE = 2020;

function bench(perSec: number, seconds: number, more: Record<string, string> = {}): ControlResult {
  const flags = { rate: perSec, seconds, warm: 20, etcd: 1, ...more };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const command = [MAIN, 'bench', 'control', ...args, '--real-time', '--json'];
  const ran = spawnSync(process.execPath, command, { encoding: 'utf8' });
  if (ran.status !== 0) throw new Error(ran.stderr.slice(-4000));
  const result = JSON.parse(ran.stdout) as ControlResult;
  const { conductor, requests, completed, registryWrites } = result;
  if (completed !== requests) throw new Error(`${completed} of ${requests} requests completed`);
  if (conductor.resets > 0) throw new Error(`${conductor.resets} channels broke`);
  if (registryWrites !== 0) throw new Error(`${registryWrites} writes to etcd`);
  return result;
}

/** At the full rate. */
function fullBench(more: Record<string, string> = {}): ControlResult {
  const full = bench(RATE, 60, more);
  const { latencyNsP99 } = full.conductor;
  if (full.decisionsPerSec < 2000) throw new Error(`${full.decisionsPerSec} decisions per second`);
  if (latencyNsP99 >= P99_NS_MAX) throw new Error(`p99 of ${latencyNsP99} ns`);
  return { ...full, options: { ...full.options, logs: more.logs === undefined ? null : 'kept' } };
}

function run(): Promise<Readonly<Record<string, unknown>>> {
  const full = fullBench();
  const logs = mkdtempSync(join(tmpdir(), 'moontide-logs-'));
  try {
    const fullWithLogs = fullBench({ logs });
    return Promise.resolve({ full, fullWithLogs, quarter: bench(500, 15) });
  } finally {
    rmSync(logs, { recursive: true, force: true });
  }
}

export const soaks: readonly Soak[] = [{ name: 'control-plane', run }];
