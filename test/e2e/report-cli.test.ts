/** `replay -o`, `--perfetto` and `report` as a user runs them. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { moontide, type Ran } from '../support/cli.ts';
import { traceEventProblems } from '../support/trace-event-checker.ts';

let folder = '';
const at = (...path: string[]) => join(folder, ...path);
const DEMO = ['replay', 'demo', '--limit', '300'];

let written: Ran;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-'));
  written = moontide([...DEMO, '-o', at('lru')]);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('replay -o', () => {
  it('writes the bytes that --json prints, beside the usual table', () => {
    const { code, stdout, stderr } = written;
    expect(code).toBe(0);
    expect(stdout).toContain('of requests met TTFT');
    expect(stderr).toBe(`wrote ${at('lru')}\n`);
    const { stdout: json } = moontide([...DEMO, '--json']);
    expect(readFileSync(at('lru', 'result.json'), 'utf8')).toBe(json);
    const again = moontide([...DEMO, '--json', '-o', at('again')]);
    expect(again.stdout).toBe(json);
    const tables = ['requests.parquet', 'timeseries.parquet'];
    for (const name of tables) {
      expect(readFileSync(at('again', name)).equals(readFileSync(at('lru', name)))).toBe(true);
    }
  });

  it('refuses what is no run, before it runs', () => {
    writeFileSync(at('mine.txt'), 'mine');
    const { code, stdout, stderr } = moontide([...DEMO, '-o', folder]);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/found .+, expected a new or empty folder, or one that holds a run/);
    expect(readFileSync(at('mine.txt'), 'utf8')).toBe('mine');
  });

  it('leaves nothing of a run that fails', () => {
    writeFileSync(
      at('thrower.ts'),
      `import { definePrefill } from 'moontide/policy';
export default definePrefill({ source: 'test', params: {}, create: () => ({
  choose() { throw new Error('boom'); } }) });`,
    );
    const outputs = ['-o', at('failed'), '--perfetto', at('failed.json')];
    const { code, stderr } = moontide([...DEMO, '--prefill', at('thrower.ts'), ...outputs]);
    expect(code).toBe(1);
    expect(stderr).toContain('boom');
    expect(readdirSync(folder).filter((name) => name.startsWith('failed'))).toEqual([]);
  });
});

describe('replay --perfetto', () => {
  it('writes a valid trace, compressed when its name says so', () => {
    const plain = moontide([...DEMO, '--perfetto', at('trace.json')]);
    expect(plain.code, plain.stderr).toBe(0);
    const text = readFileSync(at('trace.json'), 'utf8');
    expect(traceEventProblems(text)).toEqual([]);
    moontide([...DEMO, '--perfetto', at('trace.json.gz')]);
    expect(gunzipSync(readFileSync(at('trace.json.gz'))).toString()).toBe(text);
  });

  it('does not change the result', () => {
    const args = [...DEMO, '--json'];
    const { stdout } = moontide([...args, '--perfetto', at('x.json'), '-o', at('x')]);
    expect(stdout).toBe(moontide(args).stdout);
  });

  it('says where it cannot write', () => {
    const { code, stderr } = moontide([...DEMO, '--perfetto', at('none', 'x.json')]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/none\/x\.json: found ENOENT on writing/);
  });
});

describe('report', () => {
  it('makes the report of a run again, the same', () => {
    const before = readFileSync(at('lru', 'report.html'), 'utf8');
    rmSync(at('lru', 'report.html'));
    expect(moontide(['report', at('lru')])).toMatchObject({ code: 0, stdout: '' });
    expect(readFileSync(at('lru', 'report.html'), 'utf8')).toBe(before);
  });

  it('compares runs', () => {
    moontide([...DEMO, '--eviction', 'fifo', '-o', at('fifo')]);
    const args = ['report', at('lru'), at('fifo'), '-o', at('compared.html'), '--json'];
    const { code, stdout, stderr } = moontide(args);
    expect(code).toBe(0);
    expect(stderr).toBe(`wrote ${at('compared.html')}\n`);
    const [lru, fifo] = JSON.parse(stdout);
    expect([lru.run, fifo.run]).toEqual(['lru', 'fifo']);
    const result = JSON.parse(readFileSync(at('fifo', 'result.json'), 'utf8'));
    expect(fifo.ttft).toEqual(result.ttftNs);
    expect(readFileSync(at('compared.html'), 'utf8')).toContain('lru · fifo');
  });

  it('draws figures as SVG and PNG, and then no report', () => {
    rmSync(at('lru', 'report.html'));
    const { code } = moontide(['report', at('lru'), '--svg', at('svg'), '--png', at('png')]);
    expect(code).toBe(0);
    const names = (of: string) => readdirSync(at(of)).map((name) => name.replace(/\..*/, ''));
    expect(names('svg')).toEqual(names('png'));
    expect(names('svg')).toEqual(expect.arrayContaining(['ttft', 'ttft-cdf', 'busy', 'slowest']));
    expect(existsSync(at('lru', 'report.html'))).toBe(false);
    moontide(['report', at('lru'), '--svg', at('dark'), '--theme', 'dark']);
    const of = (theme: string) => readFileSync(at(theme, 'ttft.svg'), 'utf8');
    expect(of('dark')).not.toBe(of('svg'));
  });

  it.each([
    [['report', 'nowhere'], /nowhere: found no result\.json, expected a folder that replay -o/],
    [['report', 'x', '--theme', 'blue'], /--theme: found "blue", expected light or dark/],
    [['report'], /missing required argument 'run'/],
  ])('%s is bad usage', (args, said) => {
    const { code, stderr } = moontide(args);
    expect(code).toBe(2);
    expect(stderr).toMatch(said);
  });
});
