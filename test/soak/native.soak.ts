/** The data plane's kill tests 200 times each way, and its sanitizers for longer. */
import { spawnSync } from 'node:child_process';
import type { Soak } from './main.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const TESTS = ['test/runtime/native-kill', 'test/runtime/native-sanitizers'];

function run(seed: string): Promise<Readonly<Record<string, unknown>>> {
  const env = { ...process.env, MOONTIDE_SOAK: '1', MOONTIDE_SEED: seed };
  const args = ['node_modules/vitest/vitest.mjs', 'run', ...TESTS];
  const ran = spawnSync(process.execPath, args, { cwd: ROOT, env, encoding: 'utf8' });
  if (ran.status !== 0) throw new Error(`seed ${seed}:\n${ran.stdout.slice(-4_000)}`);
  return Promise.resolve({ killsEachWay: 200 });
}

export const soaks: readonly Soak[] = [{ name: 'native-kills', run }];
