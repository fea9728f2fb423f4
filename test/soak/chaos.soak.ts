/**
 * A live cluster under load and faults, many seeds; how long recoveries take. A line of
 * reports/soak/chaos.jsonl per run; a soak of the same seed that was cut off goes on where it
 * stopped. Clusters run side by side, and on each eight runs follow one another, one for each kind
 * of fault: what an earlier run left behind is there when the next begins, as in a real cluster.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import seedrandom from 'seedrandom';
import { type ChaosCluster, type ChaosRun, withChaos } from '../support/chaos.ts';
import { FAULTS, type FaultKind, type Recovery } from '../support/chaos-faults.ts';
import type { Soak } from './main.ts';

const RUNS = 500;
const LINES = new URL('../../reports/soak/chaos.jsonl', import.meta.url).pathname;
/** Clusters side by side. */
const LANES = Number(process.env.MOONTIDE_CHAOS_LANES ?? 2);
const STOP_MS = 10_000;
const REQUESTS = 40;
/** Of the runs, so many have a second fault, a kill. */
const MORE_RATIO = 0.3;

/** Whoever is told to end finishes the runs that it is at. */
let ended = false;

/** A line of the evidence. */
interface Line extends Partial<Omit<ChaosRun, 'seed' | 'durationSec'>> {
  readonly run: number;
  readonly seed: string;
  /** The state of the sources. */
  readonly commit: string;
  readonly sec: number;
  /** What did not hold. */
  readonly failure?: string;
}

function linesOf(seed: string): Line[] {
  if (!existsSync(LINES)) return [];
  const all = readFileSync(LINES, 'utf8').split('\n').filter(Boolean);
  const lines = all.map((line) => JSON.parse(line) as Line);
  return lines.filter((line) => line.seed === `${seed}-${line.run}`);
}

function commitNow(): string {
  return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
}

/** The runs of a cluster that are still to be done, by the number of the cluster. */
function clustersOf(seed: string, runs: number): number[][] {
  const good = new Set(linesOf(seed).flatMap(({ run, failure }) => (failure ? [] : [run])));
  const groups: number[][] = [];
  for (let from = 0; from < runs; from += FAULTS.length) {
    const to = Math.min(runs, from + FAULTS.length);
    const left = Array.from({ length: to - from }, (_, i) => from + i).filter((i) => !good.has(i));
    if (left.length > 0) groups.push(left);
  }
  return groups;
}

/** Every kind once in a cluster's runs, in an order of its own. */
function kindOf(seed: string, run: number): FaultKind {
  const random = seedrandom.alea(`${seed}/${Math.floor(run / FAULTS.length)}/order`);
  const left: FaultKind[] = [...FAULTS];
  const order = FAULTS.map(() => left.splice(Math.floor(left.length * random()), 1)[0]);
  return order[run % FAULTS.length];
}

interface Attempt {
  readonly seed: string;
  readonly run: number;
  readonly commit: string;
  /** No other run of the cluster follows. */
  readonly isLast: boolean;
}

async function one(cluster: ChaosCluster, { seed, run, commit, isLast }: Attempt) {
  const name = `${seed}-${run}`;
  const startMs = performance.now();
  const first = kindOf(seed, run);
  const more = seedrandom.alea(`${name}/more`)() < MORE_RATIO ? 1 : 0;
  const sec = () => Math.round((performance.now() - startMs) / 100) / 10;
  const head = { run, seed: name, commit };
  let line: Line;
  try {
    const done = await cluster.run(name, { requests: REQUESTS, first, more });
    if (isLast) await cluster.checkWell();
    const { recoveries, requests, verifiedBlocks, objects } = done;
    line = { ...head, sec: sec(), recoveries, requests, verifiedBlocks, objects };
  } catch (error) {
    line = { ...head, sec: sec(), failure: `${first}: ${(error as Error).message}` };
  }
  note(line);
  return line.failure === undefined;
}

function note(line: Line): void {
  const rounded = (_: string, value: unknown) =>
    typeof value === 'number' ? Math.round(value * 10) / 10 : value;
  appendFileSync(LINES, `${JSON.stringify(line, rounded)}\n`);
  const kinds = line.recoveries?.map(({ kind, recoveredMs }) => `${kind} ${recoveredMs}`);
  console.log(`${line.seed}: ${kinds?.join(', ') ?? line.failure} (${line.sec} s)`);
}

/** A run that failed ends its cluster: the others of it begin on another one. */
async function lane(seed: string, commit: string, groups: number[][]): Promise<void> {
  for (let runs = groups.shift(); runs !== undefined && !ended; runs = groups.shift()) {
    const left = [...runs];
    try {
      await withChaos(STOP_MS, async (cluster) => {
        for (let run = left.shift(); run !== undefined && !ended; run = left.shift()) {
          const isLast = left.length === 0;
          if (!(await one(cluster, { seed, run, commit, isLast }))) break;
        }
      });
    } catch (error) {
      const [run] = runs;
      const failure = `of its cluster: ${(error as Error).message}`;
      note({ run, seed: `${seed}-${run}`, commit, sec: 0, failure });
    }
    if (left.length > 0 && left.length < runs.length) groups.push(left);
  }
}

/** Nearest-rank percentiles, whole ms. */
function spread(values: readonly number[]) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.ceil(share * sorted.length) - 1]);
  if (sorted.length === 0) return null;
  const [p50, p90, p99] = [at(0.5), at(0.9), at(0.99)];
  return { count: sorted.length, min: at(0.0001), p50, p90, p99, max: at(1) };
}

function byKind(all: readonly Recovery[], of: (one: Recovery) => number | null) {
  const entries = FAULTS.map((kind) => {
    const own = all.filter((one) => one.kind === kind).map(of);
    return [kind, spread(own.filter((found) => found !== null))] as const;
  });
  return Object.fromEntries(entries.filter(([, found]) => found !== null));
}

function summed(records: readonly object[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const [key, value] of records.flatMap((record) => Object.entries(record))) {
    if (typeof value === 'number') sum[key] = (sum[key] ?? 0) + value;
  }
  return sum;
}

function resultOf(seed: string) {
  const lines = linesOf(seed);
  const good = lines.filter(({ failure }) => failure === undefined);
  const done = new Set(good.map(({ run }) => run));
  const recoveries = good.flatMap(({ recoveries: all = [] }) => all);
  return {
    runs: done.size,
    lines: 'reports/soak/chaos.jsonl',
    commits: [...new Set(lines.map(({ commit }) => commit))],
    requests: REQUESTS,
    stopMs: STOP_MS,
    faults: recoveries.length,
    kills: recoveries.filter(({ kind }) => kind.startsWith('kill')).length,
    totals: summed(good.map(({ requests }) => requests ?? {})),
    causes: summed(good.map(({ requests }) => requests?.causes ?? {})),
    verifiedBlocks: good.reduce((sum, line) => sum + (line.verifiedBlocks ?? 0), 0),
    checksumFailures: 0,
    objects: summed(good.map(({ objects }) => objects ?? {})),
    recoveredMs: byKind(recoveries, ({ recoveredMs }) => recoveredMs),
    newLeaderActsMs: byKind(recoveries, ({ actedMs }) => actedMs),
    refusedBlocksOfFullSsd: byKind(recoveries, ({ refusedBlocks }) => refusedBlocks)['fill-ssd'],
    // On whatever state of the sources; none of them counts as a run.
    failedAttempts: lines.flatMap(({ run, commit, failure }) =>
      failure === undefined ? [] : [`${run} at ${commit}: ${failure.split('\n')[0]}`],
    ),
  };
}

const chaos: Soak = {
  name: 'chaos',
  async run(seed, runs = RUNS) {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        ended = true;
      });
    }
    const commit = commitNow();
    const groups = clustersOf(seed, runs);
    await Promise.all(Array.from({ length: LANES }, () => lane(seed, commit, groups)));
    const left = clustersOf(seed, runs).flat();
    return { ...resultOf(seed), left };
  },
};

export const soaks: readonly Soak[] = [chaos];
