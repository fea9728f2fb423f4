/**
 * Makes of the command line what starts fast: dist/cli/program.cjs, one file in place of a hundred,
 * beside it program.cache with the bytecode of what a replay runs, and dist/cli/main.js that starts
 * the one with the other (scripts/launcher.mjs). Finding, linking and compiling modules was a tenth
 * of a whole replay of 12,000 requests. The unbundled output of tsc serves the library.
 *
 * Modules that ask for files do so relative to `../`, so that they find them from dist/cli too.
 */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url).pathname;
const folder = `${root}dist/cli`;
const main = `${folder}/main.js`;
const program = `${folder}/program.cjs`;

/** The built-in policies come along: src/config/builtin-policies.ts as a table of them all. */
const builtinPolicies = {
  name: 'builtin-policies',
  setup(esbuild) {
    esbuild.onLoad({ filter: /builtin-policies\.ts$/ }, () => {
      const files = readdirSync(`${root}src/policy`, { recursive: true })
        .filter((file) => /^[^/]+\/[^/]+\.ts$/.test(file))
        .map((file) => file.slice(0, -'.ts'.length));
      const rows = files.map((file) => `'${file}': () => import('../policy/${file}.ts'),`);
      const contents = [
        `const table = {\n${rows.join('\n')}\n};`,
        "export const importBuiltin = (kind, name) => table[kind + '/' + name]();",
      ].join('\n');
      return { contents, loader: 'js', resolveDir: `${root}src/config` };
    });
  },
};

/** Large packages that only some commands need, and that CommonJS can't ask for as they are. */
const APART = ['vega', 'vega-lite'];
const apart = {
  name: 'apart',
  setup(esbuild) {
    const filter = new RegExp(`^(${APART.join('|')})$`);
    esbuild.onResolve({ filter }, ({ path }) => ({ path: `./${path}.cjs`, external: true }));
  },
};

const common = {
  absWorkingDir: root,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  logLevel: 'warning',
};
for (const name of APART) {
  await build({
    ...common,
    stdin: { contents: `export * from '${name}';`, resolveDir: root },
    outfile: `${folder}/${name}.cjs`,
    // Without a canvas text is measured by estimate; the build for Node.js would look for one.
    alias: { 'vega-canvas': `${root}node_modules/vega-canvas/build/vega-canvas.browser.js` },
  });
}
const result = await build({
  ...common,
  entryPoints: ['src/cli/main.ts'],
  outfile: program,
  write: false,
  external: ['cli-progress', 'esbuild', 'etcd3', 'yaml', 'zod', '@*'],
  define: { 'import.meta.url': 'moduleUrl' },
  plugins: [builtinPolicies, apart],
});
// What is imported at run time (a user's policy) goes through the launcher: code from a cache
// can't import. esbuild has turned every other import() into a call within the file.
const text = result.outputFiles[0].text.replace(/\bimport\(/g, 'importModule(');
writeFileSync(program, text);
copyFileSync(`${root}scripts/launcher.mjs`, main);

/** The bytecode of what a small replay ran. A broken build must show here, not at a user's. */
function writeCache() {
  const scratch = mkdtempSync(`${tmpdir()}/moontide-`);
  const run = (args, env) => {
    const { status, stderr } = spawnSync(process.execPath, [main, ...args], {
      env: { ...process.env, ...env },
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
  };
  try {
    const trace = `${scratch}/trace.jsonl`;
    writeFileSync(trace, sampleTrace());
    run(['replay', `mooncake:${trace}`, '--json'], { MOONTIDE_WRITE_CACHE: '1' });
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** Requests that share prefixes, as a Mooncake trace. */
function sampleTrace() {
  const lines = [];
  for (let i = 0; i < 200; i++) {
    const hash_ids = Array.from({ length: 8 }, (_, depth) => (depth < 4 ? depth : 10 * i + depth));
    lines.push({ timestamp: 300 * i, input_length: 4000, output_length: 20, hash_ids });
  }
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

rmSync(`${folder}/program.cache`, { force: true });
writeCache();
readFileSync(`${folder}/program.cache`);
