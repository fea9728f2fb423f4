/**
 * A real etcd cluster on this machine, for one that has none: members on loopback and free ports,
 * their data in a temporary folder. Each ends with the process that started it, however that ends:
 * a shell beside it waits on a pipe that breaks then.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InputError } from '../../core/errors.ts';

const LOOPBACK = '127.0.0.1';
const START_MS = 30_000;
const POLL_MS = 100;
const ANSWER_MS = 2000;

/** Prints the member's pid, ends with it, and kills it when the pipe to stdin breaks. */
const GUARD = `
exec 3<&0
etcd "$@" </dev/null 3<&- &
member=$!
echo $member
{ read -r _ <&3; kill -9 $member; } 2>/dev/null &
guard=$!
exec 3<&-
wait $member
status=$?
kill $guard
exit $status`;

interface Member {
  readonly args: readonly string[];
  process: ChildProcess;
  /** Of etcd itself, once it is known. */
  pid: number | null;
  gone: Promise<void>;
}

export class EtcdMembers {
  /** `http://host:port` of each. */
  readonly endpoints: readonly string[];
  private readonly folder: string;
  private readonly members: Member[];

  private constructor(folder: string, endpoints: readonly string[], members: Member[]) {
    this.folder = folder;
    this.endpoints = endpoints;
    this.members = members;
  }

  /** Starts `count` members and waits until they serve. @throws InputError without etcd */
  static async start(count: number, host = LOOPBACK): Promise<EtcdMembers> {
    if (spawnSync('etcd', ['--version'], { stdio: 'ignore' }).status !== 0) {
      throw new InputError('found no etcd on the PATH: apt-get install etcd-server', '--etcd');
    }
    const folder = mkdtempSync(join(tmpdir(), 'moontide-etcd-'));
    const ports = await freePorts(2 * count, host);
    const url = (port: number) => `http://${host}:${port}`;
    const peers = Array.from({ length: count }, (_, i) => `m${i}=${url(ports[2 * i + 1])}`);
    const members = peers.map((_, i) => {
      const [client, peer] = [url(ports[2 * i]), url(ports[2 * i + 1])];
      return launch([
        ...['--name', `m${i}`, '--data-dir', join(folder, `m${i}`), '--logger', 'zap'],
        ...['--listen-client-urls', client, '--advertise-client-urls', client],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ...['--initial-cluster', peers.join(','), '--initial-cluster-state', 'new'],
        ...['--log-level', 'error', '--unsafe-no-fsync'],
      ]);
    });
    const endpoints = members.map((_, i) => url(ports[2 * i]));
    const cluster = new EtcdMembers(folder, endpoints, members);
    try {
      await cluster.served();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get count(): number {
    return this.members.length;
  }

  /** The member that leads now; null while none does. */
  async leader(): Promise<number | null> {
    for (let i = 0; i < this.endpoints.length; i++) {
      const status = await this.status(i);
      if (status?.leader !== undefined && status.leader === status.header.member_id) return i;
    }
    return null;
  }

  pidOf(member: number): number | null {
    return this.members[member].pid;
  }

  /** kill -9. */
  async kill(member: number): Promise<void> {
    const { pid, gone } = this.members[member];
    if (pid !== null) process.kill(pid, 'SIGKILL');
    await gone;
  }

  /** With its data. */
  restart(member: number): void {
    this.members[member] = launch(this.members[member].args);
  }

  async stop(): Promise<void> {
    for (const { process: shell } of this.members) shell.stdin?.end();
    await Promise.all(this.members.map(({ gone }) => gone));
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Whether a member answers and knows who leads. */
  async serves(member: number): Promise<boolean> {
    const leader = (await this.status(member))?.leader ?? '0';
    return leader !== '0';
  }

  private async served(): Promise<void> {
    for (let waitedMs = 0; waitedMs < START_MS; waitedMs += POLL_MS) {
      if ((await this.leader()) !== null) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`etcd did not serve within ${START_MS / 1000} s`);
  }

  private async status(member: number) {
    try {
      const answer = await fetch(`${this.endpoints[member]}/v3/maintenance/status`, {
        method: 'POST',
        body: '{}',
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      return (await answer.json()) as { leader?: string; header: { member_id: string } };
    } catch {
      return null;
    }
  }
}

function launch(args: readonly string[]): Member {
  const shell = spawn('sh', ['-c', GUARD, 'sh', ...args], {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true,
  });
  shell.stdin?.on('error', () => {});
  const gone = new Promise<void>((resolve) => shell.once('exit', () => resolve()));
  const member: Member = { args, process: shell, pid: null, gone };
  shell.stdout?.once('data', (text) => {
    member.pid = Number(String(text).trim());
  });
  void gone.then(() => {
    member.pid = null;
    shell.stdin?.destroy();
  });
  return member;
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number, host = LOOPBACK): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => {
        server.listen(0, host, () => resolve(server));
      });
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
