/** `moontide cache TRACE`: policies x capacities, and LRU at all capacities at once. */
import type { Command } from 'commander';
import { InputError } from '../core/errors.ts';
import type { CacheRow, CacheStudyOptions, CacheStudyResult } from '../study/cache/index.ts';
import { bytes, integer, percent } from './format.ts';
import { collect, numberOption } from './options.ts';
import { printJson } from './output.ts';
import { paint, table } from './table.ts';

interface Flags {
  readonly policy: string[];
  readonly capacity: (number | null)[];
  readonly unit: NonNullable<CacheStudyOptions['unit']>;
  readonly semantics: NonNullable<CacheStudyOptions['semantics']>;
  readonly order: NonNullable<CacheStudyOptions['order']>;
  readonly decodeCached?: true;
  readonly nodes: number;
  readonly routing: NonNullable<CacheStudyOptions['routing']>;
  readonly curve?: NonNullable<CacheStudyOptions['curve']>;
  readonly target: number[];
  readonly config: string;
  readonly set: string[];
  readonly limit?: number;
  readonly seed?: number;
  readonly output?: string;
  readonly json?: true;
}

const CAPACITIES = '1000,3000,10000,30000,50000,100000,inf';

const EXAMPLES = `
Examples:
  moontide cache demo --policy lru,arc,s3-fifo,belady
  moontide cache demo --policy lru --capacity 500GB,1TB --unit bytes
  moontide cache demo --target 0.85 -o cache.html
  moontide cache keys:accesses.txt --semantics any --capacity 100000`;

export function addCacheCommand(program: Command): void {
  program
    .command('cache')
    .description('Hit ratios of eviction policies at any capacity.')
    .argument('<trace>', 'format:path, a catalogue name, keys:FILE or oracle-general:FILE')
    .option('--policy <list>', 'eviction policies, split by commas; all for every one', 'lru')
    .option('--capacity <list>', 'capacities of all nodes together', CAPACITIES)
    .option('--unit <unit>', 'of the capacities: blocks, tokens or bytes', 'blocks')
    .option('--semantics <rule>', 'what hits: prefix (leading run) or any block', 'prefix')
    .option('--order <order>', 'which block is touched first: forward or reverse', 'forward')
    .option('--decode-cached', 'keep the blocks that decode produces, too')
    .option('--nodes <n>', 'nodes with a pool each', numberOption('--nodes', 1, true), 1)
    .option('--routing <rule>', 'how requests find a node', 'best-prefix')
    .option('--curve <kind>', 'LRU at all capacities: exact or sampled')
    .option('--target <share>', 'capacity for this share of the reachable hits', shares, [])
    .option('-c, --config <file>', 'model and hardware, for bytes and seconds', 'mooncake-16')
    .option('--set <key=value>', 'override one key, may be repeated', collect, [])
    .option('--limit <n>', 'only the first n requests', numberOption('--limit', 1, true))
    .option('--seed <n>', 'seed of all random streams', numberOption('--seed', 0, true))
    .option('-o, --output <file>', 'write the figures and the table as an HTML page')
    .option('--json', 'print the result alone, as JSON')
    .addHelpText('after', EXAMPLES)
    .action(runCache);
}

function shares(text: string, before: number[]): number[] {
  return [...before, ...text.split(',').map(numberOption('--target', 0, false))];
}

/** Policies are split at commas, but `a:x=1,y=2` is one. */
function policyList(text: string): string[] {
  const list: string[] = [];
  for (const part of text.split(',')) {
    const belongs = list.length > 0 && /^[\w-]+=/.test(part) && list[list.length - 1].includes(':');
    if (belongs) list[list.length - 1] += `,${part}`;
    else list.push(part);
  }
  return list;
}

async function capacityList(text: string, unit: Flags['unit']): Promise<(number | null)[]> {
  const { parseQuantity, SIZE } = await import('../config/units.ts');
  return text.split(',').map((part) => {
    if (part === 'inf') return null;
    const value = unit === 'bytes' ? parseQuantity(SIZE, part) : Number(part);
    if (value !== null && Number.isFinite(value) && value > 0) return value;
    const kind = unit === 'bytes' ? 'a size such as 500GB' : `a number of ${unit}`;
    throw new InputError(`found ${JSON.stringify(part)}, expected ${kind} or inf`, '--capacity');
  });
}

async function runCache(
  trace: string,
  flags: Omit<Flags, 'policy' | 'capacity'> & {
    policy: string;
    capacity: string;
  },
): Promise<void> {
  const { runCacheStudy } = await import('../study/cache/index.ts');
  const { policyNames } = await import('../config/policies.ts');
  const { json, output, policy, capacity, set, target, curve, decodeCached, ...rest } = flags;
  const kind = curve ?? (target.length > 0 ? 'exact' : undefined);
  const result = await runCacheStudy({
    ...rest,
    trace,
    policies: policy === 'all' ? policyNames('eviction') : policyList(policy),
    capacities: await capacityList(capacity, flags.unit),
    decodeCached: decodeCached ?? false,
    sets: set,
    targets: target,
    ...(kind === undefined ? {} : { curve: kind }),
  });
  if (output !== undefined) {
    const { writeCachePage } = await import('../report/lab-page.ts');
    const written = await writeCachePage(output, {
      ...result,
      title: trace,
      headline: `${accessesText(result)}, ${settingsText(result)}`,
      facts: factTexts(result),
      table: { head: HEAD, rows: result.rows.map(rowText) },
    });
    process.stderr.write(`wrote ${written}\n`);
  }
  if (json) printJson(result);
  else process.stdout.write(`\n${cacheTable(result)}\n\n`);
}

const HEAD = ['policy', 'capacity', '', 'hit ratio', 'of tokens', 'saved', 'written', 'evicted'];

function accessesText({ trace }: CacheStudyResult): string {
  return `${integer(trace.accesses)} accesses to ${integer(trace.distinctBlocks)} blocks`;
}

function settingsText({ nodes, routing, semantics }: CacheStudyResult): string {
  const pools = nodes === 1 ? 'one pool' : `${nodes} pools, routed by ${routing}`;
  return `${semantics} hits, ${pools}`;
}

/** What a page says that a terminal has no room for: targets, and where the numbers come from. */
function factTexts(result: CacheStudyResult): string[] {
  const { trace, model, order, decodeCached, seed, version } = result;
  const keeps = decodeCached ? '; blocks of decode are kept' : '';
  return [
    ...(result.curve === null ? [] : answerTexts(result, result.curve)),
    `${integer(trace.requests)} requests, blocks touched in ${order} order${keeps}`,
    ...(model === null
      ? []
      : [`${model.name}, ${bytes(model.bytesPerBlock)} a block; prefill: ${model.cost}`]),
    `seed ${seed}, version ${version}${trace.sha256 === null ? '' : `, sha256 ${trace.sha256}`}`,
  ];
}

function cacheTable(result: CacheStudyResult): string {
  const parts = [
    `${paint('bold', accessesText(result))}, ${settingsText(result)}`,
    table(HEAD, result.rows.map(rowText)),
    ...(result.curve === null ? [] : [curveText(result, result.curve)]),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function rowText(row: CacheRow): string[] {
  const { capacityBlocks, capacityBytes, savedPrefillSeconds, bytesWritten } = row;
  return [
    row.policy,
    capacityBlocks === null ? 'inf' : `${integer(capacityBlocks)} blocks`,
    capacityBytes === null ? '' : bytes(capacityBytes),
    percent(row.hitRatio),
    percent(row.tokensRatio),
    savedPrefillSeconds === null ? '-' : `${integer(savedPrefillSeconds)} GPU s`,
    bytesWritten === null ? '-' : bytes(bytesWritten),
    integer(row.evictions),
  ];
}

type Curve = NonNullable<CacheStudyResult['curve']>;

/** "85 % of the reachable hits need 27,400 blocks, 4.18 TiB of llama3-70b". */
function answerTexts({ model }: CacheStudyResult, { targets }: Curve): string[] {
  return targets.map(({ share, capacityBlocks, capacityBytes }) => {
    const size =
      capacityBytes === null ? '' : `, ${tebibytes(capacityBytes)} of ${model?.name ?? 'KV'}`;
    return `${percent(share)} of the reachable hits need ${integer(capacityBlocks)} blocks${size}`;
  });
}

function curveText(result: CacheStudyResult, line: Curve): string {
  const { points, kind } = line;
  const last = points[points.length - 1];
  const curve = table(
    [`LRU (${kind})`, 'hit ratio', 'of tokens', '± error'],
    points
      .filter((_, i) => i % 8 === 0 || i === points.length - 1)
      .map((p) => [
        `${integer(p.capacityBlocks)} blocks`,
        percent(p.hitRatio),
        percent(p.tokensRatio),
        p.hitRatioError === null ? '' : percent(p.hitRatioError),
      ]),
  );
  return [...answerTexts(result, line), last === undefined ? '' : curve].join('\n');
}

function tebibytes(size: number): string {
  return `${(size / 2 ** 40).toFixed(2)} TiB`;
}
