/** `moontide bench idle`: what a cluster costs that has nothing to do. */
import type { Command } from 'commander';
import type { IdleResult } from '../study/bench/idle.ts';
import { numberOption } from './options.ts';
import { printJson } from './output.ts';
import { table } from './table.ts';

interface Flags {
  readonly nodes: number;
  readonly conductors: number;
  readonly etcd: number;
  readonly requests: number;
  readonly settle: number;
  readonly seconds: number;
  readonly json?: true;
}

const EXAMPLES = `
Examples:
  moontide bench idle
  moontide bench idle --etcd 3 --requests 100 --seconds 60 --json`;

export function addIdleBench(bench: Command): void {
  const whole = (flag: string, least: number) => numberOption(flag, least, true);
  bench
    .command('idle')
    .description('CPU and memory, without pools, of a cluster that has nothing to do.')
    .option('--nodes <n>', 'agents', whole('--nodes', 2), 4)
    .option('--conductors <n>', 'one leads', whole('--conductors', 1), 1)
    .option('--etcd <n>', 'members of a real etcd; 0: none', whole('--etcd', 0), 0)
    .option('--requests <n>', 'that it serves before', whole('--requests', 0), 0)
    .option('--settle <x>', 'seconds before', numberOption('--settle', 0, false), 10)
    .option('--seconds <x>', 'measured', numberOption('--seconds', 0, false), 30)
    .option('--json', 'print the result alone, as JSON')
    .addHelpText('after', EXAMPLES)
    .action(runIdleBench);
}

async function runIdleBench({ json, settle, ...rest }: Flags): Promise<void> {
  const { idleBench } = await import('../study/bench/idle.ts');
  const result = await idleBench({ ...rest, settleSec: settle });
  if (json) printJson(result);
  else process.stdout.write(`${idleTable(result)}\n`);
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
const ofCore = (ratio: number): string => `${(100 * ratio).toFixed(2)} %`;

function idleTable({ processes, cpuRatio, withoutPoolsBytesMax }: IdleResult): string {
  const rows = processes.map((one) => [
    one.name,
    ofCore(one.cpuRatio),
    megabytes(one.withoutPoolsBytes),
    megabytes(one.privateBytes),
    megabytes(one.poolBytes),
  ]);
  rows.push(['together', ofCore(cpuRatio), `at most ${megabytes(withoutPoolsBytesMax)}`, '', '']);
  return table(['process', 'of a core', 'memory', 'of that its own', 'pools'], rows);
}
