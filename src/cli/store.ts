/** `moontide store …`: objects under names, on the stores of a cluster. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { InputError } from '../core/errors.ts';
import { PIN_NAMES } from '../core/topology.ts';
import type { ObjectPlace, PinName, StoreClient } from '../runtime/store/index.ts';
import { addFindOptions, type FindFlags } from './live-options.ts';
import { numberOption } from './options.ts';
import { printJson } from './output.ts';
import { addBench } from './store-bench.ts';
import { addServe, addUp } from './store-up.ts';
import { table } from './table.ts';

const EXAMPLES = `
Examples:
  moontide store up --nodes 3 --dram 256MiB          # in another terminal
  moontide store put weights/0 shard-0.bin --replicas 2 --pin soft
  tar c data | moontide store put data.tar -
  moontide store get weights/0 --output copy.bin
  moontide store list weights/; moontide store stat weights/0; moontide store remove weights/0`;

interface Flags extends FindFlags {
  readonly json?: true;
  readonly replicas: number;
  readonly pin: string;
  readonly output?: string;
  readonly listen: string;
}

export function addStoreCommand(program: Command): void {
  const store = program
    .command('store')
    .description('Objects under names, in the memory of a cluster.')
    .addHelpText('after', EXAMPLES);
  addUp(store);
  addServe(store);
  addBench(store);
  const replicas = numberOption('--replicas', 1, true);
  verb(store, 'put <name> [file]', 'Store a file, or stdin.')
    .option('--replicas <n>', 'stores that hold it before it is acknowledged', replicas, 1)
    .option('--pin <pin>', 'none, soft (gives way last) or hard (never)', 'none')
    .action((name: string, file: string | undefined, flags: Flags) => put(name, file, flags));
  verb(store, 'get <name>', 'Write a value to a file, or to stdout.')
    .option('-o, --output <file>', 'default: stdout')
    .action(get);
  verb(store, 'exists <names...>', 'Exit 0 when all are there, 1 when one is not.').action(exists);
  verb(store, 'remove <names...>', 'Take them away, pinned or not.').action(remove);
  verb(store, 'pin <name> <pin>', 'Pin what is there: none, soft or hard.').action(pin);
  verb(store, 'list [prefix]', 'Names, sizes, pins and tiers, store by store.').action(list);
  verb(store, 'stat [name]', 'Where an object is; without a name: the stores.').action(stat);
}

function verb(store: Command, usage: string, description: string): Command {
  const command = addFindOptions(store.command(usage).description(description));
  return command
    .option('--listen <host:port>', 'where stores reach it', '127.0.0.1:0')
    .option('--json', 'print the result alone, as JSON');
}

async function connected<T>(
  flags: FindFlags & { readonly replicas?: number; readonly listen: string },
  work: (client: StoreClient) => Promise<T>,
): Promise<T> {
  const { findCluster } = await import('../study/live/state-file.ts');
  const { tlsFrom } = await import('../runtime/control/security.ts');
  const { StoreClient } = await import('../runtime/store/index.ts');
  const { registry, token } = findCluster(flags);
  const tls = tlsFrom({}, process.env);
  const { replicas = 1, listen } = flags;
  const client = await StoreClient.connect({ registry, token, tls, replicas, listen });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

async function put(name: string, file: string | undefined, flags: Flags): Promise<void> {
  const pinned = pinName(flags.pin, '--pin');
  const value = read(file ?? '-');
  const { replicas } = flags;
  const outcome = await connected(flags, (client) =>
    client.put(name, value, { replicas, pin: pinned }),
  );
  if (flags.json) printJson({ name, sizeBytes: value.length, outcome });
  else if (outcome === 'exists') process.stderr.write(`${name} exists: nothing was written\n`);
}

function read(file: string): Uint8Array {
  try {
    return readFileSync(file === '-' ? 0 : file);
  } catch (error) {
    throw new InputError(`found no file that can be read: ${(error as Error).message}`, file);
  }
}

async function get(name: string, flags: Flags): Promise<void> {
  const value = await connected(flags, (client) => client.get(name));
  const { output, json } = flags;
  if (json) printJson({ name, sizeBytes: value?.length ?? null });
  if (value === null) throw new NotThere([name]);
  if (output !== undefined) {
    writeFileSync(`${output}.part`, value);
    renameSync(`${output}.part`, output);
  } else if (!json) process.stdout.write(value);
}

/** Said in one line, exit 1. */
class NotThere extends Error {
  override readonly name = 'StoreError';

  constructor(names: readonly string[]) {
    super(`${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} not there`);
  }
}

async function exists(names: string[], flags: Flags): Promise<void> {
  const found = await connected(flags, (client) => client.existsBatch(names));
  answer(names, found, flags);
}

async function remove(names: string[], flags: Flags): Promise<void> {
  const found = await connected(flags, (client) => client.removeBatch(names));
  answer(names, found, flags);
}

async function pin(name: string, to: string, flags: Flags): Promise<void> {
  const pinned = pinName(to, 'pin');
  const found = await connected(flags, (client) => client.pin(name, pinned));
  answer([name], [found], flags);
}

function answer(names: readonly string[], found: readonly boolean[], flags: Flags): void {
  if (flags.json) printJson(names.map((name, i) => ({ name, found: found[i] })));
  const missing = names.filter((_, i) => !found[i]);
  if (missing.length > 0) throw new NotThere(missing);
}

function pinName(text: string, place: string): PinName {
  if ((PIN_NAMES as readonly string[]).includes(text)) return text as PinName;
  throw new InputError(`found ${JSON.stringify(text)}, expected none, soft or hard`, place);
}

async function list(prefix: string | undefined, flags: Flags): Promise<void> {
  const places: ObjectPlace[] = [];
  await connected(flags, async (client) => {
    for await (const place of client.list(prefix)) places.push(place);
  });
  show(places, flags);
}

async function stat(name: string | undefined, flags: Flags): Promise<void> {
  if (name !== undefined) {
    const places = await connected(flags, (client) => client.places(name));
    if (places.length === 0) throw new NotThere([name]);
    show(places, flags);
    return;
  }
  const stores = await connected(flags, (client) => client.stat());
  if (flags.json) {
    printJson(stores);
    return;
  }
  const rows = stores.map((store) => [
    store.store,
    store.endpoint,
    String(store.objects),
    bytes(store.objectBytes),
    `${store.dramUsedSlots}/${store.dramSlots}`,
    `${store.ssdUsedSlots}/${store.ssdSlots}`,
    String(store.evictedObjects),
    String(store.damagedObjects),
  ]);
  const head = ['store', 'endpoint', 'objects', 'bytes', 'DRAM slots', 'SSD slots'];
  process.stdout.write(`${table([...head, 'evicted', 'damaged'], rows, [1])}\n`);
}

function show(places: readonly ObjectPlace[], flags: Flags): void {
  const objects = places.map(({ name, store, sizeBytes, pin: pinned, ...rest }) => {
    const tiers = [rest.inDram ? 'dram' : '', rest.onSsd ? 'ssd' : ''].filter(Boolean);
    return { name, store, sizeBytes, pin: PIN_NAMES[pinned], tiers, leased: rest.leased };
  });
  if (flags.json) {
    printJson(objects);
    return;
  }
  const rows = objects.map(({ name, store, sizeBytes, pin: pinned, tiers }) => [
    name,
    store,
    bytes(sizeBytes),
    pinned,
    tiers.join(' '),
  ]);
  process.stdout.write(`${table(['name', 'store', 'bytes', 'pin', 'tiers'], rows, [1, 3, 4])}\n`);
}

const bytes = (count: number): string => count.toLocaleString('en-US');
