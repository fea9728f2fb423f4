/** `moontide live up`: a whole cluster on this machine, in the foreground. */
import type { Command } from 'commander';
import type { ConfigOptions } from '../config/load.ts';
import { railKind } from './live-options.ts';
import { addConfigOptions, numberOption } from './options.ts';
import { paint, table } from './table.ts';

const EXAMPLES = `
Examples:
  moontide live up --nodes 4
  moontide live up --nodes 4 --etcd 3 --spares 1      # then: live join 3
  moontide live status; moontide live replay demo --limit 300`;

interface UpFlags extends ConfigOptions {
  readonly config: string;
  readonly set: string[];
  readonly nodes: number;
  readonly spares: number;
  readonly etcd: number;
  readonly conductors: number;
  readonly speed: number;
  readonly transport: string;
  readonly blockTokens: number;
  readonly blocks: number;
  readonly listen?: string;
  readonly store?: string;
  readonly dir?: string;
  readonly logs?: string;
}

export function addUp(live: Command): void {
  const command = live
    .command('up')
    .description('Bring up a cluster on this machine and keep it up until Ctrl-C.');
  addConfigOptions(command)
    .option('--nodes <n>', 'nodes, one of them for decode', numberOption('--nodes', 2, true), 4)
    .option('--spares <n>', 'nodes that may join later', numberOption('--spares', 0, true), 0)
    .option('--etcd <n>', 'members of a real etcd', numberOption('--etcd', 0, true), 0)
    .option('--conductors <n>', 'one leads', numberOption('--conductors', 1, true), 2)
    .option('--speed <x>', "the cluster's clock", numberOption('--speed', 0, false), 20)
    .option('--transport <kind>', 'how blocks move: local, tcp or fabric', 'local')
    .option('--block-tokens <n>', 'of a block', numberOption('--block-tokens', 1, true), 512)
    .option('--blocks <n>', 'distinct blocks at most', numberOption('--blocks', 1, true), 1 << 20)
    .option('--listen <host:port>', 'of the registry in memory (default: a free port)')
    .option('--store <size>', 'memory for objects on every node: moontide store put, get, …')
    .option('--dir <dir>', 'where the registry and the token are written down')
    .option('--logs <dir>', 'keep fact logs here')
    .addHelpText('after', EXAMPLES)
    .action(up);
}

async function up(flags: UpFlags): Promise<void> {
  const { liveUp } = await import('../study/live/up.ts');
  const { set, transport, logs = null, ...rest } = flags;
  let stop: () => void = () => {};
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  const warn = (message: string) => process.stderr.write(`moontide: ${message}\n`);
  const started = liveUp({
    ...rest,
    sets: set,
    transport: railKind(transport),
    logs,
    onWarning: warn,
  });
  const cluster = await started;
  const { nodes, conductors, etcd, speed } = flags;
  const rows = [
    ['nodes', `${nodes}, ${conductors} conductors, block ${cluster.blockBytes} B`],
    ['registry', `${cluster.registry}${etcd > 0 ? '' : ' (in memory)'}`],
    ['token in', `${cluster.folder}/cluster.json`],
    ['next', 'moontide live status · moontide live replay demo --limit 300'],
  ];
  process.stdout.write(`${table(['cluster', `up, speed ${speed}`], rows, [1])}\n`);
  process.stdout.write(`${paint('dim', 'Ctrl-C takes it down.')}\n`);
  await stopped;
  await cluster.stop();
}
