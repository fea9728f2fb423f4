/** The static library under AddressSanitizer and ThreadSanitizer, driven without Node: clean. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const NATIVE = new URL('../../native', import.meta.url).pathname;
const SANITIZERS = { address: 'address,undefined', thread: 'thread' } as const;
const FLAGS = ['-std=gnu++20', '-O1', '-g', '-fno-omit-frame-pointer', '-Wno-tsan', '-Isrc'];
const ROUNDS = process.env.MOONTIDE_SOAK === '1' ? '50' : '3';

const compiler = await run('g++', ['--version']).then(
  () => true,
  () => false,
);

/** Objects that are older than any source are made anew, as many at once as there are cores. */
async function build(name: keyof typeof SANITIZERS): Promise<string> {
  const folder = join(NATIVE, 'build', `sanitize-${name}`);
  mkdirSync(folder, { recursive: true });
  const sources = readdirSync(join(NATIVE, 'src')).map((file) => `src/${file}`);
  const newest = Math.max(
    ...[...sources, 'test/driver.cc'].map((file) => statSync(join(NATIVE, file)).mtimeMs),
  );
  const driver = join(folder, 'driver');
  if (existsSync(driver) && statSync(driver).mtimeMs > newest) return driver;
  const units = [...sources.filter((file) => file.endsWith('.cc')), 'test/driver.cc'];
  const objects = units.map((file) => join(folder, `${file.replace('/', '-')}.o`));
  const flag = `-fsanitize=${SANITIZERS[name]}`;
  const queue = units.map((file, i) => ['-c', file, '-o', objects[i]]);
  const work = async () => {
    for (let args = queue.shift(); args !== undefined; args = queue.shift()) {
      await run('g++', [...FLAGS, flag, ...args], { cwd: NATIVE });
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  await run('g++', [flag, ...objects, '-o', driver, '-ldl', '-lpthread'], { cwd: NATIVE });
  return driver;
}

const suite = compiler || process.env.CI === 'true' ? describe : describe.skip;

suite(`sanitizers${compiler ? '' : ' (skipped: no g++: sudo apt-get install g++)'}`, () => {
  for (const name of ['address', 'thread'] as const) {
    it(`find nothing: ${name}`, { timeout: 1_200_000 }, async () => {
      const driver = await build(name);
      const { stderr } = await run(driver, ['1', ROUNDS], { timeout: 600_000 });
      expect(
        stderr
          .trim()
          .split('\n')
          .every((line) => line.startsWith('seed ')),
      ).toBe(true);
    });
  }
});
