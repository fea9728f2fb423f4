#!/usr/bin/env node
/**
 * Starts the command line: compiles program.cjs beside this file, and what that asks for here, from
 * the bytecode in program.cache and its like where that was made by the same Node.js (another one
 * ignores it).
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
 * What saves a replay another 13 %: to optimise sooner, since nearly all that is hot is optimised in
 * the end; loops as they are written, since few of them run long; no marking of garbage while a heap
 * of 20 MB is in use; a young generation that has its full size soon.
 */
const REPLAY_FLAGS = [
  '--interrupt-budget=25000',
  '--max-bytecode-size-for-early-opt=300',
  '--no-turbo-loop-peeling',
  '--no-incremental-marking',
  '--semi-space-growth-factor=8',
];

/** 'program' or 'others': whose bytecode this run is to keep. */
const kept = process.env.MOONTIDE_WRITE_CACHE;
const program = './program.cjs';
const require = createRequire(import.meta.url);
const parameters = 'require, module, exports, moduleUrl, importModule';

function readCache(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

function compile(name) {
  const filename = fileURLToPath(new URL(name, import.meta.url));
  const cacheFile = filename.replace(/cjs$/, 'cache');
  // Latin-1, as esbuild writes ASCII: a string of bytes is half as long.
  const source = `(function (${parameters}) {${readFileSync(filename, 'latin1')}\n})`;
  const script = new Script(source, { filename, cachedData: readCache(cacheFile) });
  if (kept === (name === program ? 'program' : 'others')) {
    process.on('exit', () => writeFileSync(cacheFile, script.createCachedData()));
  }
  return script;
}

const loaded = new Map();

function load(name) {
  if (!loaded.has(name)) loaded.set(name, run(compile(name)));
  return loaded.get(name);
}

/** Runs a compiled file; answers what it exports. */
function run(script) {
  const module = { exports: {} };
  script.runInThisContext()(
    (id) => (id.startsWith('./') ? load(id) : require(id)),
    module,
    module.exports,
    import.meta.url,
    (id) => import(id),
  );
  return module.exports;
}

const script = compile(program);
// Bytecode is good under the flags that it was made with: the program's serves all commands.
if (process.argv[2] === 'replay' && kept !== 'program') {
  for (const flag of REPLAY_FLAGS) setFlagsFromString(flag);
}
run(script);
