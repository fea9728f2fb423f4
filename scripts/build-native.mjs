/**
 * Builds native/build/Release/moontide.node. MOONTIDE_NATIVE says how much it matters:
 * `off` does nothing, `auto` (the default) says why it could not and succeeds, `require` fails.
 * Everything but the data plane works without the addon.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const MODES = ['off', 'auto', 'require'];
const root = new URL('..', import.meta.url).pathname;
const addon = join(root, 'native/build/Release/moontide.node');
const mode = process.env.MOONTIDE_NATIVE ?? 'auto';

if (!MODES.includes(mode)) {
  console.error(`MOONTIDE_NATIVE: found '${mode}', expected ${MODES.join(', ')}`);
  process.exit(2);
}

/** Time of the newest source of the addon, ms. */
function newestSourceMs() {
  const files = ['src', 'binding'].flatMap((folder) =>
    readdirSync(join(root, 'native', folder)).map((name) => join(root, 'native', folder, name)),
  );
  for (const name of ['binding.gyp', 'bench/baseline.c', 'bench/fabric-bare.c']) {
    files.push(join(root, 'native', name));
  }
  // A removed file shows in the time of its folder.
  files.push(join(root, 'native/src'), join(root, 'native/binding'));
  return Math.max(...files.map((file) => statSync(file).mtimeMs));
}

function upToDate() {
  return existsSync(addon) && statSync(addon).mtimeMs >= newestSourceMs();
}

/** Headers beside the running node, so that nothing is fetched; none: node-gyp fetches them. */
function nodeDirArgs() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

function nodeGyp() {
  try {
    return createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
  } catch {
    return null;
  }
}

/** Why it failed, or null when it is built. */
function build() {
  const gyp = nodeGyp();
  if (gyp === null) return 'node-gyp is not installed (npm install --include=dev)';
  const directory = `--directory=${join(root, 'native')}`;
  for (const step of ['configure', 'build']) {
    const args = [gyp, step, directory, '--release', ...nodeDirArgs()];
    if (step === 'build') args.push('--jobs=max');
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (status !== 0) {
      const lines = `${stdout}${stderr}`.split('\n');
      const errors = lines.filter((line) => /error|ERR!/i.test(line)).slice(0, 20);
      return `node-gyp ${step} failed:\n${(errors.length > 0 ? errors : lines.slice(-20)).join('\n')}`;
    }
  }
  return existsSync(addon) ? null : `node-gyp made no ${addon}`;
}

/** One build at a time: two that write the same objects leave neither. */
function locked(work) {
  const lock = join(root, 'native/.build-lock');
  for (let waitedMs = 0; ; waitedMs += 200) {
    try {
      closeSync(openSync(lock, 'wx'));
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      // Left behind by a build that was killed.
      if (waitedMs > 600_000) rmSync(lock, { force: true });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
  try {
    return work();
  } finally {
    rmSync(lock, { force: true });
  }
}

if (mode !== 'off' && !upToDate()) {
  const problem = locked(() => (upToDate() ? null : build()));
  if (problem !== null) {
    console.error(`native addon not built: ${problem}`);
    if (mode === 'require') process.exit(1);
    console.error('Everything but the native data plane works without it (MOONTIDE_NATIVE=off).');
  }
}
