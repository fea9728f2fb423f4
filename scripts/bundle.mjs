/**
 * `npm run bundle`: one tar with node, the addon, the production modules and dist, that runs on an
 * x86-64 Linux server with nothing installed. Written to build/; the last line says what it needs.
 *
 * Wanted before: npm run build, MOONTIDE_NATIVE=require npm run build:native.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';

const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '');
const about = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const name = `moontide-${about.version}-linux-x64`;
const out = join(root, 'build');
const stage = join(out, name);
const app = join(stage, 'app');
const ADDON = 'native/build/Release/moontide.node';

/** What node may need of the system. The last two come along, for systems without them. */
const SYSTEM = ['libc', 'libm', 'libdl', 'libpthread', 'librt', 'ld-linux-x86-64', 'linux-vdso'];
const BROUGHT = ['libstdc++', 'libgcc_s'];

const LAUNCHER = `#!/bin/sh
# Starts Moontide with the node beside it, and with its C++ library where the system has none.
self=$(readlink -f -- "$0" 2>/dev/null || echo "$0")
home=\${self%/bin/*}
found=
for folder in /lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu /lib64 /usr/lib64 /usr/lib /lib; do
  if [ -e "$folder/libstdc++.so.6" ]; then found=1; fi
done
if [ -z "$found" ]; then
  export LD_LIBRARY_PATH="$home/lib\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
exec "$home/bin/node" "$home/app/dist/cli/main.js" "$@"
`;

function fail(message) {
  console.error(`bundle: ${message}`);
  process.exit(1);
}

/** Name and path of each library that a program is linked with. */
function librariesOf(program) {
  const lines = execFileSync('ldd', [program], { encoding: 'utf8' }).split('\n');
  return lines
    .map((line) => /^\s*(\S+)(?: => (\S+))?/.exec(line))
    .filter((match) => match !== null)
    .map(([, soname, path]) => ({ soname, path: path ?? soname }));
}

function nameOf(soname) {
  return soname.replace(/^.*\//, '').replace(/\.so.*$/, '');
}

/** Production modules: what npm lists, less what is not installed for this platform. */
function productionModules() {
  const args = ['ls', '--omit=dev', '--all', '--parseable'];
  const { stdout } = spawnSync('npm', args, { cwd: root, encoding: 'utf8' });
  const folders = stdout.split('\n').filter((path) => path.includes('/node_modules/'));
  if (folders.length === 0) fail('npm ls names no modules: npm ci');
  return folders.filter((folder) => existsSync(folder));
}

function copyProgram() {
  const node = realpathSync(process.execPath);
  mkdirSync(join(stage, 'bin'), { recursive: true });
  mkdirSync(join(stage, 'lib'));
  for (const { soname, path } of librariesOf(node)) {
    const library = nameOf(soname);
    if (BROUGHT.includes(library)) cpSync(realpathSync(path), join(stage, 'lib', soname));
    else if (!SYSTEM.includes(library)) {
      fail(`this node is linked with ${soname}; use a build of nodejs.org or NodeSource`);
    }
  }
  cpSync(node, join(stage, 'bin/node'));
  // Symbols for debuggers are a third of it. Without binutils they stay.
  spawnSync('strip', ['--strip-debug', join(stage, 'bin/node')]);
  writeFileSync(join(stage, 'bin/moontide'), LAUNCHER);
  chmodSync(join(stage, 'bin/moontide'), 0o755);
}

function copyApp() {
  const wanted = about.files.filter((file) => existsSync(join(root, file)));
  for (const file of [...wanted, 'package.json', ADDON]) {
    if (!existsSync(join(root, file))) fail(`${file} is missing: npm run build:native`);
    const skip = (path) => !/\/\.build(?:\/|$)|\.map$|\.tsbuildinfo$/.test(path);
    cpSync(join(root, file), join(app, file), { recursive: true, filter: skip });
  }
  spawnSync('strip', ['--strip-debug', join(app, ADDON)]);
  for (const folder of productionModules()) {
    const nested = (path) => relative(folder, path).split('/').includes('node_modules');
    const keep = (path) => !nested(path) && !/\.(?:map|md|d\.ts)$/.test(path);
    cpSync(folder, join(app, relative(root, folder)), { recursive: true, filter: keep });
  }
}

/** Every ELF file of the bundle but for lib/, which is for systems without libstdc++ alone. */
function* programs(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && path !== join(stage, 'lib')) yield* programs(path);
    if (!entry.isFile() || statSync(path).size < 4096) continue;
    const bytes = readFileSync(path);
    if (bytes.readUInt32BE(0) === 0x7f454c46) yield { path, bytes };
  }
}

/** The newest version of a kind of symbol that anything here asks for, as in `GLIBC_2.34`. */
function newest(kind, texts) {
  const pattern = new RegExp(`${kind}_(\\d+(?:\\.\\d+)+)`, 'g');
  const versions = texts.flatMap((text) => [...text.matchAll(pattern)].map((match) => match[1]));
  const parts = (version) => version.split('.').map(Number);
  const compare = (a, b) => {
    const [x, y] = [parts(a), parts(b)];
    return x[0] - y[0] || x[1] - y[1] || (x[2] ?? 0) - (y[2] ?? 0);
  };
  return versions.sort(compare).at(-1) ?? null;
}

/** Versions that a file asks others for (objdump's "Version References"). */
function references(path) {
  const { status, stdout } = spawnSync('objdump', ['-p', path], { encoding: 'utf8' });
  if (status !== 0) fail('objdump is missing: apt-get install binutils');
  return stdout.split('Version References:')[1] ?? '';
}

rmSync(stage, { recursive: true, force: true });
copyProgram();
copyApp();
const all = [...programs(stage)].map(({ path }) => references(path));
const lib = readdirSync(join(stage, 'lib')).map((file) => references(join(stage, 'lib', file)));
const needs = {
  version: about.version,
  node: process.version,
  glibc: newest('GLIBC', all),
  libstdcxx: newest('GLIBCXX', all),
  glibcWithoutLibstdcxx: newest('GLIBC', [...all, ...lib]),
};
writeFileSync(join(stage, 'needs.json'), `${JSON.stringify(needs, null, 2)}\n`);
const tar = `${stage}.tar.gz`;
const order = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
execFileSync('tar', [...order, '-I', 'gzip -n -6', '-cf', tar, '-C', dirname(stage), name]);
rmSync(stage, { recursive: true });
console.log(JSON.stringify({ tar: relative(root, tar), sizeBytes: statSync(tar).size, ...needs }));
