/** A cluster that stays up: found by its state file, operated, and gone with whoever kept it up. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LiveResult } from '../../src/study/live/results.ts';
import type { ClusterStatus } from '../../src/study/live/status.ts';
import { MAIN } from '../../src/study/main-file.ts';
import { hasEtcd, NO_ETCD } from '../support/etcd.ts';
import { describeNative } from '../support/native.ts';

let dir: string;
let up: ChildProcess;

async function start(...flags: string[]): Promise<void> {
  const size = ['--nodes', '3', '--speed', '60', '--dir', dir];
  up = spawn(process.execPath, [MAIN, 'live', 'up', ...size, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => up.stdout?.once('data', resolve));
}

function live(...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [MAIN, 'live', ...args, '--dir', dir],
      { maxBuffer: 1 << 26, timeout: 100_000 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`live ${args.join(' ')}: ${stderr}`));
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

describeNative('live up', () => {
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'moontide-up-'));
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

  describe.skipIf(!hasEtcd && process.env.CI !== 'true')(
    hasEtcd ? 'with etcd' : `with etcd (${NO_ETCD})`,
    () => {
      it('leaves nothing behind when the one who keeps it up is killed', async () => {
        await start('--etcd', '3');
        await status(({ leader }) => leader !== null);
        const all = descendants(up.pid ?? 0);
        expect(all.length).toBeGreaterThan(3 + 2 + 3);
        up.kill('SIGKILL');
        await gone(all);
        await expect(live('status', '--json')).rejects.toThrow(/found no running cluster/);
      }, 60_000);
    },
  );
});
