/** The command line. Thin: parse, call src/study, print. The only place that exits or prints. */
import { Command, CommanderError } from 'commander';
import { VERSION } from '../study/version.ts';
import { addBenchCommand } from './bench.ts';
import { addCacheCommand } from './cache.ts';
import { addLiveCommand } from './live.ts';
import { addNativeCommand } from './native.ts';
import { addP2pCommand } from './p2p.ts';
import { addPoliciesCommand } from './policies.ts';
import { EXIT, reportError } from './problems.ts';
import { addReplayCommand } from './replay.ts';
import { addReportCommand } from './report.ts';
import { addReproduceCommand } from './reproduce.ts';
import { addSchemaCommand } from './schema.ts';
import { addStoreCommand } from './store.ts';
import { addTraceCommand } from './trace.ts';

function program(): Command {
  const command = new Command('moontide')
    .description('Simulator and test bench for KVCache-centric LLM serving.')
    .version(VERSION)
    .showHelpAfterError('(--help shows how)')
    .exitOverride();
  addReplayCommand(command);
  addReportCommand(command);
  addCacheCommand(command);
  addLiveCommand(command);
  addP2pCommand(command);
  addStoreCommand(command);
  addReproduceCommand(command);
  addTraceCommand(command);
  addBenchCommand(command);
  addNativeCommand(command);
  addPoliciesCommand(command);
  addSchemaCommand(command);
  return command;
}

async function main(): Promise<number> {
  try {
    await program().parseAsync();
    return Number(process.exitCode ?? EXIT.done);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.badInput;
    return reportError(error);
  }
}

// A closed pipe (`moontide … | head`) is the reader's choice, not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.done);
  throw error;
});
void main().then((code) => {
  process.exitCode = code;
});
