/** `moontide replay TRACE`: the main job. */
import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import type { ConfigOptions } from '../config/load.ts';
import type { Topology } from '../core/topology.ts';
import type { Replay, ReplayOptions } from '../study/replay.ts';
import { addConfigOptions, numberOption } from './options.ts';
import { printJson } from './output.ts';

interface Flags extends ConfigOptions {
  readonly config: string;
  readonly set: string[];
  readonly scenario?: string;
  readonly limit?: number;
  readonly rate?: number;
  readonly output?: string;
  readonly perfetto?: string;
  readonly json?: true;
}

const EXAMPLES = `
Examples:
  moontide replay demo
  moontide replay mooncake:conversation_trace.jsonl --prefill least-loaded --limit 2000
  moontide replay demo --eviction arc --set cluster.groups.0.dram=500GB --json
  moontide replay demo -o runs/demo --perfetto demo.json.gz`;

export function addReplayCommand(program: Command): void {
  const command = program
    .command('replay')
    .description('Replay a trace through a simulated cluster.')
    .argument('<trace>', 'format:path, a catalogue name (demo) or a path; - reads stdin');
  addConfigOptions(command)
    .option('--scenario <file>', 'what happens to the cluster meanwhile (YAML)')
    .option('--limit <n>', 'only the first n requests', numberOption('--limit', 1, true))
    .option('--rate <x>', 'multiply the arrival rate', numberOption('--rate', 0, false))
    .option('-o, --output <dir>', 'write result, tables (Parquet) and report (HTML) here')
    .option('--perfetto <file>', 'write a trace for ui.perfetto.dev; a name in .gz is compressed')
    .option('--json', 'print the result alone, as JSON')
    .addHelpText('after', EXAMPLES)
    .action(runReplay);
}

async function runReplay(trace: string, flags: Flags): Promise<void> {
  const { replay } = await import('../study/replay.ts');
  const { json, set, output, perfetto, ...rest } = flags;
  // Before the run: a folder that cannot be written should not cost one.
  if (output !== undefined) (await import('../report/run-folder.ts')).checkRunFolder(output);
  const tracing = perfetto === undefined ? null : await perfettoTrace(perfetto);
  const progress = process.stderr.isTTY ? (await import('./progress.ts')).replayProgress() : null;
  const options: ReplayOptions = {
    trace,
    sets: set,
    ...rest,
    sampled: output !== undefined,
    ...(tracing === null ? {} : { observe: tracing.observe }),
    ...(progress === null ? {} : { onProgress: progress.update }),
  };
  const run = await replay(options)
    .catch((error) => {
      tracing?.discard();
      throw error;
    })
    .finally(() => progress?.end());
  await tracing?.finish();
  if (output !== undefined) await writeFolder(output, run);
  if (json) printJson(run.result);
  else {
    const { replayTable } = await import('./replay-table.ts');
    process.stdout.write(replayTable(run));
  }
}

/** A Perfetto trace that begins with the run. */
async function perfettoTrace(path: string) {
  const { PerfettoTrace } = await import('../report/perfetto.ts');
  let trace: InstanceType<typeof PerfettoTrace> | null = null;
  return {
    observe: (topology: Topology) => {
      trace = new PerfettoTrace(path, topology);
      return [trace];
    },
    finish: () => trace?.finish(),
    discard: () => trace?.discard(),
  };
}

async function writeFolder(folder: string, { result, samples }: Replay): Promise<void> {
  const { writeRun } = await import('../report/run-folder.ts');
  const name = basename(resolve(folder));
  writeRun(folder, { name, result, ...samples! });
  process.stderr.write(`wrote ${folder}\n`);
}
