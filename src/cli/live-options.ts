/** What the commands of a live cluster share. */
import type { Command } from 'commander';
import { InputError } from '../core/errors.ts';
import type { RailKind } from '../runtime/data-plane.ts';

const RAIL_KINDS: readonly string[] = ['local', 'tcp', 'fabric'];

/** @throws InputError */
export function railKind(text: string): RailKind {
  if (RAIL_KINDS.includes(text)) return text as RailKind;
  throw new InputError(`found ${text}, expected local, tcp or fabric`, '--transport');
}

export interface FindFlags {
  readonly registry?: string;
  readonly dir?: string;
}

/** Which running cluster. */
export function addFindOptions(command: Command): Command {
  return command
    .option('--registry <url>', "the cluster's; its token is then read from MOONTIDE_TOKEN")
    .option('--dir <dir>', 'where `live up` wrote the registry and the token down');
}
