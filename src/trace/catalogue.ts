/** The catalogue: traces that have a name, where they come from and how they are recognised. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';

export interface CatalogueEntry {
  readonly description: string;
  readonly licence: string;
  /** Name in the table of src/trace/formats.ts. */
  readonly format: string;
  /** Tokens per block; absent where the format has no blocks. */
  readonly blockTokens?: number;
  /** A file that ships in traces/. */
  readonly file?: string;
  /** Origin of a file that is fetched; it has this or `file`. */
  readonly url?: string;
  /** Of the decompressed bytes; absent where nobody has published it. */
  readonly sizeBytes?: number;
  readonly sha256?: string;
}

export type Catalogue = Readonly<Record<string, CatalogueEntry>>;

/** The folder traces/ of this package, beside src/ and dist/. */
const SHIPPED_FOLDER = fileURLToPath(new URL('../../traces', import.meta.url));

export function loadCatalogue(): Catalogue {
  return JSON.parse(readFileSync(join(SHIPPED_FOLDER, 'catalogue.json'), 'utf8'));
}

export function entryOf(name: string, catalogue: Catalogue): CatalogueEntry {
  if (Object.hasOwn(catalogue, name)) return catalogue[name];
  throw new InputError(
    `found the trace "${name}", expected ${oneOf(name, Object.keys(catalogue))}`,
  );
}

export function shippedPath(file: string): string {
  return join(SHIPPED_FOLDER, file);
}

/** Where fetched traces live: $MOONTIDE_CACHE, or moontide/traces in the user's cache folder. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.MOONTIDE_CACHE) return env.MOONTIDE_CACHE;
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'moontide', 'traces');
}

/** The name under which a fetched trace is kept. */
export function fileNameOf(name: string, entry: CatalogueEntry): string {
  return entry.url === undefined ? name : basename(new URL(entry.url).pathname);
}

/**
 * Files of a folder that may be the trace, the likeliest first: by name, or by size, which only
 * a plain file tells. The checksum decides. None where the folder does not exist.
 */
export function candidates(folder: string, name: string, entry: CatalogueEntry): string[] {
  if (!existsSync(folder)) return [];
  const fileName = fileNameOf(name, entry).toLowerCase();
  const ranked: { path: string; rank: number }[] = [];
  for (const found of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, found.name);
    const plain = found.name.toLowerCase().replace(/\.(gz|zst)$/, '');
    let rank = 0;
    if (plain === fileName) rank = 3;
    else if (entry.sizeBytes !== undefined && sizeOf(path) === entry.sizeBytes) rank = 2;
    else if (entry.sha256 !== undefined && plain.includes(name.toLowerCase())) rank = 1;
    if (rank > 0 && sizeOf(path) >= 0) ranked.push({ path, rank });
  }
  ranked.sort((a, b) => b.rank - a.rank || (a.path < b.path ? -1 : 1));
  return ranked.map(({ path }) => path);
}

/** Size of a plain file, or -1. */
function sizeOf(path: string): number {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() ? found.size : -1;
}
