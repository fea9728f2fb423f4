/** `moontide p2p …`: a checkpoint from one node to many, shard by shard; and the same simulated. */
import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { DURATION, RATE, SIZE } from '../config/units.ts';
import { InputError } from '../core/errors.ts';
import type { P2pOptions, P2pSession } from '../study/p2p/session.ts';
import type { SwarmResult } from '../study/p2p/simulate.ts';
import { collect, numberOption, quantityOption } from './options.ts';
import { printJson } from './output.ts';
import { table } from './table.ts';

const EXAMPLES = `
Examples:
  moontide p2p register ./checkpoint --name llama-70b       (serves a registry, prints how to pull)
  moontide p2p get llama-70b -o ./checkpoint --registry hub://10.0.0.1:7000
  moontide p2p list --registry etcd://10.0.0.1:2379,10.0.0.2:2379/moontide
  moontide p2p simulate --peers 32 --size 140GB --rate 200Gbps

Token: MOONTIDE_TOKEN, the same in all processes; TLS: MOONTIDE_TLS_CERT, _KEY and _CA.`;

interface Flags {
  readonly registry?: string;
  readonly listen: string;
  readonly rail: string;
  readonly json?: true;
}

interface RegisterFlags extends Flags {
  readonly name?: string;
  readonly shard: string;
}

interface GetFlags extends Flags {
  readonly output: string;
  readonly policy: string;
  readonly seed?: true;
}

interface SimulateFlags {
  readonly peers: number;
  readonly size: string;
  readonly shard: string;
  readonly rate: string;
  readonly policy: string[];
  readonly crash: string[];
  readonly seed: number;
  readonly json?: true;
}

export function addP2pCommand(program: Command): void {
  const p2p = program
    .command('p2p')
    .description('Pass a checkpoint from one node to many, shard by shard.')
    .addHelpText('after', EXAMPLES);
  live(p2p.command('register <path>').description('Offer a file or a folder until Ctrl-C.'))
    .option('--name <name>', 'of the object; default: the name of the file')
    .option('--shard <size>', 'pieces that are pulled; a multiple of 4KiB', '16MiB')
    .action(register);
  live(p2p.command('get <name>').description('Pull an object; goes on where it was cut off.'))
    .requiredOption('-o, --output <path>', 'file or folder to make')
    .option('--policy <name>', 'which shard next, and from whom: rarest, random, origin', 'rarest')
    .option('--seed', 'stay when it is complete, and serve others until Ctrl-C')
    .action(get);
  live(p2p.command('list').description('Objects, and how many hold them.')).action(list);
  live(p2p.command('rm <name>').description('Take an object back; files stay.')).action(remove);
  addSimulate(p2p);
}

function live(command: Command): Command {
  return command
    .option('--registry <url>', 'etcd://host:port,…/prefix or hub://host:port')
    .option('--listen <host:port>', 'where peers reach it', '127.0.0.1:0')
    .option('--rail <list>', 'how bytes move: local, tcp, fabric', 'local,tcp')
    .option('--json', 'print results as JSON');
}

function addSimulate(p2p: Command): void {
  p2p
    .command('simulate')
    .description('The same peers on simulated links: how long, and what the origin sends.')
    .option('--peers <n>', 'that pull', numberOption('--peers', 1, true), 16)
    .option('--size <size>', 'of the object', '140GB')
    .option('--shard <size>', 'pieces that are pulled', '256MiB')
    .option('--rate <rate>', 'of each link, each direction', '200Gbps')
    .option(
      '--policy <name>',
      'rarest, random or origin; may be repeated; default: all',
      collect,
      [],
    )
    .option(
      '--crash <peer@time>',
      'it dies then; peer 0 is the origin; may be repeated',
      collect,
      [],
    )
    .option('--seed <n>', 'of the random streams', numberOption('--seed', 0, true), 1)
    .option('--json', 'print the results as JSON')
    .action(simulate);
}

async function optionsOf(flags: Flags, serves: boolean): Promise<P2pOptions> {
  const { parseRegistry } = await import('../runtime/registry/open.ts');
  if (flags.registry === undefined && !serves) {
    throw new InputError('found none, expected where the objects are registered', '--registry');
  }
  const registry = flags.registry === undefined ? null : parseRegistry(flags.registry);
  const { tlsFrom } = await import('../runtime/control/security.ts');
  const tls = tlsFrom({}, process.env);
  const given = process.env.MOONTIDE_TOKEN ?? '';
  if (given === '' && !serves) {
    throw new InputError('found no MOONTIDE_TOKEN, expected the token of who registered it');
  }
  return {
    registry,
    security: { token: given === '' ? randomBytes(16).toString('hex') : given, tls },
    listen: flags.listen,
    rails: flags.rail.split(','),
  };
}

async function inSession(
  options: P2pOptions,
  work: (session: P2pSession) => Promise<void>,
): Promise<void> {
  const { openSession } = await import('../study/p2p/session.ts');
  const session = await openSession(options);
  try {
    await work(session);
  } finally {
    await session.close();
  }
}

function interrupted(): Promise<'interrupted'> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => resolve('interrupted'));
    }
  });
}

async function register(path: string, flags: RegisterFlags): Promise<void> {
  const shardBytes = quantityOption('--shard', SIZE, flags.shard);
  if (shardBytes < 4096 || shardBytes % 4096 !== 0) {
    throw new InputError(`found ${flags.shard}, expected a multiple of 4KiB`, '--shard');
  }
  const options = await optionsOf(flags, true);
  const { offer } = await import('../study/p2p/session.ts');
  await inSession(options, async (session) => {
    const stop = interrupted();
    const node = await offer(session, options, path, { name: flags.name ?? null, shardBytes });
    const { name, sizeBytes } = node.manifest;
    const registry = session.served ?? flags.registry ?? '';
    const { token } = options.security;
    if (flags.json) printJson({ name, sizeBytes, registry, token });
    else {
      process.stdout.write(
        `${name}: ${sizeText(sizeBytes)} offered until Ctrl-C. To pull it:\n` +
          `  MOONTIDE_TOKEN=${token} moontide p2p get ${name} -o ./${name} ` +
          `--registry ${registry}\n`,
      );
    }
    const end = await Promise.race([stop, node.removed.then(() => 'removed' as const)]);
    if (end === 'removed') process.stderr.write(`${name} was removed\n`);
  });
}

async function get(name: string, flags: GetFlags): Promise<void> {
  const options = await optionsOf(flags, false);
  const { pull } = await import('../study/p2p/session.ts');
  const { countProgress } = await import('./progress.ts');
  await inSession(options, async (session) => {
    const stop = interrupted();
    const startMs = performance.now();
    const { node, finish } = await pull(session, options, name, {
      out: flags.output,
      policy: flags.policy,
    });
    const resumed = node.swarm.heldShards;
    const progress = process.stderr.isTTY && !flags.json ? countProgress('shards') : null;
    const shown = setInterval(() => {
      progress?.update(node.swarm.heldShards, node.swarm.states.length);
    }, 200);
    const ends = [stop, node.complete, node.removed.then(() => 'removed' as const)];
    const end = await Promise.race(ends);
    clearInterval(shown);
    progress?.end();
    if (end === 'removed' && !node.swarm.complete) {
      throw new InputError(`${name} was removed while it was pulled`);
    }
    if (end === 'interrupted') {
      process.stderr.write(`interrupted: the same command goes on from ${flags.output}.part\n`);
      process.exitCode = 130;
      return;
    }
    await finish();
    const seconds = (performance.now() - startMs) / 1000;
    const { pulledBytes, ...counts } = node.counts;
    if (flags.json) printJson({ name, seconds, resumedShards: resumed, pulledBytes, ...counts });
    else {
      const rate = `${sizeText(pulledBytes / seconds)}/s`;
      process.stdout.write(`${flags.output}: complete after ${seconds.toFixed(1)} s, ${rate}\n`);
    }
    if (flags.seed) await Promise.race([stop, node.removed]);
  });
}

async function list(flags: Flags): Promise<void> {
  const options = await optionsOf(flags, false);
  const { listObjects } = await import('../study/p2p/session.ts');
  await inSession(options, async ({ registry }) => {
    const objects = await listObjects(registry);
    if (flags.json) return printJson(objects);
    const rows = objects.map(({ name, sizeBytes, files, shards, shardBytes, origins, holders }) => [
      ...[name, sizeText(sizeBytes), String(files), String(shards)],
      ...[sizeText(shardBytes), String(origins), String(holders - origins)],
    ]);
    const head = ['object', 'size', 'files', 'shards', 'shard', 'origins', 'peers'];
    process.stdout.write(`${table(head, rows)}\n`);
  });
}

async function remove(name: string, flags: Flags): Promise<void> {
  const options = await optionsOf(flags, false);
  const { removeObject } = await import('../study/p2p/session.ts');
  await inSession(options, ({ registry }) => removeObject(registry, name));
}

async function simulate(flags: SimulateFlags): Promise<void> {
  const { simulateSwarms } = await import('../study/p2p/simulate.ts');
  const results = simulateSwarms({
    peers: flags.peers,
    sizeBytes: quantityOption('--size', SIZE, flags.size),
    shardBytes: quantityOption('--shard', SIZE, flags.shard),
    bytesPerNs: quantityOption('--rate', RATE, flags.rate),
    policies: flags.policy,
    crashes: flags.crash.map(crashOf),
    seed: flags.seed,
  });
  if (flags.json) printJson(results);
  else process.stdout.write(`${swarmTable(results, flags.peers)}\n`);
}

function crashOf(text: string): { peer: number; atNs: number } {
  const found = /^(\d+)@(.+)$/.exec(text);
  if (found === null) throw new InputError(`found ${text}, expected peer@time: 3@10s`, '--crash');
  return { peer: Number(found[1]), atNs: quantityOption('--crash', DURATION, found[2]) };
}

function swarmTable(results: readonly SwarmResult[], peers: number): string {
  const seconds = (ns: number | null) => (ns === null ? 'never' : `${(ns / 1e9).toFixed(2)} s`);
  const rows = results.map((result) => {
    const { policy, firstNs, medianNs, lastNs, boundNs, complete, originBytes, peerBytes } = result;
    const all = originBytes + peerBytes;
    return [
      ...[policy, seconds(firstNs), seconds(medianNs), seconds(lastNs)],
      lastNs === null ? '-' : `${(lastNs / boundNs).toFixed(2)} x`,
      `${((100 * originBytes) / all).toFixed(1)} %`,
      `${complete} of ${peers}`,
    ];
  });
  const head = ['policy', 'first done', 'median', 'last', 'of bound', 'from origin', 'complete'];
  const bound = `bound: ${seconds(results[0].boundNs)}, the size over one link`;
  return `${table(head, rows)}\n${bound}`;
}

function sizeText(bytes: number): string {
  const [unit, factor] = bytes >= 1e9 ? ['GB', 1e9] : bytes >= 1e6 ? ['MB', 1e6] : ['kB', 1e3];
  return `${(bytes / factor).toPrecision(3)} ${unit}`;
}
