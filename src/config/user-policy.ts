/**
 * A user's own policy file, TypeScript or JavaScript, unbuilt: esbuild bundles it with what it
 * imports (`moontide/policy` is our policy kit), and source maps make exceptions point into it.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BuildFailure, Plugin } from 'esbuild';
import { InputError } from '../core/errors.ts';

export interface UserPolicy {
  /** The file's default export, unchecked. */
  readonly exported: unknown;
  /** Of the bundle without its source map, in hex: equal code, equal hash, in any folder. */
  readonly sha256: string;
}

/**
 * @param path absolute
 * @param kit file that `moontide/policy` stands for
 * @param place where the file was asked for
 */
export async function importUserPolicy(
  path: string,
  kit: string,
  place: string,
): Promise<UserPolicy> {
  if (!existsSync(path) || !statSync(path).isFile()) {
    throw new InputError(`found no file ${shown(path)}, expected a policy's source`, place);
  }
  // The bundle is imported from a file of its own: only for files does Node apply source maps.
  const folder = mkdtempSync(join(tmpdir(), 'moontide-policy-'));
  try {
    const bundle = join(folder, 'policy.mjs');
    const { code, map } = await bundleFile(path, kit, bundle);
    const inline = Buffer.from(map).toString('base64');
    const comment = `//# sourceMappingURL=data:application/json;base64,${inline}\n`;
    writeFileSync(bundle, `${code}${comment}`);
    process.setSourceMapsEnabled(true);
    const exported = await importBundle(bundle, path);
    return { exported, sha256: createHash('sha256').update(code).digest('hex') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function importBundle(bundle: string, path: string): Promise<unknown> {
  try {
    return (await import(/* @vite-ignore */ pathToFileURL(bundle).href)).default;
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    const [line] = found.split('\n');
    const where = placeInFile(error, path) ?? shown(path);
    throw new InputError(`found an exception on import (${line}), expected none`, where);
  }
}

/**
 * `file:line:column` of the innermost call in `path` that an exception passed, or null. A host puts
 * it before the message when a user's policy throws.
 */
export function placeInFile(error: unknown, path: string): string | null {
  if (!(error instanceof Error) || error.stack === undefined) return null;
  for (const line of error.stack.split('\n')) {
    const at = line.indexOf(path);
    const match = at < 0 ? null : /^:(\d+):(\d+)/.exec(line.slice(at + path.length));
    if (match) return `${shown(path)}:${match[1]}:${match[2]}`;
  }
  return null;
}

async function bundleFile(
  path: string,
  kit: string,
  bundle: string,
): Promise<{ code: string; map: string }> {
  const { build } = await import('esbuild');
  try {
    const { outputFiles } = await build({
      entryPoints: [path],
      outfile: bundle,
      absWorkingDir: dirname(path),
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      // Without comments, some of which carry paths: the hash is of the code alone.
      minifyWhitespace: true,
      legalComments: 'none',
      sourcemap: 'external',
      sourcesContent: false,
      write: false,
      logLevel: 'silent',
      plugins: [policyKit(kit)],
    });
    const text = (suffix: string) => outputFiles.find((f) => f.path.endsWith(suffix))!.text;
    return { code: text('.mjs'), map: text('.map') };
  } catch (error) {
    throw buildError(error as BuildFailure, path);
  }
}

function policyKit(kit: string): Plugin {
  return {
    name: 'moontide-policy',
    setup(build) {
      build.onResolve({ filter: /^moontide\/policy$/ }, () => ({ path: kit }));
    },
  };
}

function buildError(failure: BuildFailure, path: string): InputError {
  const [first] = failure.errors ?? [];
  if (!first) return new InputError(`found ${failure.message}, expected a policy`, shown(path));
  const { location, text } = first;
  const where = location
    ? `${shown(resolve(dirname(path), location.file))}:${location.line}:${location.column + 1}`
    : shown(path);
  return new InputError(`found an error (${text}), expected code that compiles`, where);
}

/** A path as people write it: from the current folder where it lies below it. */
function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short === '' || short.startsWith('..') ? path : short;
}
