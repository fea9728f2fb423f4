/** Homes of blocks, live: a node joins and gets its share, others go and nothing is lost. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { LiveResult } from '../../src/study/live/results.ts';
import type { ClusterStatus } from '../../src/study/live/status.ts';
import { MAIN } from '../../src/study/main-file.ts';
import { describeNative } from '../support/native.ts';

/** Between looks at the cluster. */
const LOOK_MS = 700;

let dir: string;
let up: ChildProcess;

async function start(...flags: string[]): Promise<void> {
  const size = ['--nodes', '3', '--spares', '1', '--speed', '60', '--dir', dir];
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
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

async function replay(): Promise<LiveResult> {
  const flags = ['--limit', '20', '--utilisation', '0.5', '--json'];
  const result = JSON.parse(await live('replay', 'demo', ...flags)) as LiveResult;
  expect(result.requests).toMatchObject({ arrived: 20, completed: 20 });
  return result;
}

const usedOn = ({ members }: ClusterStatus, node: number) => {
  const agent = members.find((member) => member.role === 'agent' && member.node === node);
  return agent?.tiers.find(({ tier }) => tier === 'dram')?.usedBlocks ?? -1;
};

/** Once nothing is left to move and two looks in turn show the same: reports come one by one. */
async function settled(holds: (status: ClusterStatus) => boolean): Promise<ClusterStatus> {
  let last = '';
  return status((now) => {
    const seen = JSON.stringify([now.moves, [0, 1, 2, 3].map((node) => usedOn(now, node))]);
    const same = seen === last;
    last = seen;
    return same && now.moves !== null && now.moves.remaining === 0 && holds(now);
  });
}

describeNative('live, blocks with homes', () => {
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'moontide-buckets-'));
  });
  afterEach(async () => {
    const ended = new Promise((resolve) => up.once('exit', resolve));
    if (up.exitCode === null && up.kill('SIGINT')) await ended;
    rmSync(dir, { recursive: true, force: true });
  });

  it('move to a node that joins, and away from nodes that drain and leave', async () => {
    // At sixty times the pace a lease of 10 s is over in a sixth of a second, whoever is busy.
    const leases = ['--set', 'store.leaseTtl=600s'];
    await start('--placement', 'bucket-map', '--set', 'store.moves.rate=20%', ...leases);
    // Nodes 0, 1 and 3: node 2 is the one that may join.
    await status(({ members }) => [0, 1, 3].every((n) => members.some(({ node }) => node === n)));
    await replay();
    const before = await settled(() => true);
    const blocks = [0, 1, 3].reduce((sum, node) => sum + usedOn(before, node), 0);
    expect(blocks).toBeGreaterThan(20);

    await live('join', '2');
    const joined = await settled((now) => usedOn(now, 2) > 0);
    expect(joined.moves!.version).toBeGreaterThan(before.moves!.version);
    const share = joined.moves!.movedBlocks - before.moves!.movedBlocks;
    expect(Math.abs(share / blocks - 1 / 4)).toBeLessThan(0.15);
    expect(joined.moves!.movedBytes).toBeGreaterThan(0);
    const now = [0, 1, 2, 3].reduce((sum, node) => sum + usedOn(joined, node), 0);
    expect(now).toBeGreaterThanOrEqual(blocks);
    const again = await replay();
    expect(again.hit.tokensRatio).toBeGreaterThan(0.9);

    await live('drain', '0');
    await live('leave', '1');
    const left = await status(({ members }) => members.every(({ node }) => node !== 1));
    expect(left.moves).toMatchObject({ remaining: 0, stuck: 0 });
    // What was on the two is on the others now, and nothing was computed again for it.
    const last = await replay();
    expect(last.hit.tokensRatio).toBeGreaterThan(0.9);
    expect(last.live.checksumFailures).toBe(0);
  }, 180_000);
});
