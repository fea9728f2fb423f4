/**
 * Makes dist/cli/main.js one file with what a replay needs, in place of a hundred: finding and
 * linking the modules took a fifth of the start and 8 % of a whole run. What other commands need
 * stays in chunks that load on demand. The unbundled output of tsc serves the library.
 *
 * Modules that ask for files do so relative to `../`, so that they find them from dist/cli too.
 */
import { readdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url).pathname;
const folder = `${root}dist/cli`;

for (const file of readdirSync(folder)) {
  if (file.startsWith('chunk-')) rmSync(`${folder}/${file}`);
}

await build({
  absWorkingDir: root,
  entryPoints: { main: 'src/cli/main.ts' },
  outdir: folder,
  chunkNames: 'chunk-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['cli-progress', 'cli-table3', 'esbuild', 'hyparquet*', 'vega*', 'yaml', 'zod', '@*'],
  // Bundled CommonJS packages ask for Node's modules with `require`.
  banner: {
    js: [
      "import { createRequire as requireFrom } from 'node:module';",
      'const require = requireFrom(import.meta.url);',
    ].join('\n'),
  },
  logLevel: 'warning',
});
