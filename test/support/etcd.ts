/** A real etcd cluster on loopback, for tests: members in folders of their own, ended by pid. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const hasEtcd = spawnSync('etcd', ['--version']).status === 0;
/** Why tests are skipped, and what helps. */
export const NO_ETCD = 'skipped: no etcd; apt-get install etcd-server';

interface Member {
  readonly name: string;
  readonly args: readonly string[];
  process: ChildProcess;
}

export class EtcdCluster {
  readonly endpoints: readonly string[];
  private readonly folder: string;
  private readonly members: Member[];

  private constructor(folder: string, endpoints: readonly string[], members: Member[]) {
    this.folder = folder;
    this.endpoints = endpoints;
    this.members = members;
  }

  /** Starts `count` members and waits until they serve. */
  static async start(count: number): Promise<EtcdCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'moontide-etcd-'));
    const ports = await freePorts(2 * count);
    const url = (port: number) => `http://127.0.0.1:${port}`;
    const peers = Array.from({ length: count }, (_, i) => `m${i}=${url(ports[2 * i + 1])}`);
    const members = peers.map((_, i) => {
      const [client, peer] = [url(ports[2 * i]), url(ports[2 * i + 1])];
      const args = [
        ...['--name', `m${i}`, '--data-dir', join(folder, `m${i}`), '--logger', 'zap'],
        ...['--listen-client-urls', client, '--advertise-client-urls', client],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ...['--initial-cluster', peers.join(','), '--initial-cluster-state', 'new'],
        ...['--log-level', 'error', '--unsafe-no-fsync'],
      ];
      return { name: `m${i}`, args, process: run(args) };
    });
    const endpoints = members.map((_, i) => url(ports[2 * i]));
    const cluster = new EtcdCluster(folder, endpoints, members);
    await cluster.waitUntilServing();
    return cluster;
  }

  /** The member that leads now. */
  async leader(): Promise<number> {
    for (let i = 0; i < this.endpoints.length; i++) {
      const status = await this.status(i);
      if (status?.leader !== undefined && status.leader === status.header.member_id) return i;
    }
    throw new Error('no member leads');
  }

  kill(member: number): Promise<void> {
    return this.signal(member, 'SIGKILL');
  }

  restart(member: number): void {
    this.members[member].process = run(this.members[member].args);
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((_, i) => this.signal(i, 'SIGKILL')));
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async waitUntilServing(): Promise<void> {
    for (let tries = 0; tries < 200; tries++) {
      try {
        await this.leader();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    await this.stop();
    throw new Error('etcd did not start');
  }

  private async status(member: number) {
    try {
      const answer = await fetch(`${this.endpoints[member]}/v3/maintenance/status`, {
        method: 'POST',
        body: '{}',
        signal: AbortSignal.timeout(2000),
      });
      return (await answer.json()) as { leader?: string; header: { member_id: string } };
    } catch {
      return null;
    }
  }

  private signal(member: number, signal: 'SIGKILL'): Promise<void> {
    const { process } = this.members[member];
    if (process.exitCode !== null || process.signalCode !== null) return Promise.resolve();
    const gone = new Promise<void>((resolve) => process.once('exit', () => resolve()));
    process.kill(signal);
    return gone;
  }
}

function run(args: readonly string[]): ChildProcess {
  return spawn('etcd', args, { stdio: 'ignore' });
}

/** Ports of loopback that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => {
        server.listen(0, '127.0.0.1', () => resolve(server));
      });
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
