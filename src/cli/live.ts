/** `moontide live …`: the same policies in real processes with real bytes. */
import type { Command } from 'commander';
import type { ConfigOptions } from '../config/load.ts';
import { InputError } from '../core/errors.ts';
import type { LiveMember } from '../runtime/live/member.ts';
import { addReplayLogCommand } from './live-log.ts';
import { addOperations } from './live-operate.ts';
import { railKind } from './live-options.ts';
import { addStatus } from './live-status.ts';
import { addUp } from './live-up.ts';
import { addConfigOptions, numberOption } from './options.ts';
import { printJson } from './output.ts';
import { EXIT } from './problems.ts';

const EXAMPLES = `
Examples:
  moontide live replay demo --nodes 4 --limit 300 --speed 20     # a cluster of its own
  moontide live replay demo --limit 300                          # the one of \`live up\`
  moontide live replay mooncake:trace.jsonl --nodes 4 --limit 1000 --utilisation 0.7 --json`;

const SECURITY = `
The token of the cluster is read from MOONTIDE_TOKEN. Beyond loopback it needs 24 random characters
(openssl rand -hex 16), or all members need certificates of one authority; the files can be given
as MOONTIDE_TLS_CERT, MOONTIDE_TLS_KEY and MOONTIDE_TLS_CA too. A certificate with the URI
moontide://NAME is for the member NAME alone. etcd is asked with the same certificate.
MOONTIDE_WIRE=grpc makes a process dial the others over gRPC; it takes that in any case.`;

interface ReplayFlags extends ConfigOptions {
  readonly config: string;
  readonly set: string[];
  readonly nodes?: number;
  readonly registry?: string;
  readonly dir?: string;
  readonly limit?: number;
  readonly speed: number;
  readonly utilisation?: number;
  readonly transport: string;
  readonly ssd?: string;
  readonly logs?: string;
  readonly etcd: number;
  readonly conductors: number;
  readonly json?: true;
}

interface PartFlags {
  readonly registry?: string;
  readonly hub?: string;
  readonly node?: number;
  readonly name?: string;
  readonly listen: string;
  readonly http: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
}

export function addLiveCommand(program: Command): void {
  const live = program.command('live').description('Run a cluster of real processes.');
  addUp(live);
  addStatus(live);
  addReplay(live);
  addOperations(live);
  addReplayLogCommand(live);
  addPart(live, 'agent', 'One node: its pools, its store, its engines.').requiredOption(
    '--node <n>',
    'which node of the cluster, from 0',
    numberOption('--node', 0, true),
  );
  addPart(live, 'conductor', 'The conductor, or a standby of it.').option(
    '--name <name>',
    'unique among the conductors',
    'conductor-0',
  );
}

function addReplay(live: Command): void {
  const command = live
    .command('replay')
    .description(
      'Replay a trace on the running cluster; with --nodes on one that is brought up for it.',
    )
    .argument('<trace>', 'format:path, a catalogue name (demo) or a path; - reads stdin');
  addConfigOptions(command)
    .option(
      '--nodes <n>',
      'bring up a cluster of so many nodes, the last one for decode',
      numberOption('--nodes', 2, true),
    )
    .option('--registry <url>', 'of the running cluster, its token in MOONTIDE_TOKEN')
    .option('--dir <dir>', 'where `live up` wrote the registry and the token down')
    .option('--limit <n>', 'only the first n requests', numberOption('--limit', 1, true))
    .option('--speed <x>', "the cluster's clock", numberOption('--speed', 0, false), 20)
    .option(
      '--utilisation <u>',
      'stretch the time of the trace to this load of the prefill nodes',
      numberOption('--utilisation', 0, false),
    )
    .option('--transport <kind>', 'how blocks move: local, tcp or fabric', 'local')
    .option('--ssd <dir>', 'folder for the SSDs of the nodes; a temporary one by default')
    .option('--logs <dir>', 'keep fact logs here')
    .option('--etcd <n>', 'members of a real etcd', numberOption('--etcd', 0, true), 0)
    .option('--conductors <n>', 'one leads', numberOption('--conductors', 1, true), 1)
    .option('--json', 'print the result alone, as JSON')
    .addHelpText('after', EXAMPLES)
    .action(replayLive);
}

function addPart(live: Command, role: 'agent' | 'conductor', description: string): Command {
  return live
    .command(role)
    .description(description)
    .option('--registry <url>', 'etcd://host:port,host:port/prefix or hub://host:port')
    .option('--hub <host:port>', 'short for --registry hub://host:port')
    .option('--listen <host:port>', 'where peers reach it', '127.0.0.1:0')
    .option('--http <host:port>', 'where its metrics and status are; off: nowhere', '127.0.0.1:0')
    .option('--tls-cert <file>', 'mutual TLS: own certificate, PEM')
    .option('--tls-key <file>', 'its key')
    .option('--tls-ca <file>', 'the authority that signs the certificates of the cluster')
    .addHelpText('after', SECURITY)
    .action((flags: PartFlags) => runPart(role, flags));
}

/** What a process may take to leave: its lease, its logs, what its SSD has under way. */
const LEAVE_MS = 15_000;

function warn(message: string): void {
  process.stderr.write(`moontide: ${message}\n`);
}

async function replayLive(trace: string, flags: ReplayFlags): Promise<void> {
  const { json, set, transport, nodes, registry, dir, ...rest } = flags;
  const kind = railKind(transport);
  const progress = process.stderr.isTTY ? (await import('./progress.ts')).replayProgress() : null;
  const onProgress = (requestsDone: number, requests: number) =>
    progress?.update({ requestsDone, requests, events: 0 });
  const shared = { ...rest, trace, onProgress, onWarning: warn };
  const { liveReplay, liveReplayOn } = await import('../study/live/replay.ts');
  const run = async () => {
    if (nodes !== undefined) return liveReplay({ ...shared, nodes, sets: set, transport: kind });
    if (set.length > 0) {
      throw new InputError('found --set without --nodes: the running cluster is as it was set up');
    }
    const { findCluster } = await import('../study/live/state-file.ts');
    return liveReplayOn(findCluster({ registry, dir }), shared);
  };
  const result = await run().finally(() => progress?.end());
  if (json) printJson(result);
  else {
    const { liveTable } = await import('./live-table.ts');
    process.stdout.write(liveTable(result));
  }
}

async function runPart(role: 'agent' | 'conductor', flags: PartFlags): Promise<void> {
  const { LiveMember } = await import('../runtime/live/member.ts');
  const { tlsFrom } = await import('../runtime/control/security.ts');
  const { parseRegistry } = await import('../runtime/registry/open.ts');
  const tls = tlsFrom(flags, process.env);
  const token = process.env.MOONTIDE_TOKEN || null;
  if (token === null && tls === null) {
    throw new InputError('found no MOONTIDE_TOKEN, expected the cluster token, or --tls-cert');
  }
  const { node = -1, hub, listen } = flags;
  const registry = parseRegistry(flags.registry ?? (hub === undefined ? '' : `hub://${hub}`));
  let stop: (error: unknown) => void = () => {};
  const stopped = new Promise<unknown>((resolve) => {
    stop = resolve;
  });
  const member: LiveMember = new LiveMember({
    name: role === 'agent' ? `node-${node}` : (flags.name ?? 'conductor-0'),
    role,
    node,
    listen,
    token,
    tls,
    http: flags.http === 'off' ? null : flags.http,
    registry,
    onError: (error) => stop(error),
    onDepart: () => stop(null),
    onWarning: warn,
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop(null));
  // Whoever started it is gone.
  process.stdin.on('end', () => stop(null)).on('error', () => stop(null));
  process.stdin.resume();
  member.join().catch(stop);
  const error = await stopped;
  // A registry that answers no more keeps nobody here.
  setTimeout(() => process.exit(EXIT.failed), LEAVE_MS).unref();
  await member.leave();
  process.stdin.destroy();
  if (error !== null) throw error;
}
