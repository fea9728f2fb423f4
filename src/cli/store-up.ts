/** `moontide store up` and `store serve`: a cluster of stores, and one store. */
import type { Command } from 'commander';
import { parseQuantity, SIZE } from '../config/units.ts';
import { InputError } from '../core/errors.ts';
import type { RailKind, RailSpec } from '../runtime/data-plane.ts';
import { railKind } from './live-options.ts';
import { numberOption } from './options.ts';
import { paint, table } from './table.ts';

interface StoreFlags {
  readonly dram: string;
  readonly block: string;
  readonly objectMax: string;
  readonly ssd?: string;
  readonly ssdSize: string;
  readonly eviction: string;
  readonly ssdEviction: string;
  readonly tiering: string;
  readonly leaseTtl: number;
  readonly transport: string;
}

interface UpFlags extends StoreFlags {
  readonly nodes: number;
  readonly dir?: string;
}

interface ServeFlags extends StoreFlags {
  readonly name: string;
  readonly registry: string;
  readonly listen: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
}

function addStoreOptions(command: Command): Command {
  return command
    .option('--dram <size>', 'memory for objects', '1GiB')
    .option('--block <size>', 'what an object takes at least; all stores have the same', '1MiB')
    .option('--object-max <size>', 'the largest object', '64MiB')
    .option('--ssd <dir>', 'an SSD tier in this folder, which it empties')
    .option('--ssd-size <size>', 'of the SSD tier', '4GiB')
    .option('--eviction <policy>', 'of DRAM', 'lru')
    .option('--ssd-eviction <policy>', 'of the SSD tier', 'fifo')
    .option('--tiering <policy>', 'what moves between the tiers', 'write-back')
    .option('--lease-ttl <s>', 'of a read', numberOption('--lease-ttl', 0, false), 10)
    .option('--transport <list>', 'how blocks move: local, tcp, fabric', 'local,tcp');
}

export function addUp(store: Command): void {
  const command = store
    .command('up')
    .description('Bring up stores on this machine and keep them up until Ctrl-C.')
    .option('--nodes <n>', 'stores', numberOption('--nodes', 1, true), 3)
    .option('--dir <dir>', 'where the registry and the token are written down');
  addStoreOptions(command).action(up);
}

export function addServe(store: Command): void {
  const command = store
    .command('serve')
    .description('One store: joins a cluster, live or of stores alone.')
    .requiredOption('--name <name>', 'unique in the cluster')
    .requiredOption('--registry <url>', 'etcd://host:port,host:port/prefix or hub://host:port')
    .option('--listen <host:port>', 'where clients reach it', '127.0.0.1:0')
    .option('--tls-cert <file>', 'mutual TLS: own certificate, PEM')
    .option('--tls-key <file>', 'its key')
    .option('--tls-ca <file>', 'the authority that signs the certificates of the cluster')
    .addHelpText('after', '\nThe token of the cluster is read from MOONTIDE_TOKEN.');
  addStoreOptions(command).action(serve);
}

const warn = (message: string) => void process.stderr.write(`moontide: ${message}\n`);

/** Resolves with what stopped it; null: it was told to. */
function untilStopped(): { stopped: Promise<unknown>; stop: (error: unknown) => void } {
  let stop: (error: unknown) => void = () => {};
  const stopped = new Promise<unknown>((resolve) => {
    stop = resolve;
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => stop(null));
  }
  return { stopped, stop: (error) => stop(error) };
}

async function up(flags: UpFlags): Promise<void> {
  const { storeUp } = await import('../study/store/up.ts');
  settingsOf(flags);
  const { stopped } = untilStopped();
  const { nodes, dir, dram, block, transport } = flags;
  const cluster = await storeUp({
    nodes,
    dir,
    onWarning: warn,
    serve: (store) => [
      ...['--dram', dram, '--block', block, '--object-max', flags.objectMax],
      ...(flags.ssd === undefined ? [] : ['--ssd', `${flags.ssd}/store-${store}`]),
      ...['--ssd-size', flags.ssdSize, '--eviction', flags.eviction],
      ...['--ssd-eviction', flags.ssdEviction, '--tiering', flags.tiering],
      ...['--lease-ttl', String(flags.leaseTtl), '--transport', transport],
    ],
  });
  const rows = [
    ['stores', `${nodes} of ${dram}, block ${block}`],
    ['token in', `${cluster.folder}/cluster.json`],
    ['next', 'moontide store put NAME FILE · moontide store stat'],
  ];
  process.stdout.write(`${table(['cluster', 'up'], rows, [1])}\n`);
  process.stdout.write(`${paint('dim', 'Ctrl-C takes it down.')}\n`);
  await stopped;
  await cluster.stop();
}

async function serve(flags: ServeFlags): Promise<void> {
  const { StoreAgent } = await import('../runtime/store/agent.ts');
  const { STORE_DEFAULTS } = await import('../runtime/store/spec.ts');
  const { tlsFrom } = await import('../runtime/control/security.ts');
  const { parseRegistry } = await import('../runtime/registry/open.ts');
  const token = process.env.MOONTIDE_TOKEN ?? '';
  if (token === '') throw new InputError('found no MOONTIDE_TOKEN, expected the cluster token');
  const { stopped, stop } = untilStopped();
  const agent = new StoreAgent({
    name: flags.name,
    listen: flags.listen,
    security: { token, tls: tlsFrom(flags, process.env) },
    registry: parseRegistry(flags.registry),
    settings: { ...STORE_DEFAULTS, ...settingsOf(flags) },
    onError: stop,
    onWarning: warn,
  });
  if (!process.stdin.isTTY) {
    // Whoever started it is gone.
    process.stdin.on('end', () => stop(null)).on('error', () => stop(null));
    process.stdin.resume();
  }
  await agent.join();
  const error = await stopped;
  await agent.leave();
  process.stdin.destroy();
  if (error !== null) throw error;
}

function settingsOf(flags: StoreFlags) {
  const slotBytes = size('--block', flags.block);
  if (slotBytes % 4096 !== 0) {
    throw new InputError(`found ${flags.block}, expected a multiple of 4KiB`, '--block');
  }
  const kinds = flags.transport.split(',').map((kind) => railKind(kind.trim()));
  const rail = (kind: RailKind): RailSpec => ({ kind, bytesPerNs: null, options: {} });
  const bytes = size('--ssd-size', flags.ssdSize);
  const leaseTtlNs = Math.round(flags.leaseTtl * 1e9);
  return {
    slotBytes,
    dramBytes: size('--dram', flags.dram),
    objectBytesMax: size('--object-max', flags.objectMax),
    ssd: flags.ssd === undefined ? null : { folder: flags.ssd, bytes },
    eviction: flags.eviction,
    ssdEviction: flags.ssdEviction,
    tiering: flags.tiering,
    leaseTtlNs,
    guardNs: Math.min(2e9, leaseTtlNs / 5),
    rails: kinds.map(rail),
  };
}

function size(flag: string, text: string): number {
  const found = parseQuantity(SIZE, text);
  if (found !== null && found > 0) return found;
  throw new InputError(`found '${text}', expected ${SIZE.expected}`, flag);
}
