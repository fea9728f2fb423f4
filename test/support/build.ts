/** Builds dist/ and the addon once before the tests: they run what a user runs. */
import { execFileSync } from 'node:child_process';

export default function setup(): void {
  const root = new URL('../..', import.meta.url).pathname;
  for (const args of [
    ['node_modules/typescript/bin/tsc', '-b'],
    ['scripts/bundle-cli.mjs'],
    ['scripts/build-native.mjs'],
  ]) {
    execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  }
}
