/** `moontide native`: what of the native data plane works on this machine, and why the rest not. */
import type { Command } from 'commander';
import { printJson } from './output.ts';

export function addNativeCommand(program: Command): void {
  program
    .command('native')
    .description('Say what of the native data plane works here.')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExample:\n  moontide native')
    .action(report);
}

async function report(flags: { json?: true }): Promise<void> {
  const { nativeReport } = await import('../runtime/capabilities.ts');
  const { VERSION } = await import('../study/version.ts');
  const about = nativeReport();
  if (flags.json) {
    const versions = { moontide: VERSION, node: process.versions.node, abi: about.abi };
    printJson({ versions, ...about });
    return;
  }
  const crc = about.crcHardware ? 'SSE4.2' : 'tables';
  process.stdout.write(`moontide ${VERSION}, node ${process.versions.node}\n`);
  for (const { name, available, reason, detail } of [about.addon, ...about.capabilities]) {
    const text = available ? (detail ?? (name === 'addon' ? `CRC-32C by ${crc}` : '')) : reason;
    process.stdout.write(`  ${name.padEnd(10)} ${available ? 'yes' : 'no '}  ${text}\n`);
  }
}
