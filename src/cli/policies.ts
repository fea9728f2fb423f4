/** `moontide policies`: all built-in policies, what they follow and what can be set. */
import type { Command } from 'commander';
import { printJson } from './output.ts';

export function addPoliciesCommand(program: Command): void {
  program
    .command('policies')
    .description('List the built-in policies and their parameters.')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExample:\n  moontide policies')
    .action(listAll);
}

async function listAll(flags: { json?: true }): Promise<void> {
  const { listPolicies } = await import('../config/policies.ts');
  const entries = await listPolicies();
  if (flags.json) {
    printJson(entries);
    return;
  }
  let kind = '';
  for (const entry of entries) {
    if (entry.kind !== kind) {
      kind = entry.kind;
      process.stdout.write(`\n${kind}  (--${kind} NAME[:key=value,…])\n`);
    }
    process.stdout.write(`  ${entry.name.padEnd(20)} ${entry.source}\n`);
    for (const [key, param] of Object.entries(entry.params)) {
      const text = `${key} = ${param.default}`.padEnd(18);
      process.stdout.write(`  ${''.padEnd(20)}   ${text} ${param.doc}\n`);
    }
  }
  process.stdout.write('\n');
}
