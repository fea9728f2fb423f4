/** `npm run bundle`: the tar runs where nothing is installed, with the glibc that is stated. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeNative } from '../support/native.ts';

/** Stated in README.md and native/README.md. */
const GLIBC = '2.34';
const LIBSTDCXX = '3.4.21';

/** Statically linked. */
const SHELL = '/bin/busybox';

const ROOT = new URL('../..', import.meta.url).pathname;

interface Bundle {
  readonly tar: string;
  readonly sizeBytes: number;
  readonly glibc: string;
  readonly libstdcxx: string;
}

describeNative('bundle', () => {
  let bundle: Bundle;
  let folder: string;
  let home: string;

  beforeAll(() => {
    const made = execFileSync(process.execPath, ['scripts/bundle.mjs'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    bundle = JSON.parse(made.trim().split('\n').at(-1) ?? '') as Bundle;
    folder = mkdtempSync(join(tmpdir(), 'moontide-bundle-'));
    execFileSync('tar', ['-xf', join(ROOT, bundle.tar), '-C', folder]);
    home = join(folder, bundle.tar.replace(/^.*\//, '').replace('.tar.gz', ''));
  }, 240_000);

  afterAll(() => rmSync(folder, { recursive: true, force: true }), 120_000);

  function run(command: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const [program, ...args] = command;
    const { status, stdout, stderr } = spawnSync(program, args, {
      cwd: folder,
      env,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${status}: ${stderr}`);
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  const REPLAY = ['replay', 'demo', '--limit', '200', '--json'];

  it('needs the glibc that is stated', () => {
    expect(bundle).toMatchObject({ glibc: GLIBC, libstdcxx: LIBSTDCXX });
    expect(readFileSync(join(ROOT, 'README.md'), 'utf8')).toContain(`glibc ${GLIBC}`);
  });

  it('replays with an empty environment', () => {
    expect(run([join(home, 'bin/moontide'), ...REPLAY])).toHaveProperty('requests');
  });

  it('replays with a PATH that has no node', () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    expect(run([join(home, 'bin/moontide'), ...REPLAY], { PATH: empty })).toHaveProperty(
      'requests',
    );
  });

  it('has the addon', () => {
    const { addon } = run([join(home, 'bin/moontide'), 'native', '--json']);
    expect(addon).toMatchObject({ available: true });
  });

  const bare = 'runs in a root with glibc and a shell alone';
  if (!existsSync(SHELL) && process.env.CI !== 'true') {
    it.skip(`${bare} (skipped: no ${SHELL}; apt-get install busybox-static)`, () => {});
    return;
  }

  it(bare, () => {
    const root = join(folder, 'root');
    for (const name of ['bin', 'lib64', 'lib/x86_64-linux-gnu', 'tmp', 'proc', 'dev']) {
      mkdirSync(join(root, name), { recursive: true });
    }
    writeFileSync(join(root, 'dev/null'), '');
    cpSync(SHELL, join(root, 'bin/sh'));
    cpSync('/lib64/ld-linux-x86-64.so.2', join(root, 'lib64/ld-linux-x86-64.so.2'), {
      dereference: true,
    });
    for (const name of ['libc.so.6', 'libm.so.6', 'libdl.so.2', 'libpthread.so.0', 'librt.so.1']) {
      const path = `lib/x86_64-linux-gnu/${name}`;
      cpSync(`/${path}`, join(root, path), { dereference: true });
    }
    renameSync(home, join(root, 'opt'));
    const enter = ['unshare', '-r', 'chroot', root, '/opt/bin/moontide', ...REPLAY];
    expect(run(enter, { PATH: '/usr/sbin:/usr/bin:/bin' })).toHaveProperty('requests');
  });
});
