/** `moontide reproduce fast25`: a paper's figures, rerun and laid over its own points. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';
import type { Reproduction, Row, SensitivityRow } from '../study/reproduce/index.ts';
import { collect } from './options.ts';
import { printJson } from './output.ts';
import { paint, table } from './table.ts';

interface Flags {
  readonly trace: string[];
  readonly output?: string;
  readonly json?: true;
  readonly paperData?: string;
  readonly sensitivity?: true;
}

/** Threads that simulate; more gain nothing where memory bandwidth ends. */
const WORKERS = 2;

const EXAMPLES = `
Examples:
  moontide reproduce fast25 --trace conversation=mooncake:conversation_trace.jsonl -o fast25
  moontide reproduce fast25 --trace conversation --trace toolagent --json
  moontide reproduce fast25 --trace conversation --sensitivity`;

export function addReproduceCommand(program: Command): void {
  program
    .command('reproduce')
    .description("Rerun a paper's figures and lay them over its own points.")
    .argument('<paper>', 'fast25: Mooncake, FAST 2025')
    .option(
      '--trace <name=trace>',
      'conversation, toolagent or synthetic, and where it is; may be repeated',
      collect,
      [],
    )
    .option('--paper-data <file>', "JSON with more of the paper's numbers")
    .option('--sensitivity', 'what each knob does that the paper leaves open')
    .option('-o, --output <dir>', 'write result, page (HTML), tables and figures (SVG, PNG) here')
    .option('--json', 'print the rows alone, as JSON')
    .addHelpText('after', EXAMPLES)
    .action(runReproduce);
}

async function runReproduce(paper: string, flags: Flags): Promise<void> {
  const { PAPERS, parsePaperData, reproduce } = await import('../study/reproduce/index.ts');
  if (!(PAPERS as readonly string[]).includes(paper)) {
    throw new InputError(`found the paper "${paper}", expected ${oneOf(paper, PAPERS)}`);
  }
  const { json, output, paperData, sensitivity } = flags;
  const more = paperData === undefined ? {} : parsePaperData(readText(paperData), paperData);
  if (output !== undefined) {
    (await import('../report/paper-page.ts')).checkPaperFolder(output);
  }
  const bar = process.stderr.isTTY ? await runsProgress() : null;
  const reproduction = await reproduce({
    traces: tracesOf(flags.trace),
    paperData: more,
    sensitivity: sensitivity ?? false,
    workers: WORKERS,
    workerUrl: new URL('../study/reproduce/worker.js', import.meta.url),
    ...(bar === null ? {} : { onProgress: bar.update }),
  }).finally(() => bar?.end());
  const { charts, ...result } = reproduction;
  if (output !== undefined) {
    const { writePaperFolder } = await import('../report/paper-page.ts');
    await writePaperFolder(output, { charts, result, words: wordsOf(reproduction) });
    process.stderr.write(`wrote ${output}\n`);
  }
  if (json) printJson(result);
  else process.stdout.write(`\n${textOf(reproduction)}\n\n`);
}

/** `NAME=TRACE`; a name alone stands for the trace of that name in the catalogue. */
function tracesOf(given: readonly string[]): Record<string, string> {
  const traces: Record<string, string> = {};
  for (const entry of given) {
    const [, name, trace] = /^([\w-]+)(?:=(.+))?$/.exec(entry) ?? [];
    if (name === undefined) {
      throw new InputError(`found "${entry}", expected NAME=TRACE`, '--trace');
    }
    if (Object.hasOwn(traces, name)) {
      throw new InputError(`found ${name} twice, expected one trace each`, '--trace');
    }
    traces[name] = trace ?? name;
  }
  return traces;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    throw new InputError('found no such file, expected JSON of figures', path);
  }
}

async function runsProgress() {
  const { countProgress } = await import('./progress.ts');
  return countProgress('runs');
}

// --- words --------------------------------------------------------------------------------------

const HEAD = ['figure', 'workload', 'quantity', 'paper', 'ours', 'error', 'basis'];

function number(value: number | null): string {
  return value === null ? '-' : String(Number(value.toPrecision(4)));
}

function errorText(error: number | null): string {
  if (error === null) return '';
  return `${error < 0 ? '' : '+'}${(100 * error).toFixed(1)} %`;
}

function rowText({ figure, workload, quantity, paper, ours, error, basis }: Row): string[] {
  return [figure, workload, quantity, number(paper), number(ours), errorText(error), basis];
}

/** What the table of knobs shows, by figure and quantity; `*` stands for the workload. */
const KNOB_COLUMNS: readonly (readonly [head: string, figure: string, quantity: string])[] = [
  ['global', 'fig5MeanTtftSeconds', 'global-cache-aware'],
  ['local', 'fig5MeanTtftSeconds', 'local-cache-aware'],
  ['balancing', 'fig5MeanTtftSeconds', 'load-balancing'],
  ['random', 'fig5MeanTtftSeconds', 'random'],
  ['GPU s', 'fig8MeanPrefillGpuSeconds', '*.mooncake'],
  ['copies 10', 'fig11ReplicaCount', 'final.rank10'],
  ['copies 100', 'fig11ReplicaCount', 'final.rank100'],
  ['falls', 'fig11ReplicaCount', 'falls.rank1000'],
  ...['mooncake', 'vllm', 'vllm-prefix', 'vllm-chunked'].map(
    (system) => [system, 'fig1EffectiveCapacityPercent', system] as const,
  ),
  ...['baseline', 'early', 'predictive'].map(
    (name) => [name, 'arxivTable3Rejected', name] as const,
  ),
  ...['baseline', 'early', 'predictive'].map(
    (name) => [`8P+2D ${name}`, 'arxivTable3Rejected', `fewDecodeNodes.${name}`] as const,
  ),
];
const KNOB_HEAD = ['knob', 'value', ...KNOB_COLUMNS.map(([head]) => head)];

/** A row for each value of a knob, below one with the paper's numbers. */
function knobRows({ sensitivity }: Reproduction): string[][] {
  return sensitivity.flatMap((row) => {
    const cells = (of: 'paper' | 'ours') => KNOB_COLUMNS.map((column) => knobCell(row, column, of));
    const own = [row.knob, row.value, ...cells('ours')];
    return row.chosen ? [['paper', row.workload, ...cells('paper')], own] : [own];
  });
}

/** One number, or those of a list with strokes between. */
function knobCell(
  { workload, rows }: SensitivityRow,
  [, figure, quantity]: (typeof KNOB_COLUMNS)[number],
  of: 'paper' | 'ours',
): string {
  const path = quantity.replace('*', workload);
  const found = rows.filter(
    (row) =>
      row.figure === figure &&
      (row.quantity === path || row.quantity.replace(/\.\d+$/, '') === path),
  );
  return found.map((row) => short(row[of])).join('/');
}

/** Three digits. */
function short(value: number | null): string {
  return value === null ? '-' : String(Number(value.toPrecision(3)));
}

function textOf(reproduction: Reproduction): string {
  const { rows, notes, sensitivity } = reproduction;
  const parts = [
    table(HEAD, rows.map(rowText), [1, 2]),
    ...(sensitivity.length === 0
      ? []
      : [
          paint(
            'bold',
            'One knob changed; empty: not touched. Figure 5 (s), 8, 11, 1 (%), Table 3',
          ),
          table(KNOB_HEAD, knobRows(reproduction), [1]),
        ]),
    notes.join('\n'),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

/** What the page says beside its figures. */
function wordsOf(reproduction: Reproduction) {
  const { rows, notes, knobs, traces, version } = reproduction;
  const named = Object.entries(traces).map(
    ([name, { requests, sha256 }]) => `${name}: ${requests} requests, sha256 ${sha256}`,
  );
  return {
    title: 'Mooncake, FAST 2025, reproduced',
    headline:
      'One shared configuration. Constants are fitted to Figures 12 and 14 alone; what the paper ' +
      'leaves open has one value for all figures and its source beside it.',
    facts: [
      ...named,
      ...knobs.map(({ name, value, doc }) => `${name}: ${value}. ${doc}`),
      ...notes,
      `version ${version}`,
    ],
    table: { head: HEAD, rows: rows.map(rowText) },
    sensitivity: { head: KNOB_HEAD, rows: knobRows(reproduction) },
  };
}
