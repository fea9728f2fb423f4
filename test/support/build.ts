/** Builds dist/ once before the tests: those of the command line run what a user runs. */
import { execFileSync } from 'node:child_process';

export default function setup(): void {
  const root = new URL('../..', import.meta.url).pathname;
  for (const args of [['node_modules/typescript/bin/tsc', '-b'], ['scripts/bundle-cli.mjs']]) {
    execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  }
}
