/** `moontide live join|drain|leave|role`: what an operator asks of a running cluster. */
import type { Command } from 'commander';
import { InputError } from '../core/errors.ts';
import type { Role } from '../core/topology.ts';
import type { Wish } from '../study/live/operate.ts';
import { addFindOptions, type FindFlags } from './live-options.ts';
import { numberOption } from './options.ts';

interface OperateFlags extends FindFlags {
  readonly timeout: number;
}

const node = numberOption('<node>', 0, true);

export function addOperations(live: Command): void {
  const add = (name: string, what: string) =>
    addFindOptions(live.command(name).description(what))
      .argument('<node>', 'its number', node)
      .option('--timeout <s>', 'wait so long', numberOption('--timeout', 0, false), 60);
  add('join', 'A node takes part (again): a spare, or one that drained or left.').action(
    (at: number, flags: OperateFlags) => run(at, { kind: 'join' }, flags),
  );
  add('drain', 'A node finishes what it has and gets no more.').action(
    (at: number, flags: OperateFlags) => run(at, { kind: 'drain' }, flags),
  );
  add('leave', 'A node drains, then its process goes.').action((at: number, flags: OperateFlags) =>
    run(at, { kind: 'leave' }, flags),
  );
  add('role', 'What a node does from now on.')
    .argument('<roles>', 'prefill, decode or prefill,decode')
    .action((at: number, roles: string, flags: OperateFlags) =>
      run(at, { kind: 'role', roles: rolesOf(roles) }, flags),
    );
}

function rolesOf(text: string): Role[] {
  const roles = text.split(',');
  const known = roles.every((role) => role === 'prefill' || role === 'decode');
  if (known && new Set(roles).size === roles.length) return roles as Role[];
  throw new InputError(`found ${text}, expected prefill, decode or prefill,decode`, '<roles>');
}

async function run(at: number, wish: Wish, flags: OperateFlags): Promise<void> {
  const { findCluster } = await import('../study/live/state-file.ts');
  const { visiting } = await import('../study/live/visitor.ts');
  const { operate } = await import('../study/live/operate.ts');
  await visiting(findCluster(flags), (visitor) => operate(visitor, at, wish, 1000 * flags.timeout));
  process.stdout.write(`node ${at}: done\n`);
}
