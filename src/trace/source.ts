/** The bytes of a trace: from a file or stdin, decompressed, with the checksum that names them. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { InputError } from '../core/errors.ts';

export interface TraceSource {
  /** The file's path, or `stdin`; errors begin with it. */
  readonly place: string;
  /** Decompressed. */
  readonly bytes: Buffer;
  /** Hex sha256 of `bytes`. */
  readonly sha256: string;
}

/** Reads a file, or stdin where the path is `-`. Compression is told by content, not by name. */
export async function loadSource(path: string): Promise<TraceSource> {
  const place = path === '-' ? 'stdin' : path;
  return sourceOf(place, path === '-' ? await readStdin() : readFile(path));
}

/** Decompresses and sums bytes that are here already. */
export async function sourceOf(place: string, raw: Buffer): Promise<TraceSource> {
  const bytes = await decompress(raw, place);
  return { place, bytes, sha256: createHash('sha256').update(bytes).digest('hex') };
}

function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new InputError(`found ${fileProblem(error)}, expected a readable file`, path);
  }
}

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** What is wrong with a file, in words. */
export function fileProblem(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'no such file';
    case 'EISDIR':
      return 'a directory';
    case 'EACCES':
    case 'EPERM':
      return 'a file without permission to use it';
    case 'ERR_FS_FILE_TOO_LARGE':
      return 'more than 2 GiB';
    case 'ENOSPC':
      return 'a full disk';
    default:
      return `a file error (${code})`;
  }
}

const GZIP_MAGIC = [0x1f, 0x8b];
const ZSTD_MAGIC = [0x28, 0xb5, 0x2f, 0xfd];

async function decompress(raw: Buffer, place: string): Promise<Buffer> {
  const kind = beginsWith(raw, GZIP_MAGIC) ? 'gzip' : beginsWith(raw, ZSTD_MAGIC) ? 'zstd' : null;
  if (kind === null) return raw;
  // Loaded on demand: most traces are plain, and loading takes as long as reading one.
  const zlib = await import('node:zlib');
  // The types of Node 20 do not know it.
  const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (raw: Buffer) => Buffer };
  const inflate = kind === 'gzip' ? zlib.gunzipSync : zstdDecompressSync;
  if (inflate === undefined) {
    throw new InputError(
      `found zstd data, which Node ${process.versions.node} cannot read, expected Node 22.15 or ` +
        'later, or plain data (zstd -dc FILE | moontide … mooncake:-)',
      place,
    );
  }
  try {
    return inflate(raw);
  } catch (error) {
    const cause = (error as Error).message;
    throw new InputError(`found damaged ${kind} data (${cause}), expected a whole file`, place);
  }
}

function beginsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[index] === byte);
}
