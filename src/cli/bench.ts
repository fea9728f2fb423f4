/** `moontide bench`: what the native data plane carries on this machine. */
import type { Command } from 'commander';
import { SIZE } from '../config/units.ts';
import { InputError } from '../core/errors.ts';
import type { BenchRow } from '../study/bench/index.ts';
import { addControlBench } from './bench-control.ts';
import { addIdleBench } from './bench-idle.ts';
import { numberOption, quantityOption } from './options.ts';
import { printJson } from './output.ts';

interface Flags {
  readonly rail: string;
  readonly op: string;
  readonly block: string;
  readonly batch: string;
  readonly rails: number;
  readonly policy: string;
  readonly slice: string;
  readonly pool: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly verify?: true;
  readonly quick?: true;
  readonly json?: true;
  readonly serve?: string;
}

const EXAMPLES = `
Examples:
  moontide bench --quick
  moontide bench --rail tcp --rails 2 --policy spray --block 1MiB,16MiB --batch 8 --slice 1MiB
  moontide bench --rail local --block 64KiB --batch 1,256 --verify --json

loop: share of the time in which this process's main thread was busy, the bench's own part included,
or kept from running by others. ns/op: its CPU time per move, which others disturb less. One move
at a time is a wake-up each; where more are open, many that have ended share one.`;

export function addBenchCommand(program: Command): void {
  const whole = (flag: string) => numberOption(flag, 1, true);
  const bench = program
    .command('bench')
    .description('Measure the native data plane between two processes of this machine.')
    .option('--rail <list>', 'kinds of rails: local, tcp, fabric', 'local,tcp')
    .option('--op <list>', 'operations: read, write', 'read,write')
    .option('--block <list>', 'block sizes', '64KiB,512KiB,1MiB,4MiB')
    .option('--batch <list>', 'moves open at once', '1,32,256')
    .option('--rails <n>', 'rails of the kind on each side', whole('--rails'), 1)
    .option('--policy <spec>', 'rail policy, when there are several', 'even')
    .option('--slice <size>', 'larger blocks are cut', '1MiB')
    .option('--pool <size>', 'memory of each side', '64MiB')
    .option('--rounds <n>', 'own and baseline in turn; the best counts', whole('--rounds'), 5)
    .option('--seconds <x>', 'of each round', numberOption('--seconds', 0, false), 0.5)
    .option('--verify', 'checksum every block where it arrives')
    .option('--quick', 'a few rows in less than 20 s')
    .option('--json', 'print the rows alone, as JSON')
    .option('--serve <spec>', 'be the other side (internal)')
    .addHelpText('after', EXAMPLES)
    .action(runBench);
  addControlBench(program, bench);
  addIdleBench(bench);
}

async function runBench(given: Flags): Promise<void> {
  const study = await import('../study/bench/index.ts');
  const { parsePolicyRef } = await import('../config/policy-ref.ts');
  if (given.serve !== undefined) {
    const spec = JSON.parse(given.serve);
    const ended = new Promise<void>((resolve) => process.stdin.resume().on('end', resolve));
    const tell = (line: string) => process.stdout.write(`${line}\n`);
    await study.serveSide(spec, spec.slotBytes, tell, ended);
    return;
  }
  const quick = { block: '64KiB,1MiB', batch: '32', rounds: 3, seconds: 0.15 };
  const flags = given.quick ? { ...given, ...quick } : given;
  if (!flags.json) printHead();
  const rows = await study.bench({
    kinds: oneOf('--rail', flags.rail, ['local', 'tcp', 'fabric'] as const),
    operations: oneOf('--op', flags.op, ['read', 'write'] as const),
    blocksBytes: split(flags.block).map((text) => quantityOption('--block', SIZE, text)),
    batches: split(flags.batch).map((text) => count('--batch', text)),
    rails: flags.rails,
    policy: parsePolicyRef('rail', flags.policy, '--policy'),
    sliceBytes: quantityOption('--slice', SIZE, flags.slice),
    poolBytes: quantityOption('--pool', SIZE, flags.pool),
    verify: flags.verify === true,
    rounds: flags.rounds,
    roundNs: Math.round(flags.seconds * 1e9),
    serve: [process.execPath, process.argv[1], 'bench', '--serve'],
    onRow: flags.json ? () => {} : printRow,
  });
  if (flags.json) printJson(rows);
}

const split = (text: string): string[] => text.split(',').map((part) => part.trim());

function oneOf<T extends string>(flag: string, text: string, known: readonly T[]): T[] {
  return split(text).map((part) => {
    const found = known.find((name) => name === part);
    if (found !== undefined) return found;
    throw new InputError(`found '${part}', expected ${known.join(', ')}`, flag);
  });
}

function count(flag: string, text: string): number {
  if (/^\d+$/.test(text) && Number(text) > 0) return Number(text);
  throw new InputError(`found '${text}', expected a whole number of at least 1`, flag);
}

const WIDTHS = [6, 6, 10, 6, 8, 9, 9, 9, 9, 6, 7, 17, 6];

function line(cells: readonly string[]): void {
  const padded = cells.map((cell, i) =>
    i < 2 ? cell.padEnd(WIDTHS[i]) : cell.padStart(WIDTHS[i]),
  );
  process.stdout.write(`${padded.join(' ')}\n`);
}

function printHead(): void {
  const figures = [
    'GB/s',
    'ops/s',
    'p50 us',
    'p99 us',
    'CPUs/GB',
    'loop',
    'ns/op',
    'baseline GB/s',
    'ratio',
  ];
  line(['rail', 'op', 'block', 'batch', ...figures]);
}

function sizeText(bytes: number): string {
  if (bytes % (1 << 20) === 0) return `${bytes / (1 << 20)}MiB`;
  return bytes % 1024 === 0 ? `${bytes / 1024}KiB` : `${bytes}`;
}

function printRow(row: BenchRow): void {
  const { baseline, baselineGbPerSec, ratio } = row;
  line([
    row.rail,
    row.operation,
    sizeText(row.blockBytes),
    String(row.batch),
    row.gbPerSec.toFixed(2),
    row.opsPerSec.toFixed(0),
    (row.latencyNsP50 / 1e3).toFixed(0),
    (row.latencyNsP99 / 1e3).toFixed(0),
    row.cpuSecPerGb.toFixed(3),
    `${(row.eventLoop * 100).toFixed(0)}%`,
    row.mainNsPerOp.toFixed(0),
    baselineGbPerSec === null ? '-' : `${baseline} ${baselineGbPerSec.toFixed(2)}`,
    ratio === null ? '-' : ratio.toFixed(2),
  ]);
}
