/** Builds C++ programs of native/test against the sources of the static library. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const NATIVE = new URL('../../native', import.meta.url).pathname;

/** Path of the program made of native/test/`name`.cc and the sources that `wanted` picks. */
export function buildDriver(name: string, wanted: RegExp, flags: readonly string[] = []): string {
  const folder = join(NATIVE, 'build/test');
  mkdirSync(folder, { recursive: true });
  const suffix = flags.map((flag) => flag.replace(/[^a-z]+/g, '-')).join('');
  const program = join(folder, `${name}${suffix}`);
  const sources = readdirSync(join(NATIVE, 'src'))
    .filter((file) => file.endsWith('.cc') && wanted.test(file))
    .map((file) => join(NATIVE, 'src', file));
  const common = ['-std=gnu++20', '-O1', '-g', '-Wall', '-Wextra', `-I${join(NATIVE, 'src')}`];
  const inputs = [join(NATIVE, 'test', `${name}.cc`), ...sources];
  execFileSync('g++', [...common, ...flags, '-o', program, ...inputs, '-lpthread', '-ldl'], {
    stdio: 'inherit',
  });
  return program;
}
