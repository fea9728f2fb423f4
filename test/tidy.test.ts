/** House rules that the compiler cannot see. A failure names the file, the line and the remedy. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('..', import.meta.url).pathname;

/** Who may import whom: DESIGN.md's folders. A folder may always import itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  core: [],
  policy: ['core'],
  model: ['core'],
  trace: ['core'],
  metrics: ['core'],
  config: ['core', 'policy', 'model', 'trace', 'metrics'],
  sim: ['core', 'model', 'metrics', 'config'],
  runtime: ['core', 'model', 'metrics', 'config'],
  study: ['core', 'policy', 'model', 'trace', 'metrics', 'config', 'sim', 'runtime', 'report'],
  report: ['core', 'metrics'],
  cli: ['core', 'config', 'metrics', 'model', 'report', 'runtime', 'sim', 'study', 'trace'],
};

/** Folders whose code must give the same answer on any machine at any time. */
const DETERMINISTIC = ['core', 'policy', 'model', 'sim', 'metrics'];

const BANNED: readonly { pattern: RegExp; instead: string }[] = [
  { pattern: /\bMath\.random\b/, instead: "a named stream (the context's random())" },
  { pattern: /\bDate\b/, instead: 'fact.atNs' },
  { pattern: /\bperformance\b/, instead: 'fact.atNs' },
  { pattern: /\b(?:setTimeout|setInterval|setImmediate)\b/, instead: 'host.wakeAt' },
  { pattern: /\b(?:async|await)\b/, instead: 'a fact that comes later' },
  { pattern: /\bprocess\./, instead: 'a value that the caller passes in' },
];

interface Source {
  readonly path: string;
  readonly folder: string;
  readonly lines: readonly string[];
}

function sources(root: string): Source[] {
  return readdirSync(join(ROOT, root), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
    .map((file) => ({
      path: `${root}/${file}`,
      folder: file.split('/')[0],
      lines: readFileSync(join(ROOT, root, file), 'utf8').split('\n'),
    }));
}

const code = sources('src');
const tests = sources('test');

/** Code of a line without its comment: words in comments are free. */
function codeOf(line: string): string {
  const bare = line.trimStart();
  if (bare.startsWith('*') || bare.startsWith('/*') || bare.startsWith('//')) return '';
  return line.replace(/\/\/.*$/, '');
}

function findings(files: readonly Source[], check: (line: string, file: Source) => string | null) {
  const found: string[] = [];
  for (const file of files) {
    file.lines.forEach((line, i) => {
      const message = check(line, file);
      if (message !== null) found.push(`${file.path}:${i + 1} ${message}`);
    });
  }
  return found;
}

describe('tidy', () => {
  it('finds the sources', () => {
    expect(code.length).toBeGreaterThan(50);
  });

  it('keeps lines within 100 columns', () => {
    const long = (line: string) => (line.length > 100 ? `has ${line.length} columns` : null);
    expect(findings([...code, ...tests], long)).toEqual([]);
  });

  it('keeps files below 800 lines', () => {
    const sizes = [...code, ...tests].map(({ path, lines }) => ({ path, lines: lines.length }));
    for (const { path, lines } of sizes) {
      if (lines > 500) console.warn(`${path} has ${lines} lines: is it two things?`);
    }
    expect(sizes.filter(({ lines }) => lines > 800)).toEqual([]);
  });

  it('keeps the deterministic folders free of clocks, chance and waiting', () => {
    const files = code.filter(({ folder }) => DETERMINISTIC.includes(folder));
    const banned = (line: string) => {
      const hit = BANNED.find(({ pattern }) => pattern.test(codeOf(line)));
      return hit === undefined ? null : `uses ${hit.pattern}; instead: ${hit.instead}`;
    };
    expect(findings(files, banned)).toEqual([]);
  });

  it('imports only downwards', () => {
    const wrong = (line: string, { path, folder }: Source) => {
      const target = /from '(\.[^']*)'/.exec(line)?.[1];
      if (target === undefined) return null;
      const resolved = join(path, '..', target);
      if (!resolved.startsWith('src/')) return `imports ${target}, outside src/`;
      const other = resolved.split('/')[1];
      const may = other === folder || (MAY_IMPORT[folder] ?? []).includes(other);
      return may ? null : `imports ${other}, which is not below ${folder}`;
    };
    expect(findings(code, wrong)).toEqual([]);
  });

  it('prints and exits in src/cli alone', () => {
    const files = code.filter(({ folder }) => folder !== 'cli');
    const prints = (line: string) =>
      /\bconsole\.|process\.(?:exit|stdout|stderr)\b/.test(codeOf(line)) ? 'prints or exits' : null;
    expect(findings(files, prints)).toEqual([]);
  });

  it('has a README of at most a page in every folder under src', () => {
    const folders = readdirSync(join(ROOT, 'src'));
    for (const folder of folders) {
      const readme = join(ROOT, 'src', folder, 'README.md');
      expect(existsSync(readme), `src/${folder}/README.md is missing`).toBe(true);
      if (folder === 'core') continue; // Also the home of the decisions.
      const lines = readFileSync(readme, 'utf8').split('\n').length;
      expect(lines, `src/${folder}/README.md is longer than a page`).toBeLessThanOrEqual(60);
    }
  });

  it('skips no test silently', () => {
    const skipped = (line: string) =>
      /\b(?:it|test|describe)\.(?:only|todo)\b/.test(codeOf(line)) ? 'is only/todo' : null;
    expect(findings(tests, skipped)).toEqual([]);
  });
});
