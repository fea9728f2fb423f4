/** `moontide store bench`: the store client against one store, beside what the machine can do. */
import type { Command } from 'commander';
import { parseQuantity, SIZE } from '../config/units.ts';
import { InputError } from '../core/errors.ts';
import type { StoreBenchRow } from '../study/store/bench.ts';
import { numberOption } from './options.ts';
import { printJson } from './output.ts';
import { table } from './table.ts';

interface Flags {
  readonly rounds: number;
  readonly seconds: number;
  readonly block: string;
  readonly quick?: true;
  readonly json?: true;
}

export function addBench(store: Command): void {
  store
    .command('bench')
    .description('Measure get, put and lookups against a store on this machine.')
    .option('--rounds <n>', 'own and baseline in turn', numberOption('--rounds', 1, true), 5)
    .option('--seconds <x>', 'of each round', numberOption('--seconds', 0, false), 1)
    .option('--block <size>', 'of the store', '1MiB')
    .option('--quick', 'in less than 30 s')
    .option('--json', 'print the rows alone, as JSON')
    .addHelpText('after', '\nExamples:\n  moontide store bench --quick')
    .action(bench);
}

async function bench(flags: Flags): Promise<void> {
  const { benchStore } = await import('../study/store/bench.ts');
  const slotBytes = parseQuantity(SIZE, flags.block) ?? 0;
  if (!(slotBytes > 0) || slotBytes % 4096 !== 0) {
    throw new InputError(`found '${flags.block}', expected a multiple of 4KiB`, '--block');
  }
  const { rounds, seconds, json } = flags;
  const quick = flags.quick === true;
  const rows = await benchStore({
    rounds: quick ? 2 : rounds,
    roundMs: quick ? 250 : seconds * 1e3,
    slotBytes,
    onRow: () => {},
  });
  if (json) printJson(rows);
  else process.stdout.write(`${benchTable(rows)}\n`);
}

function benchTable(rows: readonly StoreBenchRow[]): string {
  const ratio = (figure: number, other: number | null) =>
    other === null ? '-' : (figure / other).toFixed(2);
  const cells = rows.map((row) => {
    const { what, path, sizeBytes, batch, clients, figure, baseline, mooncake } = row;
    const isFind = what === 'find';
    return [
      what,
      path,
      isFind ? `${batch} keys` : `${sizeBytes / 2 ** 20}MiB x ${batch}`,
      String(clients),
      isFind ? `${Math.round(figure)}/s` : `${figure.toFixed(2)} GB/s`,
      baseline === null ? '-' : baseline.toFixed(2),
      ratio(figure, baseline),
      mooncake === null ? '-' : String(mooncake),
      ratio(figure, mooncake),
    ];
  });
  const head = ['', 'path', 'size', 'calls', 'figure', 'baseline GB/s', 'ratio', 'Mooncake'];
  return table([...head, 'ratio'], cells, [1, 2]);
}
