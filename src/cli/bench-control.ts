/** `moontide bench control`: decisions per second of the real conductor. */
import type { Command } from 'commander';
import type { ControlResult } from '../study/bench/control.ts';
import { numberOption } from './options.ts';
import { printJson } from './output.ts';

interface Flags {
  readonly agents: number;
  readonly rate: number;
  readonly seconds: number;
  readonly warm: number;
  readonly blocks: number;
  readonly etcd: number;
  readonly logs?: string;
  readonly set: string[];
  readonly keep: number;
  readonly realTime?: true;
  readonly quick?: true;
  readonly json?: true;
  readonly part?: string;
}

const EXAMPLES = `
Examples:
  moontide bench control --quick
  moontide bench control --rate 2000 --seconds 60 --warm 20 --etcd 1 --real-time`;

const append = (value: string, before: string[]): string[] => [...before, value];

export function addControlBench(program: Command, bench: Command): void {
  // Options after the name are its own.
  program.enablePositionalOptions();
  bench
    .enablePositionalOptions()
    .command('control')
    .description(
      'Decisions of a real conductor on one core, under the messages of a whole cluster.',
    )
    .option('--agents <n>', 'nodes, a quarter for decode', numberOption('--agents', 2, true), 64)
    .option('--rate <n>', 'requests per second', numberOption('--rate', 1, false), 2000)
    .option('--seconds <x>', 'measured', numberOption('--seconds', 0, false), 60)
    .option('--warm <x>', 'seconds before', numberOption('--warm', 0, false), 10)
    .option('--blocks <n>', 'blocks of a prompt', numberOption('--blocks', 2, true), 24)
    .option('--keep <n>', 'blocks that a node keeps', numberOption('--keep', 1, true), 4000)
    .option('--real-time', 'real-time priority once warm, on a machine with other work (chrt)')
    .option('--etcd <n>', 'members of a real etcd; 0: none', numberOption('--etcd', 0, true), 0)
    .option('--logs <dir>', 'the conductor keeps its fact logs here')
    .option('--set <key=value>', 'of the configuration, on top', append, [])
    .option('--quick', '500 requests per second for 5 s')
    .option('--json', 'print the result alone, as JSON')
    .option('--part <spec>', 'be the conductor (internal)')
    .addHelpText('after', EXAMPLES)
    .action(runControlBench);
}

async function runControlBench(given: Flags): Promise<void> {
  if (given.part !== undefined) {
    const { runConductor } = await import('../study/bench/control-conductor.ts');
    const { createInterface } = await import('node:readline');
    const orders = createInterface({ input: process.stdin });
    await runConductor(JSON.parse(given.part), orders, (line) => process.stdout.write(`${line}\n`));
    return;
  }
  const { controlBench } = await import('../study/bench/control.ts');
  const flags = given.quick ? { ...given, rate: 500, seconds: 5, warm: 2 } : given;
  const result = await controlBench({
    agents: flags.agents,
    perSec: flags.rate,
    seconds: flags.seconds,
    warmSec: flags.warm,
    promptBlocks: flags.blocks,
    etcd: flags.etcd,
    nodeBlocks: flags.keep,
    pin: true,
    realTime: flags.realTime === true,
    sets: flags.set,
    logs: flags.logs ?? null,
  });
  if (flags.json) printJson(result);
  else print(result);
}

const ms = (ns: number): string => `${(ns / 1e6).toFixed(2)} ms`;

function print(result: ControlResult): void {
  const { conductor: c, options } = result;
  const lines = [
    `${result.decisionsPerSec.toFixed(0)} decisions/s for ${c.wallSec.toFixed(1)} s, ` +
      `${options.agents} agents, ${result.pinned ? 'a core for each side' : 'not held to cores'}` +
      `${result.realTime ? ', real-time priority' : ''}`,
    `receive to send  p50 ${ms(c.latencyNsP50)}  p99 ${ms(c.latencyNsP99)}  ` +
      `p99.9 ${ms(c.latencyNsP999)}  max ${ms(c.latencyNsMax)}`,
    `round trip       p50 ${ms(result.roundTripNsP50)}  p99 ${ms(result.roundTripNsP99)}`,
    `CPU per decision ${(result.cpuNsPerDecision / 1e3).toFixed(0)} us, ` +
      `event loop ${(c.eventLoop * 100).toFixed(0)}%`,
    `frames in ${c.framesIn}, out ${c.framesOut}; messages in ${c.messagesIn}, ` +
      `out ${c.messagesOut}; resets ${c.resets}`,
    `blocks stored ${result.storedBlocks}, removed ${result.removedBlocks}; ` +
      `registry writes ${result.registryWrites}`,
    `requests ${result.requests}, completed ${result.completed}`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}
