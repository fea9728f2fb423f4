/**
 * A program of the tests as one file that plain node runs, also where nothing is installed but node
 * (a virtual machine). Two folders deep, as the sources are, so that the addon is found.
 */
import { basename } from 'node:path';
import { build } from 'esbuild';

const ROOT = new URL('../..', import.meta.url).pathname;

/** `source`: path from the repository's root. Answers the bundle's path. */
export async function bundle(source: string): Promise<string> {
  const outfile = `${ROOT}dist/e2e/${basename(source, '.ts')}.mjs`;
  await build({
    entryPoints: [`${ROOT}${source}`],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
  });
  return outfile;
}
