/**
 * Makes of the command line what starts fast: dist/cli/program.cjs, one file in place of a hundred,
 * beside it large packages that only some runs need, program.cache and its like with the bytecode of
 * what a replay runs, and dist/cli/main.js that starts the ones with the others
 * (scripts/launcher.mjs). Finding, linking and compiling modules was a tenth
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

/** Large packages that only some runs need: files of their own. */
const APART = ['vega', 'vega-lite', 'yaml', 'zod'];
const apart = {
  name: 'apart',
  setup(esbuild) {
    const filter = new RegExp(`^(${APART.join('|')})$`);
    esbuild.onResolve({ filter }, ({ path }) => ({ path: `./${path}.cjs`, external: true }));
  },
};

/**
 * commander loads node:child_process, and that the whole of node:net, for commands that are files
 * of their own; there are none here.
 */
const noChildren = {
  name: 'no-children',
  setup(esbuild) {
    const ofCommander = ({ path, importer }) =>
      importer.includes('/commander/') ? { path, namespace: 'no-children' } : undefined;
    esbuild.onResolve({ filter: /^node:child_process$/ }, ofCommander);
    esbuild.onLoad({ filter: /.*/, namespace: 'no-children' }, () => ({ contents: '' }));
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
  external: ['cli-progress', 'esbuild', 'etcd3', '@*'],
  define: { 'import.meta.url': 'moduleUrl' },
  plugins: [builtinPolicies, apart, noChildren],
});
// What is imported at run time (a user's policy) goes through the launcher: code from a cache
// can't import. esbuild has turned every other import() into a call within the file.
const text = result.outputFiles[0].text.replace(/\bimport\(/g, 'importModule(');
writeFileSync(program, text);
copyFileSync(`${root}scripts/launcher.mjs`, main);

/**
 * The bytecode of what a small replay ran, one with caches that overflow, faults and rails apart.
 * A broken build must show here, not at a user's.
 */
function writeCaches() {
  const scratch = mkdtempSync(`${tmpdir()}/moontide-`);
  const trace = `${scratch}/trace.jsonl`;
  const scenario = `${scratch}/scenario.yaml`;
  const sets = ['0.dram=32ktokens', '0.ssd=64ktokens', '1.ssd=64ktokens'];
  const replay = ['replay', `mooncake:${trace}`, '--scenario', scenario, '--rail=spray', '--json'];
  const args = [...replay, ...sets.flatMap((set) => ['--set', `cluster.groups.${set}`])];
  try {
    writeFileSync(trace, sampleTrace());
    writeFileSync(scenario, SCENARIO);
    for (const kept of ['program', 'others']) {
      const { status, stderr } = spawnSync(process.execPath, [main, ...args], {
        env: { ...process.env, MOONTIDE_WRITE_CACHE: kept },
        encoding: 'utf8',
      });
      if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

const SCENARIO = `events:
  - {at: 5s, crash: prefill-0, for: 20s}
  - {at: 10s, rail: prefill-1/rail0, for: 10s}
  - {at: 15s, ssd: prefill-2, rate: 20%}
`;

/** Requests that share prefixes, as a Mooncake trace. */
function sampleTrace() {
  const lines = [];
  for (let i = 0; i < 200; i++) {
    const hash_ids = Array.from({ length: 8 }, (_, depth) => (depth < 4 ? depth : 10 * i + depth));
    lines.push({ timestamp: 300 * i, input_length: 4000, output_length: 20, hash_ids });
  }
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

const caches = ['program', 'yaml', 'zod'].map((name) => `${folder}/${name}.cache`);
for (const cache of caches) rmSync(cache, { force: true });
writeCaches();
for (const cache of caches) readFileSync(cache);
