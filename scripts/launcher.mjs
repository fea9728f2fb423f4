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

// A run lasts about a second and much of that is compilation; with less inlining the optimising
// compiler has less to do, which saves 9 % of the CPU of a replay of 12,000 requests (paired
// runs). Loops that run for long raise it again for themselves: src/study/cache/specialise.ts.
setFlagsFromString('--max-inlined-bytecode-size=60');
setFlagsFromString('--max-inlined-bytecode-size-cumulative=60');

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
const module = { exports: {} };
const program = script.runInThisContext();
program(
  createRequire(import.meta.url),
  module,
  module.exports,
  import.meta.url,
  (name) => import(name),
);
if (process.env.MOONTIDE_WRITE_CACHE === '1') {
  process.on('exit', () => writeFileSync(cacheFile, script.createCachedData()));
}
