/** `moontide report RUN…`: runs as one HTML report, and as figures. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { InputError } from '../core/errors.ts';
import { printJson } from './output.ts';

interface Flags {
  readonly output?: string;
  readonly svg?: string;
  readonly png?: string;
  readonly theme: string;
  readonly json?: true;
}

const EXAMPLES = `
Without -o, --svg or --png the report goes to RUN/report.html, that of several runs to report.html.

Examples:
  moontide replay demo -o runs/lru && moontide replay demo --eviction arc -o runs/arc
  moontide report runs/lru runs/arc -o compare.html
  moontide report runs/lru --svg figures --png figures`;

export function addReportCommand(program: Command): void {
  program
    .command('report')
    .description('Show runs, or compare them, as an HTML report or as figures.')
    .argument('<run...>', 'folders that replay -o wrote')
    .option('-o, --output <file>', 'where to write the HTML report')
    .option('--svg <dir>', 'write every figure as SVG')
    .option('--png <dir>', 'write every figure as PNG')
    .option('--theme <name>', 'light or dark figures', 'light')
    .option('--json', 'print the key figures of the runs, as JSON')
    .addHelpText('after', EXAMPLES)
    .action(writeReports);
}

async function writeReports(folders: string[], flags: Flags): Promise<void> {
  const { svg, png, theme, json } = flags;
  if (theme !== 'light' && theme !== 'dark') {
    throw new InputError(`found ${JSON.stringify(theme)}, expected light or dark`, '--theme');
  }
  const { readRuns } = await import('../report/run-folder.ts');
  const { pageData } = await import('../report/page-data.ts');
  const runs = await readRuns(folders);
  const page = pageData(runs);
  const figures = svg !== undefined || png !== undefined;
  if (figures) {
    const { writeFigures } = await import('../report/figure-files.ts');
    const written = await writeFigures(page, theme, { svg, png });
    const where = [...new Set([svg, png])].filter((folder) => folder !== undefined);
    process.stderr.write(`wrote ${written.length} figures to ${where.join(' and ')}\n`);
  }
  if (flags.output !== undefined || !figures) {
    const { writeReport } = await import('../report/html.ts');
    const usual = folders.length === 1 ? join(folders[0], 'report.html') : 'report.html';
    process.stderr.write(`wrote ${writeReport(flags.output ?? usual, runs, page)}\n`);
  }
  if (json) {
    const { statsOf } = await import('../report/page/stats.ts');
    printJson(page.runs.map((run) => ({ run: run.name, ...statsOf(page, run, null) })));
  }
}
