/** The folder of a reproduced paper: result, one offline page, every figure as SVG and PNG. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { InputError } from '../core/errors.ts';
import { pngOf } from './figure-files.ts';
import { replaceFiles } from './files.ts';
import { staticSvg } from './lab-figures.ts';
import { labHtml, type PageTable, type PageWords } from './lab-html.ts';
import type { PaperChart } from './paper-chart.ts';

export interface PaperWords extends PageWords {
  /** Every quantity; the first column names the figure. */
  readonly table: PageTable;
  /** What open knobs do; without rows it is left out. */
  readonly sensitivity: PageTable;
}

const RESULT = 'result.json';
const PAGE = 'report.html';
const TABLES = 'tables.md';
const README = 'README.md';

/**
 * A reproduction may go where nothing is, into an empty folder, or over another one.
 * @throws InputError when the folder holds anything else
 */
export function checkPaperFolder(folder: string): void {
  if (!existsSync(folder)) return;
  const expected = 'expected a new or empty folder, or one that holds a reproduction';
  if (!statSync(folder).isDirectory()) throw new InputError(`found a file, ${expected}`, folder);
  const known = (name: string) =>
    name.startsWith('.') ||
    [RESULT, PAGE, TABLES, README].includes(name) ||
    /\.(?:svg|png)$/.test(name);
  const other = readdirSync(folder).find((name) => !known(name));
  if (other !== undefined) throw new InputError(`found ${other}, ${expected}`, folder);
}

/** Writes all files or none; answers their paths. */
export async function writePaperFolder(
  folder: string,
  parts: {
    readonly charts: readonly PaperChart[];
    readonly result: unknown;
    readonly words: PaperWords;
  },
): Promise<string[]> {
  const { charts, result, words } = parts;
  const files = new Map<string, string | Uint8Array>([
    [RESULT, `${JSON.stringify(result, null, 2)}\n`],
    [PAGE, await paperHtml(words, charts)],
    [TABLES, markdown(words)],
  ]);
  for (const chart of charts) {
    const svg = await staticSvg(chart);
    files.set(`${chart.id}.svg`, svg);
    files.set(`${chart.id}.png`, pngOf(svg));
  }
  return replaceFiles(folder, files);
}

export function paperHtml(words: PaperWords, charts: readonly PaperChart[]): Promise<string> {
  const { table, sensitivity } = words;
  const more = sensitivity.rows.length === 0 ? [] : [{ title: 'Open knobs', ...sensitivity }];
  return labHtml('Moontide', words, charts, table, more);
}

/** The page's words and tables, for reading where no browser is. */
function markdown({ title, headline, facts, table, sensitivity }: PaperWords): string {
  const parts = [`# ${title}`, headline, facts.map((fact) => `- ${fact}`).join('\n')];
  parts.push('## Numbers', markdownTable(table));
  if (sensitivity.rows.length > 0) parts.push('## Open knobs', markdownTable(sensitivity));
  return `${parts.join('\n\n')}\n`;
}

function markdownTable({ head, rows }: PageTable): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
