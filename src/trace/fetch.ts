/** Brings traces of the catalogue into the cache folder, verified by their checksums. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../core/errors.ts';
import {
  type Catalogue,
  type CatalogueEntry,
  cacheFolder,
  candidates,
  entryOf,
  fileNameOf,
  loadCatalogue,
} from './catalogue.ts';
import { replaceFile } from './output.ts';
import { fileProblem, loadSource, sourceOf, type TraceSource } from './source.ts';

export interface FetchOptions {
  /** Take the file from this folder instead of from the network. */
  readonly from?: string;
  readonly cacheDir?: string;
  readonly catalogue?: Catalogue;
  /** `totalBytes` is null where the server does not say. */
  readonly onProgress?: (doneBytes: number, totalBytes: number | null) => void;
}

export interface Fetched {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Whether the catalogue knows the checksum. If not, the one found is kept for the next time. */
  readonly verified: boolean;
  /** Whether it was in the cache already. */
  readonly cached: boolean;
}

/**
 * The trace in the cache folder, brought there if need be. What fails leaves nothing behind.
 * @throws InputError for an unknown name, another checksum, no network, no such file in `from`
 */
export async function fetchTrace(name: string, options: FetchOptions = {}): Promise<Fetched> {
  const entry = entryOf(name, options.catalogue ?? loadCatalogue());
  if (entry.url === undefined) {
    throw new InputError(`found "${name}", which needs no fetching, expected a trace with a URL`);
  }
  const cacheDir = options.cacheDir ?? cacheFolder();
  const path = join(cacheDir, fileNameOf(name, entry));
  const expected = entry.sha256 ?? recordedSha256(path);
  const cached = await findTrace(name, entry, [cacheDir]);
  if (cached !== null) return describe(cached, entry, true);
  const source =
    options.from === undefined
      ? await download(name, entry.url, options.onProgress)
      : await takeFrom(options.from, name, entry);
  if (expected !== null && source.sha256 !== expected) {
    throw new InputError(`found the sha256 ${source.sha256}, expected ${expected}`, source.place);
  }
  makeFolder(cacheDir);
  await replaceFile(path, [source.bytes]);
  if (entry.sha256 === undefined) {
    await replaceFile(recordOf(path), [Buffer.from(`${source.sha256}\n`)]);
  }
  return describe({ ...source, place: path }, entry, false);
}

/**
 * The trace where it is already: the first file of these folders with the right checksum. A
 * checksum that the catalogue lacks is the one recorded at the first fetch.
 */
export async function findTrace(
  name: string,
  entry: CatalogueEntry,
  folders: readonly string[],
): Promise<TraceSource | null> {
  for (const folder of folders) {
    for (const path of candidates(folder, name, entry)) {
      const expected = entry.sha256 ?? recordedSha256(path);
      const source = await loadSource(path).catch(notThisOne);
      if (source !== null && source.sha256 === expected) return source;
    }
  }
  return null;
}

/** A file that cannot be read is not the one looked for. */
function notThisOne(error: unknown): null {
  if (error instanceof InputError) return null;
  throw error;
}

function describe(source: TraceSource, entry: CatalogueEntry, cached: boolean): Fetched {
  const { place, bytes, sha256 } = source;
  const verified = entry.sha256 !== undefined;
  return { path: place, sizeBytes: bytes.length, sha256, verified, cached };
}

/** The first file of the folder that is the trace, else the likeliest, for its checksum to fail. */
async function takeFrom(folder: string, name: string, entry: CatalogueEntry): Promise<TraceSource> {
  const found = await findTrace(name, entry, [folder]);
  if (found !== null) return found;
  const [likeliest] = candidates(folder, name, entry);
  if (likeliest !== undefined) return loadSource(likeliest);
  const expected = `${fileNameOf(name, entry)} or a copy of it`;
  throw new InputError(`found no such trace, expected ${expected}`, folder);
}

async function download(
  name: string,
  url: string,
  onProgress: FetchOptions['onProgress'],
): Promise<TraceSource> {
  const remedy = `a server that answers (or a copy: trace fetch ${name} --from DIR)`;
  try {
    const response = await fetch(url);
    if (!response.ok || response.body === null) {
      throw new InputError(`found HTTP status ${response.status}, expected ${remedy}`, url);
    }
    const length = response.headers.get('content-length');
    // A compressed transfer's length is not that of what arrives.
    const encoded = response.headers.has('content-encoding');
    const totalBytes = length === null || encoded ? null : Number(length);
    const chunks: Uint8Array[] = [];
    let doneBytes = 0;
    for await (const chunk of response.body) {
      chunks.push(chunk);
      doneBytes += chunk.length;
      onProgress?.(doneBytes, totalBytes);
    }
    return await sourceOf(url, Buffer.concat(chunks));
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`found no connection (${causeOf(error)}), expected ${remedy}`, url);
  }
}

/** What `fetch` hides behind "fetch failed". */
function causeOf(error: unknown): string {
  const { cause, message } = error as Error;
  const { code, message: inner } = (cause ?? {}) as NodeJS.ErrnoException;
  return code ?? inner ?? message;
}

function recordOf(path: string): string {
  return `${path}.sha256`;
}

function recordedSha256(path: string): string | null {
  try {
    return readFileSync(recordOf(path), 'utf8').trim();
  } catch {
    return null;
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new InputError(`found ${fileProblem(error)}, expected a folder to write to`, folder);
  }
}
