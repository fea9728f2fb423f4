/** A run of the preset loads neither zod nor yaml nor esbuild: each costs more than the replay. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { expect, test } from 'vitest';

/** Packages and files that `file` imports when it is loaded: types and `import()` don't count. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const statements = text.matchAll(
    /^(?:import|export)\s(?!type\b)(?:[^;'"]*?\bfrom\s+)?'([^']+)'/gm,
  );
  return [...statements].map(([, target]) => target);
}

function packagesBehind(...roots: string[]): Set<string> {
  const packages = new Set<string>();
  const seen = new Set(roots);
  for (const file of seen) {
    for (const target of importsOf(file)) {
      if (target.startsWith('.')) seen.add(resolve(dirname(file), target));
      else packages.add(target);
    }
  }
  return packages;
}

test('loading, resolving and naming policies takes Node alone', () => {
  const entries = ['load', 'resolve', 'policies', 'check-trace'];
  const packages = packagesBehind(...entries.map((name) => resolve(`src/config/${name}.ts`)));
  expect([...packages].filter((name) => !name.startsWith('node:'))).toEqual([]);
});

test('the walk finds what is there', () => {
  const packages = packagesBehind(resolve('src/config/yaml-config.ts'));
  expect(packages).toContain('zod');
  expect(packages).toContain('yaml');
});
