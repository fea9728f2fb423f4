/** The folder of a run: `replay -o` writes it, reports read it. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { InputError } from '../core/errors.ts';
import type { Result } from '../metrics/result.ts';
import { seriesOf, seriesTable } from '../metrics/series.ts';
import { METRICS } from '../metrics/timeseries.ts';
import { replaceFiles } from './files.ts';
import { reportHtml } from './html.ts';
import type { Run } from './page-data.ts';
import { readParquet, writeParquet } from './parquet.ts';

const RESULT = 'result.json';
const REQUESTS = 'requests.parquet';
const SERIES = 'timeseries.parquet';
export const REPORT = 'report.html';
const FILES: readonly string[] = [RESULT, REQUESTS, SERIES, REPORT];

/**
 * A run may go where nothing is, into an empty folder, or over another run.
 * @throws InputError when the folder holds anything else
 */
export function checkRunFolder(folder: string): void {
  if (!existsSync(folder)) return;
  const expected = 'expected a new or empty folder, or one that holds a run';
  if (!statSync(folder).isDirectory()) throw new InputError(`found a file, ${expected}`, folder);
  const other = readdirSync(folder).find((name) => !FILES.includes(name));
  if (other !== undefined) throw new InputError(`found ${other}, ${expected}`, folder);
}

/** Writes result, tables and report; answers the paths. */
export function writeRun(folder: string, run: Run): string[] {
  checkRunFolder(folder);
  const { result } = run;
  const about = { 'moontide.version': result.version, 'moontide.trace': result.trace.sha256 };
  const metrics = { 'moontide.metrics': JSON.stringify(METRICS) };
  const series = seriesTable(run.series);
  return replaceFiles(
    folder,
    new Map<string, string | Uint8Array>([
      [RESULT, `${JSON.stringify(result, null, 2)}\n`],
      [REQUESTS, writeParquet(run.requests, about)],
      [SERIES, writeParquet(series, { ...about, ...metrics })],
      [REPORT, reportHtml([run])],
    ]),
  );
}

/** Reads the run in a folder; its name is the folder's. */
export async function readRun(folder: string): Promise<Run> {
  const file = (name: string) => {
    const path = join(folder, name);
    if (!existsSync(path)) {
      throw new InputError(`found no ${name}, expected a folder that replay -o wrote`, folder);
    }
    return readFileSync(path);
  };
  const table = (name: string) => readParquet(file(name), join(folder, name));
  const result = parsed(file(RESULT).toString(), join(folder, RESULT));
  const requests = await table(REQUESTS);
  return {
    name: basename(resolve(folder)),
    result,
    requests,
    series: seriesOf(await table(SERIES)),
  };
}

function parsed(text: string, place: string): Result {
  const expected = "expected a run's result";
  let value: Partial<Result> | null;
  try {
    value = JSON.parse(text) as Partial<Result> | null;
  } catch (error) {
    throw new InputError(`found no JSON (${(error as Error).message}), ${expected}`, place);
  }
  const missing = ['requests', 'ttftNs', 'hit', 'slo', 'trace'].find(
    (key) => value?.[key as keyof Result] === undefined,
  );
  if (missing !== undefined) throw new InputError(`found no ${missing}, ${expected}`, place);
  return value as Result;
}

/** Most runs in one report: there are so many colours. */
const MOST_RUNS = 8;

/** Several runs; those of equal folder names go by their paths. */
export async function readRuns(folders: readonly string[]): Promise<Run[]> {
  if (folders.length > MOST_RUNS) {
    throw new InputError(`found ${folders.length} runs, expected at most ${MOST_RUNS}`, 'report');
  }
  const runs = await Promise.all(folders.map(readRun));
  const names = runs.map(({ name }) => name);
  return runs.map((run, i) => {
    const twice = names.indexOf(run.name) !== names.lastIndexOf(run.name);
    return twice ? { ...run, name: folders[i] } : run;
  });
}
