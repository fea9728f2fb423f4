/** `moontide replay TRACE`: the main job. */
import type { Command } from 'commander';
import type { ReplayOptions } from '../study/replay.ts';
import { addConfigOptions, numberOption } from './options.ts';
import { printJson } from './output.ts';

interface Flags {
  readonly config: string;
  readonly set: string[];
  readonly prefill?: string;
  readonly decode?: string;
  readonly eviction?: string;
  readonly admission?: string;
  readonly seed?: number;
  readonly limit?: number;
  readonly rate?: number;
  readonly json?: true;
}

const EXAMPLES = `
Examples:
  moontide replay demo
  moontide replay mooncake:conversation_trace.jsonl --prefill least-loaded --limit 2000
  moontide replay demo --eviction arc --set cluster.groups.0.dram=500GB --json`;

export function addReplayCommand(program: Command): void {
  const command = program
    .command('replay')
    .description('Replay a trace through a simulated cluster.')
    .argument('<trace>', 'format:path, a catalogue name (demo) or a path; - reads stdin');
  addConfigOptions(command)
    .option('--limit <n>', 'only the first n requests', numberOption('--limit', 1, true))
    .option('--rate <x>', 'multiply the arrival rate', numberOption('--rate', 0, false))
    .option('--json', 'print the result alone, as JSON')
    .addHelpText('after', EXAMPLES)
    .action(runReplay);
}

async function runReplay(trace: string, flags: Flags): Promise<void> {
  const { replay } = await import('../study/replay.ts');
  const { json, set, ...rest } = flags;
  const progress = process.stderr.isTTY ? (await import('./progress.ts')).replayProgress() : null;
  const options: ReplayOptions = {
    trace,
    sets: set,
    ...rest,
    ...(progress === null ? {} : { onProgress: progress.update }),
  };
  const run = await replay(options).finally(() => progress?.end());
  if (json) printJson(run.result);
  else {
    const { replayTable } = await import('./replay-table.ts');
    process.stdout.write(replayTable(run));
  }
}
