#!/usr/bin/env node
/**
 * Starts the command line: compiles program.cjs beside this file, from the bytecode in
 * program.cache where that was made by the same Node.js (another one ignores it).
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

// Most runs last about a second and much of that is compilation; with less inlining the optimising
// compiler has less to do, which saves 9 % of the CPU of a replay of 12,000 requests (paired
// runs). Loops that run for long raise it again for themselves: src/study/cache/specialise.ts.
setFlagsFromString('--max-inlined-bytecode-size=100');
setFlagsFromString('--max-inlined-bytecode-size-cumulative=100');

/**
 * What saves a replay another 10 %: to optimise sooner, since nearly all that is hot is optimised in
 * the end; loops as they are written, since few of them run long; no marking of garbage while a heap
 * of 20 MB is in use.
 */
const REPLAY_FLAGS = [
  '--interrupt-budget=25000',
  '--no-turbo-loop-peeling',
  '--no-incremental-marking',
];

const filename = fileURLToPath(new URL('program.cjs', import.meta.url));
const cacheFile = fileURLToPath(new URL('program.cache', import.meta.url));

function readCache() {
  try {
    return readFileSync(cacheFile);
  } catch {
    return undefined;
  }
}

const parameters = 'require, module, exports, moduleUrl, importModule';
// Latin-1, as esbuild writes ASCII: a string of bytes is half as long.
const source = `(function (${parameters}) {${readFileSync(filename, 'latin1')}\n})`;
const script = new Script(source, { filename, cachedData: readCache() });
const writesCache = process.env.MOONTIDE_WRITE_CACHE === '1';
// After the script is made, and not where the cache is: bytecode is for those who have equal flags.
if (process.argv[2] === 'replay' && !writesCache)
  for (const flag of REPLAY_FLAGS) setFlagsFromString(flag);
const module = { exports: {} };
const program = script.runInThisContext();
program(
  createRequire(import.meta.url),
  module,
  module.exports,
  import.meta.url,
  (name) => import(name),
);
if (writesCache) {
  process.on('exit', () => writeFileSync(cacheFile, script.createCachedData()));
}
