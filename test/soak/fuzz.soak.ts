/** Random scenarios of many seeds, under every law; --seed=FROM-TO names them. */
import { spawnSync } from 'node:child_process';
import type { Soak } from './main.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
/** Where CI ends, and as many more as are worth ten minutes. */
const FROM = 501;
const SEEDS = 4500;

interface Report {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly title: string }[];
  }[];
}

export const soaks: readonly Soak[] = [
  {
    name: 'fuzz-scenarios',
    async run(seed) {
      const [, first = `${FROM}`, last = `${FROM + SEEDS - 1}`] = /^(\d+)-(\d+)$/.exec(seed) ?? [];
      const env = { ...process.env, MOONTIDE_FUZZ_FROM: first, MOONTIDE_FUZZ_SCENARIOS: last };
      const args = ['vitest', 'run', 'test/fuzz', '--maxWorkers=1', '--reporter=json'];
      const options = { cwd: ROOT, env, encoding: 'utf8', maxBuffer: 1 << 28 } as const;
      const { stdout } = spawnSync('npx', args, options);
      const { numPassedTests, testResults } = JSON.parse(
        stdout.slice(stdout.indexOf('{')),
      ) as Report;
      const failed = testResults
        .flatMap(({ assertionResults }) => assertionResults)
        .filter(({ status }) => status === 'failed');
      if (failed.length > 0) throw new Error(failed.map(({ title }) => title).join(', '));
      return { fromSeed: +first, toSeed: +last, passed: numPassedTests };
    },
  },
];
