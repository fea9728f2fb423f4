/** Files that a test writes: a folder of its own, removed after the test. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { InputError } from '../../src/core/errors.ts';

/** Writes `text` to a file called `name` in a new folder; the path. */
export function temporaryFile(name: string, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'moontide-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

/** The message of the InputError that `action` ends in, with `path`'s folder cut out of it. */
export async function complaint(action: () => unknown, path = ''): Promise<string> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return path === '' ? error.message : error.message.replaceAll(`${dirname(path)}/`, '');
  }
  throw new Error('expected an InputError, nothing was thrown');
}
