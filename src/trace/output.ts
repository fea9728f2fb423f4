/** Bytes on their way out: to a file that appears whole or not at all, or to a stream. */
import { once } from 'node:events';
import { closeSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { InputError } from '../core/errors.ts';
import { fileProblem } from './source.ts';

export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Writes beside the target under a temporary name, then renames: whoever looks sees the old file or
 * the new one. What `chunks` throws leaves nothing behind and is passed on.
 */
export async function replaceFile(path: string, chunks: Chunks): Promise<void> {
  // A device or a pipe is written to, not replaced.
  const device = statSync(path, { throwIfNoEntry: false })?.isFile() === false;
  const temporary = device ? path : `${path}.${process.pid}.tmp`;
  const file = attempt(path, () => openSync(temporary, 'w'));
  try {
    try {
      for await (const chunk of chunks) attempt(path, () => writeWhole(file, chunk));
    } finally {
      closeSync(file);
    }
    if (!device) attempt(path, () => renameSync(temporary, path));
  } catch (error) {
    if (!device) rmSync(temporary, { force: true });
    throw error;
  }
}

/** Writes to a stream at the pace at which it takes them; leaves it open. */
export async function writeAll(stream: Writable, chunks: Chunks): Promise<void> {
  for await (const chunk of chunks) {
    if (!stream.write(chunk)) await once(stream, 'drain');
  }
}

function writeWhole(file: number, chunk: Uint8Array): void {
  let written = 0;
  while (written < chunk.length) written += writeSync(file, chunk, written);
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new InputError(`found ${fileProblem(error)}, expected a file to write`, path);
  }
}
