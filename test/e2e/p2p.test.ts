/** A checkpoint from one process to several, over real links and real memory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAIN, moontide } from '../support/cli.ts';

const SIZE_BYTES = 48_000_001;
const TOKEN = 'a-token-of-the-tests-4711';
const env = { ...process.env, MOONTIDE_TOKEN: TOKEN };

let folder = '';
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-p2p-'));
  writeFileSync(join(folder, 'model.bin'), randomBytes(SIZE_BYTES));
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    }
  }
  rmSync(folder, { recursive: true, force: true });
});

interface Started {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly ended: Promise<number | null>;
}

function start(...args: string[]): Started {
  const child = spawn(process.execPath, [MAIN, 'p2p', ...args], { cwd: folder, env });
  children.push(child);
  let out = '';
  child.stdout?.on('data', (text) => {
    out += text;
  });
  child.stderr?.on('data', (text) => {
    out += text;
  });
  return { child, out: () => out, ended: new Promise((end) => child.once('exit', end)) };
}

/** Starts an origin that serves the registry too; where it is. */
async function origin(...args: string[]): Promise<{ started: Started; registry: string }> {
  const started = start('register', ...args, '--json');
  await until(() => started.out().includes('}'), started);
  return { started, registry: JSON.parse(started.out()).registry };
}

async function get(registry: string, out: string, ...args: string[]) {
  const started = start('get', 'model.bin', '-o', out, '--registry', registry, '--json', ...args);
  expect(await started.ended, started.out()).toBe(0);
  return JSON.parse(started.out());
}

async function until(holds: () => boolean, started: Started): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 1200) throw new Error(`it did not come: ${started.out()}`);
    await new Promise((next) => setTimeout(next, 25));
  }
}

const sha = (path: string) =>
  createHash('sha256')
    .update(readFileSync(join(folder, path)))
    .digest('hex');

describe('p2p store', () => {
  it('passes a file on to several', async () => {
    const { started, registry } = await origin('model.bin', '--shard', '1MiB');
    const a = await get(registry, 'a.bin', '--rail', 'tcp');
    expect(a).toMatchObject({ wrongShards: 0, resumedShards: 0 });
    expect(a.pulledBytes).toBeGreaterThanOrEqual(SIZE_BYTES);
    const [b, c] = await Promise.all([get(registry, 'b.bin'), get(registry, 'c.bin')]);
    // A channel that begins anew while shards are under way has them read again.
    for (const { pulledBytes } of [b, c]) {
      expect(pulledBytes).toBeGreaterThanOrEqual(SIZE_BYTES);
      expect(pulledBytes).toBeLessThan(1.5 * SIZE_BYTES);
    }
    expect(['a.bin', 'b.bin', 'c.bin'].map(sha)).toEqual(new Array(3).fill(sha('model.bin')));
    started.child.kill('SIGINT');
    expect(await started.ended).toBe(0);
    expect(existsSync(join(folder, 'a.bin.part'))).toBe(false);
  });

  it('goes on after kill -9, and pulls only what is not there', async () => {
    const { registry } = await origin('model.bin', '--shard', '64KiB');
    const killed = start('get', 'model.bin', '-o', 'a.bin', '--registry', registry);
    const part = join(folder, 'a.bin.part');
    await until(() => existsSync(part) && statSync(part).blocks * 512 > SIZE_BYTES / 4, killed);
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(existsSync(join(folder, 'a.bin'))).toBe(false);
    const again = await get(registry, 'a.bin');
    expect(again.resumedShards).toBeGreaterThan(0);
    expect(again.pulledBytes).toBeLessThan(SIZE_BYTES);
    expect(sha('a.bin')).toBe(sha('model.bin'));
  });

  it('takes nothing from a holder whose file has changed, and all from another', async () => {
    const { registry } = await origin('model.bin', '--shard', '1MiB');
    const seeder = start('get', 'model.bin', '-o', 'b.bin', '--registry', registry, '--seed');
    await until(() => existsSync(join(folder, 'b.bin')), seeder);
    const bytes = readFileSync(join(folder, 'model.bin'));
    const spoilt = Buffer.from(bytes);
    for (let at = 5; at < spoilt.length; at += 1 << 20) spoilt[at] ^= 1;
    writeFileSync(join(folder, 'model.bin'), spoilt);
    await get(registry, 'c.bin');
    expect(readFileSync(join(folder, 'c.bin')).equals(bytes)).toBe(true);
    seeder.child.kill('SIGINT');
    expect(await seeder.ended).toBe(0);
  });

  it('folders, a list, and rm, after which the origin ends', async () => {
    mkdirSync(join(folder, 'ckpt', 'shards'), { recursive: true });
    writeFileSync(join(folder, 'ckpt', 'config.json'), '{}');
    writeFileSync(join(folder, 'ckpt', 'empty'), '');
    writeFileSync(join(folder, 'ckpt', 'shards', 'a.safetensors'), randomBytes(5_000_000));
    const { started, registry } = await origin('ckpt', '--name', 'model.bin', '--shard', '1MiB');
    const listed = start('list', '--registry', registry, '--json');
    expect(await listed.ended).toBe(0);
    expect(JSON.parse(listed.out())).toMatchObject([
      { name: 'model.bin', files: 3, sizeBytes: 5_000_002, shards: 5, origins: 1, holders: 1 },
    ]);
    await get(registry, 'copy');
    for (const path of ['config.json', 'empty', 'shards/a.safetensors']) {
      expect(sha(join('copy', path))).toBe(sha(join('ckpt', path)));
    }
    const removed = start('rm', 'model.bin', '--registry', registry);
    expect(await removed.ended, removed.out()).toBe(0);
    expect(await started.ended).toBe(0);
  });

  it('says in one line what is wrong, and leaves nothing behind', () => {
    const wrong = [
      [['get', 'x', '-o', 'y'], /--registry: found none/],
      [['get', 'x', '-o', 'y', '--registry', 'http://a'], /--registry: found "http:\/\/a"/],
      [['register', 'nothing'], /nothing: found nothing/],
      [['register', join(folder, 'model.bin'), '--shard', '1000B'], /--shard: found 1000B/],
      [['simulate', '--policy', 'rare'], /--policy: found unknown shard policy "rare"/],
      [['simulate', '--crash', '3'], /--crash: found 3/],
    ] as const;
    for (const [args, expected] of wrong) {
      const { code, stderr } = moontide(['p2p', ...args]);
      expect(stderr).toMatch(expected);
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(code).toBe(2);
    }
    expect(existsSync('y.part')).toBe(false);
  });
});
