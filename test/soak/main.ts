/**
 * `npm run soak`: the long forms of tests that CI runs short. Each *.soak.ts here exports a name
 * and what it does; what came out is written to reports/soak/NAME.json. --only=PART of a name,
 * --seed=TEXT (default: drawn from the clock, printed), --runs=N where a soak counts runs.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';

type SoakResult = Readonly<Record<string, unknown>> & { readonly left?: readonly number[] };

/** What a file of this folder exports. */
export interface Soak {
  readonly name: string;
  /**
   * Throws, naming the seed, when a law is broken; else what was done, as numbers. `left`: runs
   * that failed, or are still to be done.
   */
  run(seed: string, runs?: number): Promise<SoakResult>;
}

const HERE = new URL('.', import.meta.url).pathname;
const REPORTS = new URL('../../reports/soak', import.meta.url).pathname;

function option(name: string): string | null {
  const prefix = `--${name}=`;
  return process.argv.find((arg) => arg.startsWith(prefix))?.slice(prefix.length) ?? null;
}

async function soak({ name, run }: Soak, seed: string): Promise<boolean> {
  const start = process.hrtime.bigint();
  console.log(`${name}: seed ${seed}`);
  let result: SoakResult | null = null;
  let failure: string | null = null;
  const runs = option('runs');
  try {
    result = await run(seed, runs === null ? undefined : Number(runs));
    const { left = [] } = result;
    if (left.length > 0) failure = `${left.length} runs are not done, or failed`;
  } catch (error) {
    failure = (error as Error).message;
  }
  const durationSec = Math.round(Number(process.hrtime.bigint() - start) / 1e9);
  const count = runs === null ? '' : ` --runs=${runs}`;
  const command = `npm run soak -- --only=${name} --seed=${seed}${count}`;
  const host = { cpus: cpus().length, model: cpus()[0]?.model ?? '', kernel: release() };
  const evidence = {
    name,
    command,
    seed,
    node: process.version,
    host,
    durationSec,
    failure,
    result,
  };
  mkdirSync(REPORTS, { recursive: true });
  writeFileSync(join(REPORTS, `${name}.json`), `${JSON.stringify(evidence, null, 2)}\n`);
  console.log(`${name}: ${failure ?? JSON.stringify(result)} (${durationSec} s)`);
  return failure === null;
}

const seed = option('seed') ?? `${Math.floor(Date.now() / 1000)}`;
const only = option('only') ?? '';
for (const file of readdirSync(HERE).filter((name) => name.endsWith('.soak.ts'))) {
  const { soaks } = (await import(join(HERE, file))) as { soaks: readonly Soak[] };
  for (const one of soaks) {
    if (one.name.includes(only) && !(await soak(one, seed))) process.exitCode = 1;
  }
}
