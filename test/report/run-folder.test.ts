/** Folders of runs: what may be replaced, what is left of a failure, what is no run. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/errors.ts';
import { checkRunFolder, readRun, readRuns, writeRun } from '../../src/report/run-folder.ts';
import { sampleRun } from './sample-run.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const RUN = ['report.html', 'requests.parquet', 'result.json', 'timeseries.parquet'];

describe('a run', () => {
  it('goes into a new folder, an empty one, and over another run', () => {
    const made = join(folder, 'a', 'b');
    writeRun(made, sampleRun('one'));
    expect(readdirSync(made).sort()).toEqual(RUN);
    writeRun(made, sampleRun('two', { seed: 2 }));
    expect(JSON.parse(readFileSync(join(made, 'result.json'), 'utf8')).seed).toBe(2);
    expect(readdirSync(made).sort()).toEqual(RUN);
    mkdirSync(join(folder, 'empty'));
    writeRun(join(folder, 'empty'), sampleRun('one'));
    expect(readdirSync(join(folder, 'empty')).sort()).toEqual(RUN);
  });

  it('does not go over anything else', () => {
    const thesis = join(folder, 'thesis.tex');
    writeFileSync(thesis, 'years of work');
    expect(() => writeRun(folder, sampleRun('x'))).toThrow(InputError);
    expect(() => checkRunFolder(folder)).toThrow(/found thesis\.tex, expected a new or empty/);
    expect(() => checkRunFolder(thesis)).toThrow(/found a file, expected/);
    expect(readdirSync(folder)).toEqual(['thesis.tex']);
  });

  it('that cannot be written leaves the folder as it was', () => {
    // The report's place is taken by a folder.
    const taken = join(folder, 'taken');
    mkdirSync(join(taken, 'report.html', 'x'), { recursive: true });
    expect(() => writeRun(taken, sampleRun('x'))).toThrow(/report\.html: found a folder/);
    expect(readdirSync(taken)).toEqual(['report.html']);
    // A file stands where a folder is needed: nothing is made.
    writeFileSync(join(folder, 'file'), '');
    expect(() => writeRun(join(folder, 'file', 'run'), sampleRun('x'))).toThrow(InputError);
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('');
  });

  it('is read as it was written, and named by its folder', async () => {
    const run = sampleRun('whatever');
    writeRun(join(folder, 'lru'), run);
    const back = await readRun(join(folder, 'lru'));
    expect(back.name).toBe('lru');
    expect(back.result).toEqual(run.result);
    expect(back.requests).toEqual(run.requests);
    expect(back.series.series.length).toBe(run.series.series.length);
  });

  it('that is none is bad input, with its place', async () => {
    await expect(readRun(join(folder, 'nothing'))).rejects.toThrow(/nothing: found no result/);
    const broken = join(folder, 'broken');
    writeRun(broken, sampleRun('x'));
    writeFileSync(join(broken, 'result.json'), '{"seed":');
    await expect(readRun(broken)).rejects.toThrow(/broken\/result\.json: found no JSON/);
    writeFileSync(join(broken, 'result.json'), '{"seed": 1}');
    await expect(readRun(broken)).rejects.toThrow(/result\.json: found no requests/);
    writeRun(broken, sampleRun('x'));
    writeFileSync(join(broken, 'requests.parquet'), 'PAR1');
    await expect(readRun(broken)).rejects.toThrow(/requests\.parquet: found no table/);
  });

  it('of the same folder name as another goes by its path', async () => {
    for (const of of ['a', 'b']) writeRun(join(folder, of, 'run'), sampleRun('x'));
    writeRun(join(folder, 'other'), sampleRun('x'));
    const paths = [join(folder, 'a', 'run'), join(folder, 'b', 'run'), join(folder, 'other')];
    const names = (await readRuns(paths)).map(({ name }) => name);
    expect(names).toEqual([paths[0], paths[1], 'other']);
    await expect(readRuns(Array(9).fill(paths[0]))).rejects.toThrow(
      /found 9 runs, expected at most/,
    );
  });
});
