/** `moontide schema`: the configuration's JSON Schema. */
import type { Command } from 'commander';
import { printJson } from './output.ts';

export function addSchemaCommand(program: Command): void {
  program
    .command('schema')
    .description("Print the configuration's JSON Schema.")
    .addHelpText('after', '\nExample:\n  moontide schema > moontide.schema.json')
    .action(async () => {
      const { configJsonSchema } = await import('../config/schema.ts');
      printJson(configJsonSchema());
    });
}
