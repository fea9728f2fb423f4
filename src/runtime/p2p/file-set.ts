/** Files as one row of bytes, in order of their paths: what shards are cut from. */
import { type FileHandle, mkdir, open, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { InputError } from '../../core/errors.ts';

export interface FileEntry {
  /** Relative, with slashes; empty: the object is this one file. */
  readonly path: string;
  readonly sizeBytes: number;
}

/** A file, or all files below a folder by name. */
export async function listFiles(root: string): Promise<FileEntry[]> {
  const found = await stat(root).catch(() => null);
  if (found === null) throw new InputError('found nothing, expected a file or a folder', root);
  if (found.isFile()) return [{ path: '', sizeBytes: found.size }];
  const paths = await readdir(root, { recursive: true, withFileTypes: true });
  const files: FileEntry[] = [];
  for (const entry of paths) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const { size } = await stat(path);
    files.push({
      path: path.slice(root.length).split(sep).filter(Boolean).join('/'),
      sizeBytes: size,
    });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Whether a peer may name this path: below the folder, and nothing odd. */
export function isSafePath(path: string): boolean {
  const parts = path.split('/');
  return (
    path.length <= 1024 &&
    !/[\0\\]/.test(path) &&
    parts.every((part) => part !== '' && part !== '.' && part !== '..')
  );
}

export class FileSet {
  readonly sizeBytes: number;
  private root: string;
  private readonly files: readonly FileEntry[];
  private readonly startBytes: number[] = [];
  private readonly handles: (Promise<FileHandle> | undefined)[] = [];
  private readonly flags: 'r' | 'r+';

  private constructor(root: string, files: readonly FileEntry[], flags: 'r' | 'r+') {
    this.root = root;
    this.files = files;
    this.flags = flags;
    let size = 0;
    for (const file of files) {
      this.startBytes.push(size);
      size += file.sizeBytes;
    }
    this.sizeBytes = size;
  }

  static forReading(root: string, files: readonly FileEntry[]): FileSet {
    return new FileSet(root, files, 'r');
  }

  /** Makes the files at their full (sparse) size where they are not. */
  static async forWriting(root: string, files: readonly FileEntry[]): Promise<FileSet> {
    for (const { path, sizeBytes } of files) {
      const file = path === '' ? root : join(root, path);
      await mkdir(dirname(file), { recursive: true });
      const handle = await open(file, 'a');
      await handle.truncate(sizeBytes);
      await handle.close();
    }
    return new FileSet(root, files, 'r+');
  }

  /** @throws InputError when the files are shorter than they were */
  async read(fromByte: number, into: Uint8Array): Promise<void> {
    for (const { file, at, from, to } of this.parts(fromByte, into.length)) {
      const handle = await this.handle(file);
      for (let done = from; done < to; ) {
        const { bytesRead } = await handle.read(into, done, to - done, at + done - from);
        if (bytesRead === 0)
          throw new InputError('found a shorter file than before', this.pathOf(file));
        done += bytesRead;
      }
    }
  }

  async write(fromByte: number, bytes: Uint8Array): Promise<void> {
    for (const { file, at, from, to } of this.parts(fromByte, bytes.length)) {
      const handle = await this.handle(file);
      for (let done = from; done < to; ) {
        const { bytesWritten } = await handle.write(bytes, done, to - done, at + done - from);
        done += bytesWritten;
      }
    }
  }

  /** Makes what was written durable, then gives it this name. */
  async moveTo(root: string): Promise<void> {
    for (const [file] of this.files.entries()) await (await this.handle(file)).sync();
    await rename(this.root, root);
    this.root = root;
    const folder = await open(dirname(root), 'r');
    await folder.sync();
    await folder.close();
  }

  async close(): Promise<void> {
    const open = this.handles.splice(0);
    for (const handle of open) await (await handle)?.close();
  }

  private pathOf(file: number): string {
    const { path } = this.files[file];
    return path === '' ? this.root : join(this.root, path);
  }

  private handle(file: number): Promise<FileHandle> {
    this.handles[file] ??= open(this.pathOf(file), this.flags);
    return this.handles[file];
  }

  /** Pieces of files that a row of bytes is made of. `at` is in the file, the others in the row. */
  private *parts(fromByte: number, length: number) {
    for (let file = 0; file < this.files.length; file++) {
      const start = this.startBytes[file];
      const from = Math.max(start, fromByte) - fromByte;
      const to = Math.min(start + this.files[file].sizeBytes, fromByte + length) - fromByte;
      if (from < to) yield { file, at: fromByte + from - start, from, to };
    }
  }
}
