/** `moontide live replay-log` and `moontide trace from-log`: what logs of live runs are for. */
import type { Command } from 'commander';
import { InputError } from '../core/errors.ts';
import type { LogReplay, MachineReplay } from '../study/live/replay-log.ts';
import type { ShadowReport } from '../study/live/shadow.ts';
import type { Arrivals } from '../study/live/trace-from-log.ts';
import { integer, percent } from './format.ts';
import { collect } from './options.ts';
import { printJson } from './output.ts';
import { EXIT } from './problems.ts';
import { paint, table } from './table.ts';

const REPLAY_EXAMPLES = `
Examples:
  moontide live replay demo --logs logs && moontide live replay-log logs
  moontide live replay-log logs --shadow prefill=least-loaded --shadow eviction=./mine.ts`;

const TRACE_EXAMPLE = `
Example:
  moontide trace from-log logs -o trace.jsonl && moontide replay trace.jsonl`;

interface ReplayLogFlags {
  readonly shadow: string[];
  readonly json?: true;
}

export function addReplayLogCommand(live: Command): void {
  live
    .command('replay-log')
    .description('Feed recorded facts to the machines again: every command must be identical.')
    .argument('<dir>', 'folder that live replay --logs wrote')
    .option(
      '--shadow <kind=policy>',
      'count where this policy would have decided otherwise, may be repeated',
      collect,
      [],
    )
    .option('--json', 'print the result alone, as JSON')
    .addHelpText('after', REPLAY_EXAMPLES)
    .action(replayLog);
}

async function replayLog(folder: string, { shadow, json }: ReplayLogFlags): Promise<void> {
  const { replayLogs } = await import('../study/live/replay-log.ts');
  const bar = process.stderr.isTTY ? (await import('./progress.ts')).countProgress('logs') : null;
  const onProgress = (done: number, logs: number) => bar?.update(done, logs);
  const replay = await replayLogs(folder, { shadows: shadow, onProgress }).finally(() => {
    bar?.end();
  });
  if (json) printJson(replay);
  else process.stdout.write(replayText(replay));
  if (!replay.identical) process.exitCode = EXIT.failed;
}

function replayText(replay: LogReplay): string {
  const head = ['machine', 'process', 'segments', 'facts', 'commands', 'end', 'replay'];
  const texts = [table(head, replay.machines.map(machineRow), [1, 5, 6])];
  for (const { machine, difference } of replay.machines) {
    if (difference !== null) texts.push(`${machine}: ${difference.message}`);
  }
  const cut = replay.machines.filter(({ closed }) => !closed);
  if (cut.length > 0) texts.push(cutText(cut));
  if (replay.unlogged.length > 0) texts.push(`no log of ${replay.unlogged.join(', ')}`);
  if (replay.version !== replay.recordedBy) {
    texts.push(`recorded by version ${replay.recordedBy}, replayed by ${replay.version}`);
  }
  if (replay.shadows.length > 0) texts.push(shadowText(replay.shadows));
  const total = `${integer(replay.facts)} facts, ${integer(replay.commands)} commands`;
  const verdict = replay.identical
    ? paint('green', 'all commands are identical')
    : paint('red', 'the replay differs');
  return `${[...texts, `${total}: ${verdict}`].join('\n')}\n`;
}

/** Logs without an end of their own: what they hold is whole. */
function cutText(cut: readonly MachineReplay[]): string {
  const tornBytes = cut.reduce((sum, one) => sum + one.tornBytes, 0);
  const names = cut.map(
    ({ machine, member, incarnation }) => `${machine} in ${member}.${incarnation}`,
  );
  const torn = tornBytes > 0 ? `, less ${integer(tornBytes)} B of a torn piece` : '';
  return `killed, or still at work, and read up to there${torn}: ${names.join(', ')}`;
}

function machineRow(replay: MachineReplay): string[] {
  const { machine, member, incarnation, life, segments, facts, commands, difference } = replay;
  return [
    life === 1 ? machine : `${machine} (${life})`,
    `${member}.${incarnation}`,
    integer(segments),
    integer(facts),
    integer(commands),
    endOf(replay),
    difference === null ? 'identical' : paint('red', `differs at fact ${difference.fact}`),
  ];
}

function endOf({ closed, tornBytes, missing }: MachineReplay): string {
  const end = closed ? 'stopped' : tornBytes > 0 ? `cut, ${tornBytes} B torn` : 'cut';
  return missing > 0 ? `${end}, ${integer(missing)} facts missing` : end;
}

function shadowText(shadows: readonly ShadowReport[]): string {
  const rows = shadows.flatMap(({ kind, recorded, other, counts }) => {
    const names = [kind, recorded, other];
    if (counts.length === 0) return [[...names, '-', '0', '0', '-', 'it was never asked']];
    return counts.map(({ question, decisions, disagreements, by }) => {
      const parts = Object.entries(by).filter(([what]) => what !== 'answer');
      return [
        ...names,
        question,
        integer(decisions),
        integer(disagreements),
        percent(disagreements / decisions),
        parts.map(([what, count]) => `${integer(count)} another ${what}`).join(', '),
      ];
    });
  });
  const head = ['shadow', 'recorded', 'other', 'asked', 'decisions', 'otherwise', '', ''];
  return `\n${table(head, rows, [1, 2, 3, 7])}\n`;
}

interface FromLogFlags {
  readonly output: string;
  readonly arrivals: string;
  readonly ingress?: string;
}

export function addFromLogCommand(trace: Command): void {
  trace
    .command('from-log')
    .description('The workload of a live run, as Mooncake JSONL.')
    .argument('<dir>', 'folder that live replay --logs wrote')
    .requiredOption('-o, --output <file>', 'where to write it; - for stdout')
    .option('--arrivals <which>', 'planned, or sent: when the ingress got to it', 'planned')
    .option('--ingress <name>', 'whose workload, where several have played')
    .addHelpText('after', TRACE_EXAMPLE)
    .action(fromLog);
}

async function fromLog(folder: string, flags: FromLogFlags): Promise<void> {
  const { ARRIVALS, traceFromLog } = await import('../study/live/trace-from-log.ts');
  const { writeMooncake } = await import('../trace/index.ts');
  const { output, arrivals, ingress } = flags;
  if (!(ARRIVALS as readonly string[]).includes(arrivals)) {
    throw new InputError(`found ${arrivals}, expected ${ARRIVALS.join(' or ')}`, '--arrivals');
  }
  const trace = traceFromLog(folder, {
    arrivals: arrivals as Arrivals,
    ...(ingress === undefined ? {} : { ingress }),
  });
  await writeMooncake(trace, output === '-' ? process.stdout : output);
  if (output === '-') return;
  const text = `${integer(trace.requests)} requests to ${output}, sha256 ${trace.sha256}`;
  process.stderr.write(`${text}\n`);
}
