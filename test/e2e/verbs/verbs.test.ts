/**
 * Real RDMA verbs without the hardware: a stock kernel with Soft-RoCE under emulation (vm.sh) runs
 * the addon over `verbs;ofi_rxm` while links, wires and processes fail. It says "correct", nothing
 * about speed. The law: every block arrives intact or is reported failed, in time.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadNative } from '../../../src/runtime/native.ts';
import { bundle } from '../../support/bundle.ts';
import type { Lossy, OneMachine, Suite, Tally } from './scenarios.ts';

const VM = new URL('vm.sh', import.meta.url).pathname;
const GUEST = 'test/e2e/verbs/guest.ts';
const TARGET = 'test/support/fabric-target.ts';
const SUITE = 'test/e2e/verbs/conformance-guest.ts';
const LITTLE_VITEST = 'test/e2e/verbs/little-vitest.ts';
/** Of the conformance suite: messages, a fetch and streams, a shared page. It is slow there. */
const CONFORMANCE = [
  'delivers in order',
  'computes a prompt in chunks',
  'leaves a replica',
  'serves what an earlier prompt',
].join('|');
const PACKAGES: readonly [name: string, path: string][] = [
  ['qemu-system-x86', '/usr/bin/qemu-system-x86_64'],
  ['busybox-static', '/usr/share/doc/busybox-static'],
  ['kmod', '/usr/sbin/modprobe'],
  ['cpio', '/usr/bin/cpio'],
  ['iproute2', '/usr/sbin/tc'],
  ['ibverbs-providers', '/etc/libibverbs.d/rxe.driver'],
  ['libfabric1', '/usr/share/doc/libfabric1'],
];

/** Why it can't run here, with what to do; null: it can. */
function obstacle(): string | null {
  const { reason } = loadNative();
  if (reason !== null) return reason;
  if (spawnSync('apt-get', ['--version']).status !== 0) return 'it needs Debian (apt-get)';
  const missing = PACKAGES.filter(([, path]) => !existsSync(path)).map(([name]) => name);
  return missing.length === 0 ? null : `apt-get install ${missing.join(' ')}`;
}

interface Run {
  readonly status: number | null;
  readonly console: string;
}

function boot(args: readonly string[]): Promise<Run> {
  return new Promise((resolve) => {
    const child = spawn(VM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let console = '';
    child.stdout.on('data', (data) => (console += data));
    child.stderr.on('data', (data) => (console += data));
    child.on('close', (status) => resolve({ status, console }));
  });
}

/** What the guest reported, if its command and the machine ended well. */
function resultOf<T>({ status, console }: Run): T {
  expect(status, console).toBe(0);
  const lines = [...console.matchAll(/^result (.*)$/gm)].map(([, json]) => JSON.parse(json));
  return Object.assign({}, ...lines) as T;
}

/** Two UDP ports that are free now. */
async function freePorts(): Promise<number[]> {
  const sockets = [createSocket('udp4'), createSocket('udp4')];
  const ports: number[] = [];
  for (const socket of sockets) {
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    ports.push(socket.address().port);
  }
  for (const socket of sockets) socket.close();
  return ports;
}

function expectLawful({ intact, corrupt, late }: Tally, least: number): void {
  expect({ corrupt, late }).toEqual({ corrupt: 0, late: 0 });
  expect(intact).toBeGreaterThanOrEqual(least);
}

/** node, when it is not under /usr, which the guest has anyway. */
function nodeShare(): string[] {
  const prefix = join(process.execPath, '../..');
  return prefix.startsWith('/usr') ? [] : ['--share', prefix];
}

const reason = obstacle();
if (reason !== null && process.env.CI === 'true') throw new Error(`CI lacks: ${reason}`);

const suite = reason === null ? 'verbs on Soft-RoCE' : `verbs on Soft-RoCE (skipped: ${reason})`;
describe.skipIf(reason !== null)(suite, () => {
  it('moves, stripes, survives a link and a target that fail, hosts a cluster', async () => {
    const [guest, target] = [await bundle(GUEST), await bundle(TARGET)];
    const scratch = mkdtempSync(join(tmpdir(), 'verbs-'));
    // One machine for both, since it takes half a minute to start.
    const suite = await bundle(SUITE, { vitest: LITTLE_VITEST });
    const both = `"$0" "$1" one-machine "$2" && MOONTIDE_VERBS_VM=1 "$0" "$3" "$4"`;
    const given = [process.execPath, guest, target, suite, CONFORMANCE];
    const where = ['--timeout', '400', '--scratch', scratch, ...nodeShare()];
    const run = await boot([...where, '--', 'bash', '-c', both, ...given]);
    const { plain, flap, kill, clean, ran, failed } = resultOf<OneMachine & Suite>(run);
    rmSync(scratch, { recursive: true });

    expect(plain.details).toEqual(['verbs;ofi_rxm rxea0', 'verbs;ofi_rxm rxea1']);
    expect([plain.read, plain.written]).toEqual([plain.slots, plain.slots]);
    // Striped: both rails carried half of what was read, as the policy `even` says.
    expect(plain.readBytes[0]).toBe(plain.readBytes[1]);
    expectLawful(flap, 16);
    expect(flap.reopened).toBeGreaterThan(0);
    expectLawful(kill, 4);
    expect(kill.failed).toBeGreaterThan(0);
    expect(kill.busySlots).toBe(0);
    expect(clean).toBe(true);
    expect(failed).toEqual([]);
    expect(ran).toHaveLength(CONFORMANCE.split('|').length);
  }, 420_000);

  it('moves between two machines on a wire that loses packets', async () => {
    const [guest, target] = [await bundle(GUEST), await bundle(TARGET)];
    const scratch = mkdtempSync(join(tmpdir(), 'verbs-'));
    const wire = `udp:${(await freePorts()).join(':')}`;
    // The wire drops what overflows it; the queue discipline one packet in two hundred besides.
    const lossy = 'tc qdisc add dev eth0 root netem loss 0.5% && exec "$@"';
    const command = ['bash', '-c', lossy, 'bash', process.execPath, guest, 'lossy', target];
    const machine = (node: number) =>
      boot([
        ...['--node', `${node}`, '--wire', wire, '--mem', '1024', '--scratch', scratch],
        ...[...nodeShare(), '--', ...command],
      ]);
    const [reader, other] = await Promise.all([machine(0), machine(1)]);
    expect(other.status, other.console).toBe(0);
    const { reads, writes, dropped, clean } = resultOf<Lossy>(reader);
    rmSync(scratch, { recursive: true });

    expectLawful(reads, 1);
    expectLawful(writes, 1);
    expect(dropped).toBeGreaterThan(0);
    expect(clean).toBe(true);
  }, 240_000);
});
