/**
 * A program of the tests as one file that plain node runs, also where nothing is installed but node
 * (a virtual machine). Two folders deep, as the sources are, so that the addon is found.
 */
import { basename } from 'node:path';
import { build } from 'esbuild';

/** What packages that are no modules expect of one. */
const REQUIRE = [
  "import { createRequire as requireOf } from 'node:module';",
  'const require = requireOf(import.meta.url);',
].join('');
const ROOT = new URL('../..', import.meta.url).pathname;

/**
 * `source`: path from the repository's root. Answers the bundle's path. `alias`: packages, and the
 * files that stand in for them.
 */
export async function bundle(
  source: string,
  alias: Readonly<Record<string, string>> = {},
): Promise<string> {
  const outfile = `${ROOT}dist/e2e/${basename(source, '.ts')}.mjs`;
  await build({
    entryPoints: [`${ROOT}${source}`],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
    alias: Object.fromEntries(Object.entries(alias).map(([from, to]) => [from, `${ROOT}${to}`])),
    banner: { js: REQUIRE },
  });
  return outfile;
}
