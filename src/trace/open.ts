/**
 * Opens a trace by what a user types: `format:path` (`mooncake:-` is stdin), a name of the
 * catalogue, or a path, whose format is told by its content.
 */
import { existsSync } from 'node:fs';
import { InputError } from '../core/errors.ts';
import { nearest } from '../core/kit/nearest.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import {
  type Catalogue,
  type CatalogueEntry,
  cacheFolder,
  loadCatalogue,
  shippedPath,
} from './catalogue.ts';
import { findTrace } from './fetch.ts';
import { FORMATS, formatNamed, formatOf } from './formats.ts';
import type { ReadOptions } from './mooncake.ts';
import { loadSource } from './source.ts';
import { checkCount } from './transform.ts';

export interface OpenOptions extends ReadOptions {
  readonly catalogue?: Catalogue;
  /** Where $MOONTIDE_TRACES and the cache folder are looked up. */
  readonly env?: NodeJS.ProcessEnv;
}

/** @throws InputError for an unknown name or format, a missing file, a bad line */
export async function openTrace(name: string, options: OpenOptions = {}): Promise<TraceColumns> {
  const { catalogue = loadCatalogue(), env = process.env, ...read } = options;
  if (read.limit !== undefined) checkCount('limit', read.limit);
  if (read.blockTokens !== undefined) checkCount('block tokens', read.blockTokens);
  if (Object.hasOwn(catalogue, name)) {
    return openEntry(name, catalogue[name], read, env);
  }
  const [, format, path] = /^([\w-]+):(.+)$/.exec(name) ?? [];
  if (format !== undefined && !existsSync(name)) {
    const reader = formatNamed(format, name);
    return reader.read(await loadSource(path), read);
  }
  if (name !== '-' && !existsSync(name)) throw unknownTrace(name, catalogue);
  const source = await loadSource(name);
  return formatOf(source).read(source, read);
}

async function openEntry(
  name: string,
  entry: CatalogueEntry,
  read: ReadOptions,
  env: NodeJS.ProcessEnv,
): Promise<TraceColumns> {
  const format = formatNamed(entry.format, name);
  const { blockTokens } = entry;
  const options = blockTokens === undefined ? read : { blockTokens, ...read };
  if (entry.file !== undefined) {
    return format.read(await loadSource(shippedPath(entry.file)), options);
  }
  const folders = [...(env.MOONTIDE_TRACES ? [env.MOONTIDE_TRACES] : []), cacheFolder(env)];
  const source = await findTrace(name, entry, folders);
  if (source !== null) return format.read(source, options);
  const looked = folders.join(' and ');
  throw new InputError(
    `found no copy in ${looked}, expected one: moontide trace fetch ${name}`,
    name,
  );
}

function unknownTrace(name: string, catalogue: Catalogue): InputError {
  const names = Object.keys(catalogue);
  const meant = nearest(name, names);
  const hint = meant === null ? '' : ` (nearest: ${meant})`;
  const formats = FORMATS.map((format) => format.name).join(' or ');
  const expected = `one of ${names.join(', ')}${hint}, a file, or FORMAT:PATH with ${formats}`;
  return new InputError(`found no such file or name, expected ${expected}`, name);
}
