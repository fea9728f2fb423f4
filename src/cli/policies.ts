/** `moontide policies`: all built-in policies, what they follow and what can be set. */
import type { Command } from 'commander';
import type { PolicyEntry } from '../config/policies.ts';
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';
import { POLICY_KINDS, type PolicyKind } from '../core/policy.ts';
import { printJson } from './output.ts';

/** What the policies of each kind decide. */
const DECIDES: Readonly<Record<PolicyKind, string>> = {
  eviction: 'what leaves a full tier',
  prefill: 'which instance computes a prompt',
  decode: 'which instance continues it',
  disaggregation: 'whether the two may differ',
  admission: 'which requests are taken, and kept when their prompt is done',
  replication: 'which blocks are copied ahead of requests for them',
  placement: 'which node keeps a block that was computed',
  tiering: 'what moves between DRAM and SSD',
  elasticity: 'which instances do what as the load changes',
  rail: 'how one transfer is spread over the NICs of both nodes',
  batching: 'what goes into the next pass of an engine',
  queue: 'the order in which prompts take their turn',
};

export function addPoliciesCommand(program: Command): void {
  program
    .command('policies')
    .description('List the built-in policies and their parameters.')
    .argument('[kinds...]', `only these kinds: ${POLICY_KINDS.join(', ')}`)
    .option('--names', 'names alone')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExamples:\n  moontide policies\n  moontide policies prefill decode')
    .action(list);
}

async function list(kinds: string[], flags: { json?: true; names?: true }): Promise<void> {
  for (const kind of kinds) {
    if ((POLICY_KINDS as readonly string[]).includes(kind)) continue;
    const expected = oneOf(kind, [...POLICY_KINDS]);
    throw new InputError(`found ${JSON.stringify(kind)}, expected ${expected}`, 'policies');
  }
  const wanted = kinds.length === 0 ? POLICY_KINDS : (kinds as PolicyKind[]);
  const { listPolicies } = await import('../config/policies.ts');
  const entries = (await listPolicies()).filter(({ kind }) => wanted.includes(kind));
  if (flags.json) {
    printJson(entries);
    return;
  }
  for (const kind of wanted) {
    process.stdout.write(`\n${kind}: ${DECIDES[kind]}  (--${kind} NAME[:key=value,…])\n`);
    const own = entries.filter((entry) => entry.kind === kind);
    if (flags.names) process.stdout.write(`  ${own.map(({ name }) => name).join(' ')}\n`);
    else process.stdout.write(describe(own));
  }
  process.stdout.write('\n');
}

function describe(entries: readonly PolicyEntry[]): string {
  const width = Math.max(0, ...entries.map(({ name }) => name.length)) + 2;
  let text = '';
  for (const { name, source, params } of entries) {
    text += `  ${name.padEnd(width)}${source}\n`;
    for (const [key, param] of Object.entries(params)) {
      text += `  ${''.padEnd(width)}  ${`${key} = ${param.default}`.padEnd(18)} ${param.doc}\n`;
    }
  }
  return text;
}
