/** `moontide schema`: JSON Schemas of what people write. */
import type { Command } from 'commander';
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';
import { printJson } from './output.ts';

const SCHEMAS: Readonly<Record<string, () => Promise<unknown>>> = {
  config: async () => (await import('../config/schema.ts')).configJsonSchema(),
  scenario: async () => (await import('../config/scenario.ts')).scenarioJsonSchema(),
};

export function addSchemaCommand(program: Command): void {
  program
    .command('schema')
    .description('Print the JSON Schema of configurations, or of scenario files.')
    .argument('[of]', `of what: ${Object.keys(SCHEMAS).join(', ')}`, 'config')
    .addHelpText(
      'after',
      '\nExamples:\n  moontide schema > moontide.schema.json\n  moontide schema scenario',
    )
    .action(async (of: string) => {
      if (Object.hasOwn(SCHEMAS, of)) return printJson(await SCHEMAS[of]());
      const expected = oneOf(of, Object.keys(SCHEMAS));
      throw new InputError(`found ${JSON.stringify(of)}, expected ${expected}`, 'schema');
    });
}
