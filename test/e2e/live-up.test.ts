/** A cluster that stays up: found by its state file, operated, and gone with whoever kept it up. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LiveResult } from '../../src/study/live/results.ts';
import type { ClusterStatus } from '../../src/study/live/status.ts';
import { MAIN } from '../../src/study/main-file.ts';
import { hasEtcd, NO_ETCD } from '../support/etcd.ts';
import { describeNative } from '../support/native.ts';
import { Authority, hasOpenssl, NO_OPENSSL } from '../support/pki.ts';

let dir: string;
let up: ChildProcess;
let environment: NodeJS.ProcessEnv;

async function start(...flags: string[]): Promise<void> {
  const size = ['--nodes', '3', '--speed', '60', '--dir', dir];
  up = spawn(process.execPath, [MAIN, 'live', 'up', ...size, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environment,
  });
  await new Promise((resolve) => up.stdout?.once('data', resolve));
}

function live(...args: string[]): Promise<string> {
  return moontide('live', ...args);
}

function moontide(...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [MAIN, ...args, '--dir', dir],
      { maxBuffer: 1 << 26, timeout: 100_000, env: environment },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${args.join(' ')}: ${stderr}`));
      },
    );
  });
}

async function status(holds: (status: ClusterStatus) => boolean): Promise<ClusterStatus> {
  for (;;) {
    const found = JSON.parse(await live('status', '--json')) as ClusterStatus;
    if (holds(found)) return found;
  }
}

/** Processes that descend from another, by /proc; those of etcd too. */
function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const parent = parentOf(Number(name));
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const below = (of: number): number[] =>
    (children.get(of) ?? []).flatMap((child) => [child, ...below(child)]);
  return below(pid);
}

function parentOf(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return -1;
  }
}

/** Not even as a zombie that somebody must still bury. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function gone(pids: readonly number[]): Promise<void> {
  while (pids.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** Data of etcd members that a process started. */
function etcdFolders(pid: number | undefined): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith(`moontide-etcd-${pid}.`));
}

describeNative('live up', () => {
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'moontide-up-'));
    environment = process.env;
  });
  afterEach(async () => {
    const left = descendants(up.pid ?? 0);
    up.kill('SIGKILL');
    await gone(left);
    rmSync(dir, { recursive: true, force: true });
  });

  it('is found, plays traces, is operated, and goes at an interrupt', async () => {
    await start('--spares', '1');
    expect(statSync(join(dir, 'cluster.json')).mode & 0o777).toBe(0o600);
    const ready = await status(
      ({ members }) =>
        members.length >= 5 &&
        members.some(({ instances }) => [0, 1, 3].every((id) => instances[id]?.alive)),
    );
    expect(ready.members.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['conductor-0', 'conductor-1', 'node-0', 'node-1', 'node-3']),
    );
    const replay = () => live('replay', 'demo', '--limit', '20', '--utilisation', '0.5', '--json');
    const first = JSON.parse(await replay()) as LiveResult;
    expect(first.requests).toMatchObject({ arrived: 20, completed: 20 });
    const again = JSON.parse(await replay()) as LiveResult;
    expect(again.requests).toMatchObject({ arrived: 20, completed: 20 });
    // The blocks are those of the first run.
    expect(again.hit.tokensRatio).toBeGreaterThan(0.9);
    await live('join', '2');
    await live('drain', '0');
    await live('role', '2', 'prefill,decode');
    await live('leave', '1');
    const { members, wanted } = await status(() => true);
    expect(members.map(({ name }) => name)).not.toContain('node-1');
    expect(wanted).toMatchObject({ 0: { state: 'drained' }, 1: { state: 'out' } });
    await expect(live('drain', '2')).rejects.toThrow(/the last for prefill/);
    const third = JSON.parse(await replay()) as LiveResult;
    expect(third.requests).toMatchObject({ arrived: 20, completed: 20 });

    const all = descendants(up.pid ?? 0);
    const ended = new Promise((resolve) => up.once('exit', resolve));
    up.kill('SIGINT');
    expect(await ended).toBe(0);
    expect(all.filter(isAlive)).toEqual([]);
    expect(existsSync(join(dir, 'cluster.json'))).toBe(false);
  }, 120_000);

  it('keeps objects on every node, if it is told how much', async () => {
    await start('--store', '16MiB');
    await status(({ leader }) => leader !== null);
    const file = join(dir, 'object');
    writeFileSync(file, 'bytes of an object');
    const store = (...args: string[]) => moontide('store', ...args);
    const stores = async () => JSON.parse(await store('stat', '--json')) as unknown[];
    while ((await stores()).length < 3) await new Promise((resolve) => setTimeout(resolve, 100));
    await store('put', 'a', file, '--replicas', '3');
    expect(await store('get', 'a')).toBe('bytes of an object');
    expect(await store('list')).toMatch(/store-0.*\n.*store-1.*\n.*store-2/s);
  }, 180_000);

  const secure = hasEtcd && hasOpenssl;
  const lacking = hasEtcd ? NO_OPENSSL : NO_ETCD;
  describe.skipIf(!secure && process.env.CI !== 'true')(
    secure ? 'with certificates' : `with certificates (${lacking})`,
    () => {
      let authority: Authority;
      beforeEach(() => {
        authority = new Authority();
      });
      afterEach(() => authority.remove());

      it('plays a trace with an etcd that asks everybody for theirs', async () => {
        const { cert, key, ca } = authority.issue(null);
        const own = { MOONTIDE_TLS_CERT: cert, MOONTIDE_TLS_KEY: key, MOONTIDE_TLS_CA: ca };
        environment = { ...process.env, ...own };
        await start('--etcd', '3', '--store', '16MiB');
        const { leader } = await status((found) => found.leader !== null);
        expect(leader?.name).toMatch(/conductor/);
        const replay = await live('replay', 'demo', '--limit', '15', '--json');
        const { requests, live: cluster } = JSON.parse(replay) as LiveResult;
        expect(requests).toMatchObject({ arrived: 15, completed: 15 });
        expect(cluster.checksumFailures).toBe(0);
        const { registry } = JSON.parse(readFileSync(join(dir, 'cluster.json'), 'utf8'));
        expect(registry).toMatch(/^etcd:/);
        // Who has none is not served, by etcd itself.
        environment = process.env;
        await expect(live('status', '--json')).rejects.toThrow(/etcd|certificate|TLS/);
      }, 120_000);
    },
  );

  describe.skipIf(!hasEtcd && process.env.CI !== 'true')(
    hasEtcd ? 'with etcd' : `with etcd (${NO_ETCD})`,
    () => {
      it('leaves nothing behind when the one who keeps it up is killed', async () => {
        await start('--etcd', '3');
        await status(({ leader }) => leader !== null);
        expect(etcdFolders(up.pid)).toHaveLength(1);
        const all = descendants(up.pid ?? 0);
        expect(all.length).toBeGreaterThan(3 + 2 + 3);
        up.kill('SIGKILL');
        await gone(all);
        expect(etcdFolders(up.pid)).toEqual([]);
        await expect(live('status', '--json')).rejects.toThrow(/found no running cluster/);
      }, 60_000);

      it('clears what is left of one whose every process was killed', async () => {
        await start('--etcd', '1');
        const { pid = 0 } = up;
        const all = descendants(pid);
        // Who starts others again goes first; shells that would clear up are stopped before.
        for (const one of all) process.kill(one, 'SIGSTOP');
        for (const one of [pid, ...all]) process.kill(one, 'SIGKILL');
        await gone(all);
        expect(etcdFolders(pid)).toHaveLength(1);
        await start('--etcd', '1');
        expect(etcdFolders(pid)).toEqual([]);
        expect(etcdFolders(up.pid)).toHaveLength(1);
      }, 60_000);
    },
  );
});
