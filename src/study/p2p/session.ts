/** Objects of a live swarm: offer one, pull one, list them, take one back. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { importBuiltin } from '../../config/builtin-policies.ts';
import { shardPolicy } from '../../config/shard-policies.ts';
import { InputError } from '../../core/errors.ts';
import type { RailPolicy } from '../../core/policy.ts';
import { Channels, railsAt } from '../../runtime/control/channels.ts';
import type { Links } from '../../runtime/control/links.ts';
import type { Security } from '../../runtime/control/security.ts';
import { RAIL_KINDS, type RailKind, type RailSpec } from '../../runtime/data-plane.ts';
import { loadNative, type NativeAddon } from '../../runtime/native.ts';
import { FileSet } from '../../runtime/p2p/file-set.ts';
import {
  checkName,
  crcsOf,
  holdersOf,
  type Manifest,
  makeManifest,
  OBJECTS,
  parseManifest,
  shardCount,
  shardLength,
} from '../../runtime/p2p/manifest.ts';
import { P2pNode } from '../../runtime/p2p/node.ts';
import { HUB, type RegistryRef } from '../../runtime/registry/open.ts';
import { ABSENT, type Registry } from '../../runtime/registry/registry.ts';

const LAST_WORD_MS = 300;

export interface P2pOptions {
  /** Null: this process serves one itself. */
  readonly registry: RegistryRef | null;
  readonly security: Security;
  readonly listen: string;
  readonly rails: readonly string[];
}

/** This process's place among the others: its links, and the registry. */
export interface P2pSession {
  readonly name: string;
  readonly registry: Registry;
  readonly links: Links;
  /** Where others find the registry that it serves; null: it serves none. */
  readonly served: string | null;
  node: P2pNode | null;
  close(): Promise<void>;
}

/** @throws InputError where strangers could reach it */
export async function openSession(options: P2pOptions): Promise<P2pSession> {
  const { registry, security, listen } = options;
  const name = registry === null ? HUB : `p2p-${randomBytes(8).toString('hex')}`;
  const channels = new Channels({
    name,
    listen,
    security,
    registry,
    endpointOf: (peer) => session.node?.endpointOf(peer) ?? null,
    onLetter: (peer, letter) => {
      if (Array.isArray(letter) && letter[0] === 'p2p') session.node?.receive(peer, letter[1]);
    },
    onReset: (peer) => session.node?.reset(peer),
  });
  const session: P2pSession = {
    name,
    links: channels.links,
    registry: channels.registry,
    served: null,
    node: null,
    close: async () => {
      await session.node?.close();
      // Whoever watches a registry that ends here hears the last of it.
      if (registry === null) await new Promise((heard) => setTimeout(heard, LAST_WORD_MS));
      await channels.close();
    },
  };
  const endpoint = await channels.listen();
  if (registry !== null) return session;
  return Object.assign(session, { served: `hub://${endpoint}` });
}

const hostOf = (listen: string): string => listen.slice(0, listen.lastIndexOf(':'));

/** @throws InputError when the name is taken, or the files can't be read */
export async function offer(
  session: P2pSession,
  options: P2pOptions,
  root: string,
  given: { readonly name: string | null; readonly shardBytes: number },
): Promise<P2pNode> {
  const addon = nativeAddon();
  const name = checkName(given.name ?? basename(resolve(root)));
  const sum = (bytes: Uint8Array) => addon.crc32c(bytes, 0);
  const manifest = await makeManifest(name, resolve(root), given.shardBytes, sum);
  const text = JSON.stringify(manifest);
  if ((await session.registry.put(OBJECTS + name, text, ABSENT)) === null) {
    const known = await session.registry.get(OBJECTS + name);
    if (known?.value !== text) {
      throw new InputError(`found another object with the name ${name}: moontide p2p rm ${name}`);
    }
  }
  const files = FileSet.forReading(resolve(root), manifest.files);
  const held = new Uint8Array(shardCount(manifest)).fill(1);
  return start(session, options, addon, { manifest, files, held, origin: true, policy: 'rarest' });
}

/** Starts to pull into `out`, or goes on where an earlier pull into it was cut off. */
export async function pull(
  session: P2pSession,
  options: P2pOptions,
  name: string,
  given: { readonly out: string; readonly policy: string },
): Promise<{ readonly node: P2pNode; finish(): Promise<void> }> {
  const out = resolve(given.out);
  const addon = nativeAddon();
  shardPolicy(given.policy);
  const entry = await session.registry.get(OBJECTS + checkName(name));
  if (entry === null) throw new InputError(`found no object ${name}: moontide p2p list shows them`);
  if (existsSync(out)) throw new InputError('found it there already, expected nothing', out);
  const manifest = parseManifest(entry.value, name);
  const part = `${out}.part`;
  const resumed = existsSync(part);
  const files = await FileSet.forWriting(part, manifest.files);
  const held = new Uint8Array(shardCount(manifest));
  if (resumed) await findHeld(files, manifest, addon, held);
  const { policy } = given;
  const node = await start(session, options, addon, {
    manifest,
    files,
    held,
    origin: false,
    policy,
  });
  return { node, finish: () => node.finish(out) };
}

/** Shards whose bytes are there and right: nothing else is believed of an earlier pull. */
async function findHeld(
  files: FileSet,
  manifest: Manifest,
  addon: NativeAddon,
  held: Uint8Array,
): Promise<void> {
  const crcs = crcsOf(manifest);
  const buffer = new Uint8Array(Math.min(manifest.shardBytes, manifest.sizeBytes));
  for (let shard = 0; shard < held.length; shard++) {
    const bytes = buffer.subarray(0, shardLength(manifest, shard));
    await files.read(shard * manifest.shardBytes, bytes);
    if (addon.crc32c(bytes, 0) === crcs[shard]) held[shard] = 1;
  }
}

async function start(
  session: P2pSession,
  options: P2pOptions,
  addon: NativeAddon,
  given: {
    readonly manifest: Manifest;
    readonly files: FileSet;
    readonly held: Uint8Array;
    readonly origin: boolean;
    readonly policy: string;
  },
): Promise<P2pNode> {
  const { policy, ...rest } = given;
  const even = (await importBuiltin('rail', 'even')).default as {
    create(context: unknown, params: unknown): RailPolicy;
  };
  const node = new P2pNode({
    ...rest,
    name: session.name,
    addon,
    links: session.links,
    registry: session.registry,
    host: hostOf(options.listen),
    policy: shardPolicy(policy).create(),
    rails: railsOf(options),
    railPolicy: even.create({ random: () => 0.5 }, {}),
    onError: (error) => {
      throw error;
    },
  });
  session.node = node;
  await node.join();
  return node;
}

export interface P2pObject {
  readonly name: string;
  readonly sizeBytes: number;
  readonly files: number;
  readonly shards: number;
  readonly shardBytes: number;
  readonly origins: number;
  readonly holders: number;
}

export async function listObjects(registry: Registry): Promise<P2pObject[]> {
  const objects: P2pObject[] = [];
  for (const [key, { value }] of await registry.list(OBJECTS)) {
    const name = key.slice(OBJECTS.length);
    const { sizeBytes, shardBytes, files } = parseManifest(value, name);
    const shards = shardCount({ sizeBytes, shardBytes });
    const holders = [...(await registry.list(holdersOf(name))).values()];
    const origins = holders.filter(({ value: text }) => JSON.parse(text).origin === true).length;
    const counts = { origins, holders: holders.length };
    objects.push({ name, sizeBytes, files: files.length, shards, shardBytes, ...counts });
  }
  return objects.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Whoever offers or pulls it stops; files stay. @throws InputError when there is none */
export async function removeObject(registry: Registry, name: string): Promise<void> {
  const entry = await registry.get(OBJECTS + checkName(name));
  if (entry === null) throw new InputError(`found no object ${name}: moontide p2p list shows them`);
  await registry.remove(OBJECTS + name, entry.revision);
}

function railsOf({ listen, security, rails }: P2pOptions): RailSpec[] {
  const specs = rails.map((rail) => ({ kind: railKind(rail), bytesPerNs: null, options: {} }));
  return railsAt(listen, security, specs);
}

function railKind(text: string): RailKind {
  const known = RAIL_KINDS.find((kind) => kind === text);
  if (known === undefined) {
    throw new InputError(`found ${text}, expected one of ${RAIL_KINDS.join(', ')}`, '--rail');
  }
  return known;
}

function nativeAddon(): NativeAddon {
  const { addon, reason } = loadNative();
  if (addon === null) throw new InputError(reason ?? 'no native addon');
  return addon;
}
