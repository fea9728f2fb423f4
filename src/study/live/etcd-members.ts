/**
 * A real etcd cluster on this machine, for one that has none: members on loopback and free ports,
 * their data in a temporary folder. Each ends with the process that started it, however that ends,
 * and takes the data along: a shell beside it waits on a pipe that breaks then. What is left where
 * the shells were killed too goes when the next cluster starts.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InputError } from '../../core/errors.ts';
import { loadTls, type TlsFiles } from '../../runtime/control/security.ts';

const LOOPBACK = '127.0.0.1';
const START_MS = 30_000;
const POLL_MS = 100;
const ANSWER_MS = 2000;
/** Of a folder's name; then whose it is. */
const FOLDER = 'moontide-etcd-';
/** Of /proc/PID/stat, after the command: ticks since the machine began. */
const STARTED_FIELD = 19;

/**
 * Prints the member's pid, ends with it, and kills it when the pipe to stdin breaks; the folder of
 * all members goes then too.
 */
const GUARD = `
folder=$1
shift
exec 3<&0
etcd "$@" </dev/null 3<&- &
member=$!
echo $member
{
  read -r _ <&3
  trap '' TERM
  kill -9 $member
  while kill -0 $member; do sleep 0.05; done
  rm -rf "$folder"
} >/dev/null 2>&1 &
guard=$!
exec 3<&-
wait $member
status=$?
kill $guard
exit $status`;

interface Member {
  /** Of the shell: the folder that goes, then etcd's. */
  readonly args: readonly string[];
  process: ChildProcess;
  /** Of etcd itself, once it is known. */
  pid: number | null;
  gone: Promise<void>;
}

export class EtcdMembers {
  /** `http://host:port` of each, `https:` with certificates. */
  readonly endpoints: readonly string[];
  private readonly folder: string;
  private readonly members: Member[];
  private readonly agent: HttpAgent;

  private constructor(
    folder: string,
    endpoints: readonly string[],
    members: Member[],
    tls: TlsFiles | null,
  ) {
    this.folder = folder;
    this.endpoints = endpoints;
    this.members = members;
    this.agent = tls === null ? new HttpAgent() : new HttpsAgent({ ...loadTls(tls) });
  }

  /**
   * Starts `count` members and waits until they serve. With certificates they serve those alone who
   * have one of the same authority, clients and each other.
   *
   * @throws InputError without etcd
   */
  static async start(
    count: number,
    host = LOOPBACK,
    tls: TlsFiles | null = null,
  ): Promise<EtcdMembers> {
    if (spawnSync('etcd', ['--version'], { stdio: 'ignore' }).status !== 0) {
      throw new InputError('found no etcd on the PATH: apt-get install etcd-server', '--etcd');
    }
    removeLeft();
    const folder = mkdtempSync(join(tmpdir(), `${FOLDER}${ownerOf(process.pid)}-`));
    const ports = await freePorts(2 * count, host);
    const url = (port: number) => `${tls === null ? 'http' : 'https'}://${host}:${port}`;
    const peers = Array.from({ length: count }, (_, i) => `m${i}=${url(ports[2 * i + 1])}`);
    const members = peers.map((_, i) => {
      const [client, peer] = [url(ports[2 * i]), url(ports[2 * i + 1])];
      return launch([
        folder,
        ...['--name', `m${i}`, '--data-dir', join(folder, `m${i}`), '--logger', 'zap'],
        ...['--listen-client-urls', client, '--advertise-client-urls', client],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ...['--initial-cluster', peers.join(','), '--initial-cluster-state', 'new'],
        ...['--log-level', 'error', '--unsafe-no-fsync'],
        ...(tls === null ? [] : securely(tls)),
      ]);
    });
    const endpoints = members.map((_, i) => url(ports[2 * i]));
    const cluster = new EtcdMembers(folder, endpoints, members, tls);
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
    this.agent.destroy();
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

  private status(member: number): Promise<MemberStatus | null> {
    const { agent, endpoints } = this;
    const request = agent instanceof HttpsAgent ? httpsRequest : httpRequest;
    const url = `${endpoints[member]}/v3/maintenance/status`;
    return new Promise((resolve) => {
      const asked = request(url, { method: 'POST', agent, timeout: ANSWER_MS }, (answer) => {
        let text = '';
        answer.on('data', (part) => {
          text += part;
        });
        answer.on('end', () => resolve(statusOf(text)));
        answer.on('error', () => resolve(null));
      });
      asked.on('timeout', () => asked.destroy());
      asked.on('error', () => resolve(null));
      asked.end('{}');
    });
  }
}

interface MemberStatus {
  readonly leader?: string;
  readonly header: { readonly member_id: string };
}

function statusOf(text: string): MemberStatus | null {
  try {
    return JSON.parse(text) as MemberStatus;
  } catch {
    return null;
  }
}

/** Options of a member that serves, and speaks to, those alone who have a certificate. */
function securely({ cert, key, ca }: TlsFiles): string[] {
  return [
    ...['--client-cert-auth', '--cert-file', cert, '--key-file', key, '--trusted-ca-file', ca],
    ...['--peer-client-cert-auth', '--peer-cert-file', cert, '--peer-key-file', key],
    ...['--peer-trusted-ca-file', ca],
  ];
}

/** Folders of etcd members whose owner died, and their shells with it. */
function removeLeft(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, owner, pid] = new RegExp(`^${FOLDER}((\\d+)\\.\\d+)-`).exec(name) ?? [];
    if (owner === undefined || owner === ownerOf(Number(pid))) continue;
    try {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    } catch {
      // Another user's.
    }
  }
}

/** A process, and when it began: numbers of processes are given again. */
function ownerOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return `${pid}.${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[STARTED_FIELD]}`;
  } catch {
    return `${pid}.0`;
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
