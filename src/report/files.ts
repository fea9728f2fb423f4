/** Files that appear whole or not at all, several of them together. */
import {
  existsSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { InputError } from '../core/errors.ts';

/** Name of a file on its way. */
export function temporaryName(path: string): string {
  return `${path}.${process.pid}.tmp`;
}

/**
 * Writes all files under temporary names, then renames them. A failure leaves the folder as it
 * was.
 * @throws InputError when the folder cannot be written
 */
export function replaceFiles(
  folder: string,
  files: ReadonlyMap<string, string | Uint8Array>,
): string[] {
  const paths = [...files.keys()].map((name) => join(folder, name));
  const made = missingFolder(folder);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw writeProblem(folder, error);
  }
  try {
    for (const path of paths) checkReplaceable(path);
    for (const [name, content] of files) writeFileSync(temporaryName(join(folder, name)), content);
    for (const path of paths) renameSync(temporaryName(path), path);
  } catch (error) {
    for (const path of paths) rmSync(temporaryName(path), { force: true });
    if (made !== null) removeEmpty(folder, made);
    throw writeProblem(folder, error);
  }
  return paths;
}

function checkReplaceable(path: string): void {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  throw new InputError('found a folder, expected a file or nothing', path);
}

export function writeProblem(path: string, error: unknown): Error {
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return error as Error;
  return new InputError(`found ${code} on writing, expected a place that can be written`, path);
}

/** The outermost folder that would have to be made, or null. */
function missingFolder(folder: string): string | null {
  if (existsSync(folder)) return null;
  const parent = dirname(folder);
  return parent === folder ? folder : (missingFolder(parent) ?? folder);
}

/** Takes back what mkdir made, from `folder` up to `made`. */
function removeEmpty(folder: string, made: string): void {
  for (let at = folder; at.startsWith(made); at = dirname(at)) {
    if (existsSync(at)) rmdirSync(at);
  }
}
