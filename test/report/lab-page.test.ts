/** The laboratory's pages: complete, closed to the network, and true to the rows. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { addCacheCommand } from '../../src/cli/cache.ts';
import { addTraceCommand } from '../../src/cli/trace.ts';
import { integer, percent } from '../../src/metrics/format.ts';
import { labSvg } from '../../src/report/lab-figures.ts';
import { type CachePage, cacheHtml, writeCachePage } from '../../src/report/lab-page.ts';
import type { CacheStudyResult } from '../../src/study/cache/index.ts';

const POLICIES = ['lru', 'arc', 's3-fifo:threshold=1,small=0.2', '<b>"mine" & co'];

const rows = POLICIES.flatMap((policy, i) =>
  [100, 1000, null].map((capacityBlocks, j) => ({
    policy,
    capacityBlocks,
    hitRatio: 0.1 * (j + 1) + 0.01 * i,
    savedPrefillSeconds: 10 * (j + 1) + i,
  })),
);

const page: CachePage = {
  title: 'sample',
  headline: '<i>a headline</i>',
  facts: ['one & two'],
  semantics: 'prefix',
  rows,
  curve: {
    kind: 'sampled',
    points: [0, 1, 10, 100].map((capacityBlocks) => ({
      capacityBlocks,
      hitRatio: capacityBlocks / 200,
      hitRatioError: 0.01,
    })),
    targets: [{ share: 0.5, capacityBlocks: 10 }],
  },
  table: { head: ['policy', 'hit ratio'], rows: rows.map((r) => [r.policy, percent(r.hitRatio)]) },
};

/** Cells of the body of a page's table, row by row. */
function cellsOf(html: string): string[][] {
  const body = /<tbody>([\s\S]*?)<\/tbody>/.exec(html)?.[1] ?? '';
  return body
    .trim()
    .split('\n')
    .map((row) => [...row.matchAll(/<t[hd][^>]*>([^<]*)<\/t[hd]>/g)].map(([, cell]) => cell));
}

function expectClosed(html: string): void {
  expect(html).toContain("content=\"default-src 'none'; style-src 'unsafe-inline'");
  expect(html).not.toMatch(/<script|<link|<iframe|<img|<image|\son\w+=|javascript:/i);
  expect(html).not.toMatch(/\b(?:https?:)?\/\/[a-z]|url\(|@import|\b(?:src|href)=/i);
}

describe('the page of a cache study', () => {
  it('has no script, refers to nothing outside, and names every policy', async () => {
    const html = await cacheHtml(page);
    expectClosed(html);
    const figures = html.split('<figure>').slice(1, 3);
    for (const figure of figures) {
      for (const policy of ['lru', 'arc']) expect(figure).toContain(`>${policy}</text>`);
    }
    expect(cellsOf(html)).toHaveLength(rows.length);
    expect(html).toContain('without limit: 33.0 %');
    expect(html).toContain('50.0 %: 10 blocks');
  });

  it('escapes what others named', async () => {
    const html = await cacheHtml(page);
    expect(html).not.toContain('<b>');
    expect(html).not.toContain('<i>');
    expect(html).toContain('&lt;b&gt;&quot;mine&quot; &amp; co');
    expect(html).toContain('&lt;i&gt;a headline');
    expect(html).toContain('one &amp; two');
  });

  it('leaves out figures that would show nothing', async () => {
    const titles = (html: string) => [...html.matchAll(/<h3>([^<]*)</g)].map(([, title]) => title);
    expect(titles(await cacheHtml(page))).toEqual([
      'Hit ratio',
      'Prefill saved',
      'LRU at all capacities (sampled)',
    ]);
    const foreign = rows.map((row) => ({ ...row, savedPrefillSeconds: null }));
    expect(titles(await cacheHtml({ ...page, rows: foreign, curve: null }))).toEqual(['Hit ratio']);
    const unlimited = rows.filter(({ capacityBlocks }) => capacityBlocks === null);
    expect(titles(await cacheHtml({ ...page, rows: unlimited, curve: null }))).toEqual([]);
  });

  it('leaves nothing where it cannot be written', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'moontide-'));
    await expect(writeCachePage(folder, page)).rejects.toThrow('found a folder');
    expect(readdirSync(folder)).toEqual([]);
    rmSync(folder, { recursive: true });
  });
});

describe('a figure', () => {
  it.each([
    ['one capacity', [{ x: 1500, y: 0.2 }]],
    ['near capacities', [700, 900].map((x) => ({ x, y: 0.2 }))],
    ['nothing but zeros', [1, 10].map((x) => ({ x, y: 0 }))],
  ])('of %s has finite coordinates and labels on its axis', async (_, points) => {
    const svg = await labSvg(
      {
        ...{ kind: 'lines', title: '', note: '', xTitle: '', yTitle: '', format: '~s' },
        ...{ lines: [{ name: 'lru', points }], logX: true },
      },
      340,
    );
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    const axis = svg.slice(svg.indexOf('role-axis-label'));
    expect(axis.slice(0, axis.indexOf('</g>')).match(/<text/g)!.length).toBeGreaterThan(1);
  });
});

describe('a figure of many lines', () => {
  it('keeps their names apart and in order, inside the drawing', async () => {
    const lines = Array.from({ length: 25 }, (_, i) => ({
      name: `line${i}.`,
      points: [1, 10, 100].map((x) => ({ x, y: 0.5 + (i % 3) / 1000 })),
    }));
    const svg = await labSvg(
      { kind: 'lines', title: '', note: '', lines, xTitle: '', yTitle: '', format: '', logX: true },
      340,
    );
    const [, , width, height] = /viewBox="(\S+) (\S+) (\S+) (\S+)"/.exec(svg)!.slice(1).map(Number);
    expect(width).toBe(340);
    const at = lines.map(({ name }) => {
      const label = new RegExp(`translate\\(([\\d.]+),([-\\d.]+)\\)"[^>]*>${name}<`).exec(svg);
      expect(label, name).not.toBeNull();
      expect(Number(label![1])).toBeLessThan(width);
      return Number(label![2]);
    });
    const sorted = at.toSorted((a, b) => a - b);
    for (let i = 1; i < sorted.length; i++) {
      expect(sorted[i] - sorted[i - 1]).toBeGreaterThan(12);
    }
    expect(sorted[0]).toBeGreaterThanOrEqual(-6);
    expect(sorted[sorted.length - 1]).toBeLessThan(height);
    // A line that ends higher is named higher.
    expect(Math.max(...at.filter((_, i) => i % 3 === 2))).toBeLessThan(
      Math.min(...at.filter((_, i) => i % 3 === 0)),
    );
  });
});

describe('-o', () => {
  let folder = '';
  let stdout = '';
  let stderr = '';

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'moontide-'));
    stdout = '';
    stderr = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      stdout += text;
      return true;
    });
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      stderr += text;
      return true;
    });
  });

  afterEach(() => {
    vi.restoreAllMocks();
    rmSync(folder, { recursive: true });
  });

  async function run(...args: string[]): Promise<void> {
    const program = new Command();
    addCacheCommand(program);
    addTraceCommand(program);
    await program.parseAsync(args, { from: 'user' });
  }

  it('of cache writes the rows that --json prints', async () => {
    const path = join(folder, 'new', 'cache.html');
    await run(
      ...['cache', 'demo', '--limit', '200', '--policy', 'lru,arc,belady', '--target', '0.8'],
      ...['--capacity', '300,1000,inf', '-o', path, '--json'],
    );
    expect(stderr).toBe(`wrote ${path}\n`);
    expect(readdirSync(join(folder, 'new'))).toEqual(['cache.html']);
    const html = readFileSync(path, 'utf8');
    expectClosed(html);
    const result = JSON.parse(stdout) as CacheStudyResult;
    expect(result.rows).toHaveLength(9);
    const capacity = (blocks: number | null) =>
      blocks === null ? 'inf' : `${integer(blocks)} blocks`;
    expect(cellsOf(html).map((cells) => [cells[0], cells[1], cells[3], cells[7]])).toEqual(
      result.rows.map((row) => [
        row.policy,
        capacity(row.capacityBlocks),
        percent(row.hitRatio),
        integer(row.evictions),
      ]),
    );
    expect(html).toContain(`${integer(result.curve!.targets[0].capacityBlocks)} blocks`);
  });

  it('of cache takes the traces of other tools', async () => {
    const keys = join(folder, 'keys.txt');
    writeFileSync(keys, ['a', 'b', 'a', 'c', 'b', 'a'].join('\n'));
    const path = join(folder, 'keys.html');
    await run('cache', `keys:${keys}`, '--semantics', 'any', '--capacity', '2,inf', '-o', path);
    const html = readFileSync(path, 'utf8');
    expect(html.match(/<h3>/g)).toHaveLength(1);
    // Of a b a c b a, LRU with room for two hits the second a; without limit three hit.
    expect(cellsOf(html).map((cells) => cells[3])).toEqual(['16.7 %', '50.0 %']);
  });

  it('of trace analyse writes every distribution with its numbers', async () => {
    const path = join(folder, 'demo.html');
    await run('trace', 'analyse', 'demo', '-o', path, '--json');
    const html = readFileSync(path, 'utf8');
    expectClosed(html);
    expect(html.match(/<figure>/g)).toHaveLength(7);
    const analysis = JSON.parse(stdout);
    const bins = analysis.reuse.distanceBlocks.filter(({ count }: { count: number }) => count > 0);
    expect(cellsOf(html)).toEqual(
      bins.map((bin: { from: number; to: number; count: number }) =>
        [bin.from, bin.to, bin.count].map(integer),
      ),
    );
  });
});
