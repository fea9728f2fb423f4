/** What an object is: its files, its shards and their checksums. It stands in the registry. */
import { InputError } from '../../core/errors.ts';
import { type FileEntry, FileSet, isSafePath, listFiles } from './file-set.ts';

export interface Manifest {
  readonly version: 1;
  readonly name: string;
  readonly files: readonly FileEntry[];
  readonly sizeBytes: number;
  readonly shardBytes: number;
  /** CRC-32C of each shard: uint32, little endian, base64. */
  readonly crcs: string;
}

/** Keys of the registry. */
export const OBJECTS = 'p2p/objects/';
export const holdersOf = (name: string): string => `p2p/holders/${name}/`;

/** Who has shards of an object; it is gone with its lease. */
export interface HolderRecord {
  readonly name: string;
  readonly endpoint: string;
  readonly origin: boolean;
  /** Its pool, as base64. */
  readonly segment: string;
}

/** An etcd value holds about 1.5 MB: 200,000 shards have 1.1 MB of checksums. */
export const SHARDS_MAX = 200_000;
const NAME = /^[\w.-]{1,100}$/;

export type Checksum = (bytes: Uint8Array) => number;

/** @throws InputError */
export function checkName(name: string): string {
  if (NAME.test(name)) return name;
  const found = JSON.stringify(name);
  throw new InputError(
    `found ${found}, expected at most 100 letters, digits, dots, dashes`,
    'name',
  );
}

export const shardCount = (manifest: { sizeBytes: number; shardBytes: number }): number =>
  Math.ceil(manifest.sizeBytes / manifest.shardBytes);

export function shardLength(manifest: Manifest, shard: number): number {
  const { sizeBytes, shardBytes } = manifest;
  return Math.min(shardBytes, sizeBytes - shard * shardBytes);
}

/** Reads the files once. */
export async function makeManifest(
  name: string,
  root: string,
  shardBytes: number,
  checksum: Checksum,
): Promise<Manifest> {
  const files = await listFiles(root);
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const shards = shardCount({ sizeBytes, shardBytes });
  if (shards === 0) throw new InputError('found no bytes, expected some', root);
  if (shards > SHARDS_MAX) {
    const found = `found ${shards} shards of ${shardBytes} bytes`;
    throw new InputError(`${found}, expected at most ${SHARDS_MAX}: give a larger --shard`, root);
  }
  const set = FileSet.forReading(root, files);
  const crcs = new Uint32Array(shards);
  const buffer = new Uint8Array(Math.min(shardBytes, sizeBytes));
  for (let shard = 0; shard < shards; shard++) {
    const bytes = buffer.subarray(0, Math.min(shardBytes, sizeBytes - shard * shardBytes));
    await set.read(shard * shardBytes, bytes);
    crcs[shard] = checksum(bytes);
  }
  await set.close();
  const text = Buffer.from(crcs.buffer).toString('base64');
  return { version: 1, name: checkName(name), files, sizeBytes, shardBytes, crcs: text };
}

/** @throws InputError for what is no manifest: it decides which files are written */
export function parseManifest(text: string, place: string): Manifest {
  const bad = (what: string) => new InputError(`found a manifest with ${what}`, place);
  let found: Manifest;
  try {
    found = JSON.parse(text) as Manifest;
  } catch {
    throw bad('text that is no JSON');
  }
  const whole = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  if (found?.version !== 1) throw bad(`version ${found?.version}, expected 1`);
  if (!whole(found.sizeBytes) || !whole(found.shardBytes) || found.shardBytes % 4096 !== 0) {
    throw bad('bad sizes');
  }
  const shards = shardCount(found);
  if (!(shards >= 1 && shards <= SHARDS_MAX)) throw bad(`${shards} shards`);
  if (!Array.isArray(found.files)) throw bad('no files');
  let sizeBytes = 0;
  for (const { path, sizeBytes: size } of found.files) {
    const lone = path === '' && found.files.length === 1;
    if (typeof path !== 'string' || !(lone || isSafePath(path))) {
      throw bad(`the path ${JSON.stringify(path)}`);
    }
    if (!whole(size)) throw bad(`the size ${size}`);
    sizeBytes += size;
  }
  if (sizeBytes !== found.sizeBytes) throw bad('sizes that disagree');
  if (crcsOf(found).length !== shards) throw bad('another number of checksums than of shards');
  return found;
}

export function crcsOf({ crcs }: Manifest): Uint32Array {
  const bytes = new Uint8Array(Buffer.from(String(crcs), 'base64'));
  return new Uint32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
}
