/** `moontide trace info|analyse|generate|fetch`. */
import type { Command } from 'commander';
import { InputError } from '../core/errors.ts';
import type { TraceInfo } from '../trace/info.ts';
import { bytes, duration, integer, percent } from './format.ts';
import { addFromLogCommand } from './live-log.ts';
import { numberOption } from './options.ts';
import { printJson } from './output.ts';

export function addTraceCommand(program: Command): void {
  const trace = program.command('trace').description('Describe, generate and fetch traces.');
  trace
    .command('info')
    .description('What a trace is: lengths, arrivals, reuse.')
    .argument('<trace>', 'format:path, a catalogue name (demo) or a path; - reads stdin')
    .option('--limit <n>', 'only the first n requests', numberOption('--limit', 1, true))
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExample:\n  moontide trace info demo')
    .action(showInfo);
  trace
    .command('analyse')
    .description('How a trace reuses blocks: distance, popularity, working set, prefix tree.')
    .argument('<trace>', 'format:path, a catalogue name (demo) or a path; - reads stdin')
    .option('-o, --output <file>', 'write the figures as an HTML page')
    .option('--json', 'print all of it as JSON')
    .addHelpText('after', '\nExample:\n  moontide trace analyse demo -o demo.html')
    .action(analyse);
  trace
    .command('generate')
    .description('Make a trace from a specification.')
    .argument('<spec>', 'YAML specification, or demo')
    .requiredOption('-o, --output <file>', 'where to write Mooncake JSONL; - for stdout')
    .option('--seed <n>', "in place of the specification's seed", numberOption('--seed', 0, true))
    .addHelpText('after', '\nExample:\n  moontide trace generate demo -o demo.jsonl')
    .action(generateTrace);
  trace
    .command('fetch')
    .description('Fetch a public trace into the cache folder and verify it.')
    .argument('[name]', 'a catalogue name; without it the catalogue is listed')
    .option('--from <dir>', 'take the file from this folder instead of the network')
    .addHelpText('after', '\nExample:\n  moontide trace fetch conversation')
    .action(fetchOne);
  addFromLogCommand(trace);
}

async function showInfo(name: string, flags: { limit?: number; json?: true }): Promise<void> {
  const { openTrace, traceInfo } = await import('../trace/index.ts');
  const { limit } = flags;
  const info = traceInfo(await openTrace(name, limit === undefined ? {} : { limit }));
  if (flags.json) printJson(info);
  else process.stdout.write(infoTable(info));
}

function infoTable(info: TraceInfo): string {
  const { inputTokens, outputTokens, blocks, reuse, sessions, arrivals } = info;
  const rate = info.requestsPerSecond === null ? '-' : `${info.requestsPerSecond.toFixed(2)}/s`;
  const tokens = (d: TraceInfo['inputTokens']) =>
    `mean ${integer(d.mean)}, p50 ${integer(d.p50)}, p90 ${integer(d.p90)}, ` +
    `p99 ${integer(d.p99)}, max ${integer(d.max)}`;
  const rows: [string, string][] = [
    ['requests', `${integer(info.requests)} in ${duration(info.durationNs)}, ${rate}`],
    ['input tokens', tokens(inputTokens)],
    ['output tokens', tokens(outputTokens)],
    [
      'blocks',
      `${integer(blocks.accesses)} accesses to ${integer(blocks.distinct)} blocks of ` +
        `${info.blockTokens} tokens; the hottest is in ${percent(blocks.hottestShare)} of requests`,
    ],
    ['reuse', `${percent(reuse.blocksRatio)} of blocks with unlimited capacity`],
    ['bursts', burstsOf(arrivals)],
  ];
  if (sessions !== null) {
    const turns = (info.requests / sessions.count).toFixed(2);
    rows.push(['sessions', `${integer(sessions.count)}, ${turns} requests each`]);
  }
  rows.push(['sha256', info.sha256]);
  return `${rows.map(([name, text]) => `${name.padEnd(14)} ${text}`).join('\n')}\n`;
}

function burstsOf(arrivals: TraceInfo['arrivals']): string {
  const { gapVariation, burstPeriodNs, requestsPerBurst } = arrivals;
  const every =
    burstPeriodNs === null
      ? 'no dominant period'
      : `every ${duration(burstPeriodNs)}, ${(requestsPerBurst ?? 0).toFixed(1)} requests each`;
  const cv = gapVariation === null ? '-' : gapVariation.toFixed(2);
  return `${every}; coefficient of variation of the gaps ${cv}`;
}

async function analyse(name: string, flags: { output?: string; json?: true }): Promise<void> {
  const { openTrace } = await import('../trace/index.ts');
  const { analyseTrace } = await import('../study/cache/index.ts');
  const words = await import('./analysis-table.ts');
  const analysis = analyseTrace(await openTrace(name));
  if (flags.output !== undefined) {
    const { writeAnalysisPage } = await import('../report/lab-page.ts');
    const written = await writeAnalysisPage(flags.output, {
      ...analysis,
      title: name,
      headline: words.analysisHeadline(analysis),
      facts: [...words.analysisFacts(analysis), `sha256 ${analysis.sha256}`],
    });
    process.stderr.write(`wrote ${written}\n`);
  }
  if (flags.json) printJson(analysis);
  else process.stdout.write(`\n${words.analysisTable(analysis)}\n\n`);
}

interface GenerateFlags {
  readonly output: string;
  readonly seed?: number;
}

async function generateTrace(spec: string, flags: GenerateFlags): Promise<void> {
  const { openTrace, writeMooncake } = await import('../trace/index.ts');
  const { seed } = flags;
  const trace = await openTrace(spec, seed === undefined ? {} : { seed });
  await writeMooncake(trace, flags.output === '-' ? process.stdout : flags.output);
  if (flags.output === '-') return;
  const text = `${integer(trace.requests)} requests to ${flags.output}, sha256 ${trace.sha256}`;
  process.stderr.write(`${text}\n`);
}

async function fetchOne(name: string | undefined, flags: { from?: string }): Promise<void> {
  const { fetchTrace, loadCatalogue } = await import('../trace/index.ts');
  if (name === undefined) {
    if (flags.from !== undefined) throw new InputError('found no name, expected one', '--from');
    for (const [known, entry] of Object.entries(loadCatalogue())) {
      process.stdout.write(`${known.padEnd(18)} ${entry.description} (${entry.licence})\n`);
    }
    return;
  }
  const fetched = await fetchTrace(name, flags.from === undefined ? {} : { from: flags.from });
  const state = fetched.cached ? 'in the cache' : 'fetched';
  const check = fetched.verified ? 'verified' : 'its checksum is not published, kept for later';
  process.stdout.write(`${fetched.path}\n`);
  process.stderr.write(`${state}, ${bytes(fetched.sizeBytes)}, ${check}\n`);
}
