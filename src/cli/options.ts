/** Options that several commands share, and the checks of their values. */
import type { Command } from 'commander';
import { parseQuantity, type Quantity } from '../config/units.ts';
import { InputError } from '../core/errors.ts';
import { POLICY_KINDS } from '../core/policy.ts';

/** A number that an option gives. */
export function numberOption(name: string, least: number, whole: boolean) {
  return (text: string): number => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    const fits = Number.isFinite(value) && value >= least && (!whole || Number.isInteger(value));
    if (fits && (whole || value > 0 || least < 0)) return value;
    const kind = whole ? `a whole number of at least ${least}` : 'a number above 0';
    throw new InputError(`found ${JSON.stringify(text)}, expected ${kind}`, name);
  };
}

/** A quantity above 0 that an option gives, in base units. @throws InputError */
export function quantityOption(name: string, quantity: Quantity, text: string): number {
  const value = parseQuantity(quantity, text);
  if (value !== null && value > 0) return value;
  throw new InputError(`found ${JSON.stringify(text)}, expected ${quantity.expected}`, name);
}

export function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

export function addConfigOptions(command: Command): Command {
  command
    .option('-c, --config <file>', 'YAML configuration or preset', 'mooncake-16')
    .option('--set <key=value>', 'override one key, may be repeated', collect, []);
  for (const [at, kind] of POLICY_KINDS.entries()) {
    const how = at === 0 ? ': a name with parameters, or ./mine.ts' : '';
    command.option(`--${kind} <policy>`, `${kind} policy${how}`);
  }
  const seed = numberOption('--seed', 0, true);
  return command.option('--seed <n>', 'seed of all random streams', seed);
}
