/** Figures: what they show of a range of time, and how they are drawn, compared with before. */
import { describe, expect, it } from 'vitest';
import { pngOf, svgFigures } from '../../src/report/figure-files.ts';
import type { PageData, PageRun, Range } from '../../src/report/page/data.ts';
import { figuresFor, OVERVIEW, type Shown } from '../../src/report/page/figures.ts';
import { noteOf, valuesOf } from '../../src/report/page/lines.ts';
import { type Row, rowsOf, slowest } from '../../src/report/page/rows.ts';
import { statsOf } from '../../src/report/page/stats.ts';
import { pageData } from '../../src/report/page-data.ts';
import { PALETTE } from '../../src/report/theme.ts';
import { sampleRun } from './sample-run.ts';

const page = pageData([sampleRun('sample')]);
const both = pageData([sampleRun('a'), sampleRun('b', { slower: 2 })]);
const shown = figuresFor(['sample']);
const figure = (id: string, of: readonly Shown[] = shown) => of.find((one) => one.id === id)!;
/** The middle of the run: 50 s to 90 s. */
const MIDDLE: Range = { from: 5, to: 9 };

const numbers = (rows: readonly Row[], field: string) => rows.map((row) => row[field] as number);

describe('a range of time', () => {
  it('is all that any figure but the overview shows', () => {
    for (const one of shown) {
      const { kind } = one.figure;
      if (kind !== 'time' && kind !== 'heat') continue;
      const rows = rowsOf(one, page, MIDDLE);
      expect(rows.length, one.id).toBeGreaterThan(0);
      expect(Math.min(...numbers(rows, 't')), one.id).toBeGreaterThanOrEqual(50);
      expect(Math.max(...numbers(rows, 't2')), one.id).toBeLessThanOrEqual(90);
    }
    const overview = { id: OVERVIEW.id, title: '', figure: OVERVIEW, run: -1 };
    expect(rowsOf(overview, page, MIDDLE)).toEqual(rowsOf(overview, page, null));
  });

  it('chooses the requests of the distribution and the slowest ones', () => {
    const inRange = (at: number, { requests }: PageRun) => {
      const bin = requests.first[at]!;
      return bin >= MIDDLE!.from && bin < MIDDLE!.to;
    };
    for (const { at, run } of slowest(page, MIDDLE)) expect(inRange(at, run)).toBe(true);
    const [run] = page.runs;
    const rows = run.requests.ttft.map((_, at) => at).filter((at) => inRange(at, run));
    const most = Math.max(...rows.map((at) => run.requests.ttft[at]!));
    const points = rowsOf(figure('ttft-cdf'), page, MIDDLE);
    expect(points.at(-1)).toMatchObject({ p: 1, x: most / 1e9 });
    expect(slowest(page, MIDDLE)[0].run.requests.ttft[slowest(page, MIDDLE)[0].at]).toBe(most);
  });

  it('of the whole run gives the same figures as none', () => {
    const whole = { from: 0, to: page.bins };
    for (const one of shown) expect(rowsOf(one, page, whole)).toEqual(rowsOf(one, page, null));
  });

  it('splits what was counted', () => {
    const [run] = page.runs;
    const parts = [
      { from: 0, to: 5 },
      { from: 5, to: 9 },
      { from: 9, to: page.bins },
    ].map((range) => statsOf(page, run, range));
    const sum = (of: (stats: (typeof parts)[number]) => number) =>
      parts.reduce((total, stats) => total + of(stats), 0);
    expect(sum(({ arrived }) => arrived)).toBe(240);
    const ended = run.requests.outcome.map((code) => run.requests.outcomes[code]);
    expect(sum(({ lost }) => lost)).toBe(ended.filter((end) => end === 'rejected').length);
    expect(parts[1].ttft.p99).toBeGreaterThan(parts[0].ttft.p99!);
  });
});

describe('figures over time', () => {
  it('draw the mean TTFT as the sum of its parts', () => {
    const parts = rowsOf(figure('breakdown'), page, null);
    const lines = rowsOf(figure('ttft'), page, null);
    parts.forEach((row, i) => {
      const fields = Object.keys(row).filter((key) => key.startsWith('s'));
      const sum = fields.reduce((total, key) => total + (row[key] as number), 0);
      // Line s1 is the mean; both come from values of four digits.
      if (lines[i].s1 !== null) expect(sum / (lines[i].s1 as number)).toBeCloseTo(1, 3);
    });
  });

  it('draw shares that add up to one', () => {
    for (const row of rowsOf(figure('hits'), page, null)) {
      const values = Object.keys(row)
        .filter((key) => key.startsWith('s'))
        .map((key) => row[key]);
      if (values.includes(null)) continue;
      expect(values.reduce<number>((sum, v) => sum + (v as number), 0)).toBeCloseTo(1, 9);
    }
  });

  it('keep the mean when steps are wider than bins, and the rest in the last step', () => {
    const [run] = page.runs;
    const of = { mean: 'queued_requests.mean' } as const;
    const fine = valuesOf(of, page, run, { from: 0, to: 13, step: 1 });
    const coarse = valuesOf(of, page, run, { from: 0, to: 13, step: 4 });
    expect(coarse).toHaveLength(3);
    const mean = (from: number, to: number) =>
      fine.slice(from, to).reduce<number>((sum, v) => sum + v!, 0) / (to - from);
    [mean(0, 4), mean(4, 8), mean(8, 13)].forEach((value, i) => {
      expect(coarse[i]).toBeCloseTo(value, 9);
    });
  });
});

describe('several runs', () => {
  const ids = figuresFor(['a', 'b']);

  it('share figures, or have one each', () => {
    expect(rowsOf(figure('breakdown', ids), both, null).map(({ row }) => row)).toContain('b');
    expect(new Set(rowsOf(figure('ttft-cdf', ids), both, null).map(({ s }) => s))).toEqual(
      new Set(['s0', 's1']),
    );
    expect(ids.filter(({ id }) => id.startsWith('busy'))).toHaveLength(2);
    const many = figuresFor(['a', 'b', 'c', 'd']);
    expect(many.some(({ figure: { kind } }) => kind === 'heat')).toBe(false);
  });

  it('of different bins are put into those of the widest', () => {
    const coarse = sampleRun('coarse');
    const halves = (values: Float64Array) =>
      Float64Array.from({ length: Math.ceil(values.length / 2) }, (_, i) => values[2 * i]);
    const wide = {
      ...coarse,
      series: {
        binNs: 20e9,
        bins: 7,
        series: coarse.series.series.map((s) => ({ ...s, values: halves(s.values) })),
      },
    };
    const mixed: PageData = pageData([sampleRun('fine'), wide]);
    expect(mixed).toMatchObject({ binNs: 20e9, bins: 7 });
    const [fine] = mixed.runs;
    const sum = (values: readonly (number | null)[]) => values.reduce<number>((s, v) => s + v!, 0);
    const before = pageData([sampleRun('fine')]).runs[0];
    const key = 'dram_stored_blocks.sum';
    expect(sum(fine.lines[key])).toBeCloseTo(sum(before.lines[key]), 6);
    const queue = 'queued_requests.mean';
    expect(sum(fine.lines[queue])).toBeCloseTo(sum(before.lines[queue]) / 2, 2);
  });
});

describe('a run too large for a page', () => {
  const small = sampleRun('large');
  const times = 200;
  const columns = small.requests.columns.map((column) => {
    const { values } = column;
    if (!(values instanceof Float64Array)) {
      return { ...column, values: Array.from({ length: times }, () => values).flat() };
    }
    const row = column.name === 'request';
    const length = times * values.length;
    const many = Float64Array.from({ length }, (_, i) => (row ? i : values[i % values.length]));
    return { ...column, values: many };
  });
  const rows = times * small.requests.rows;
  // One request waited for a minute; no sample has it.
  columns.find(({ name }) => name === 'ttft_ns')!.values[7] = 60e9;
  const series = small.series.series.flatMap((one) => {
    if (one.scope === 'cluster') return [one];
    return Array.from({ length: 50 }, (_, k) => ({ ...one, entity: `${one.entity}.${k}` }));
  });
  const large = pageData([
    { ...small, requests: { rows, columns }, series: { ...small.series, series } },
  ]);
  const [run] = large.runs;

  it('carries a sample of its requests, and the slowest', () => {
    const { requests } = run;
    expect(requests.step).toBe(3);
    expect(requests.sampled).toBe(rows / 3);
    expect(requests.id.length).toBeLessThanOrEqual(rows / 3 + 200);
    expect(slowest(large, null)[0].label).toBe('#7');
  });

  it('counts what its requests stand for', () => {
    const stats = statsOf(large, run, { from: 0, to: large.bins - 1 });
    expect(stats.arrived / rows).toBeCloseTo(1, 2);
  });

  it('shows the busiest instances, and says so', () => {
    expect(run.heats.busy_ratio.rows).toHaveLength(64);
    expect(noteOf(figure('busy'), large)).toMatch(/The 64 busiest of 200\.$/);
  });
});

describe('drawn figures', () => {
  /** Coordinates to a hundredth: enough to see, and equal on every machine. */
  const rounded = (svg: string) =>
    `${svg.replace(/-?\d+\.\d{3,}/g, (digits) => String(Number(Number(digits).toFixed(2))))}\n`;

  it('look as before', async () => {
    for (const [id, svg] of await svgFigures(page)) {
      await expect(rounded(svg)).toMatchFileSnapshot(`../golden/report/${id}.svg`);
    }
  });

  it('of several runs look as before', async () => {
    const figures = await svgFigures(both, 'dark');
    for (const id of ['ttft', 'ttft-cdf', 'breakdown', 'slowest', 'busy-1']) {
      const svg = rounded(figures.get(id)!);
      await expect(svg).toMatchFileSnapshot(`../golden/report/compared-${id}.svg`);
    }
  });

  it('mark what a scenario did, over all that happens in time', async () => {
    const run = sampleRun('faults');
    const scenario = [
      { atNs: 30e9, forNs: 20e9, what: 'prefill-1 crashes' },
      { atNs: 70e9, forNs: null, what: 'decode-0 leaves' },
    ];
    const faulty = pageData([{ ...run, result: { ...run.result, scenario } }]);
    const figures = await svgFigures(faulty);
    await expect(rounded(figures.get('ttft')!)).toMatchFileSnapshot(
      '../golden/report/faults-ttft.svg',
    );
    for (const id of ['ttft', 'tbt', 'breakdown', 'queue', 'utilisation']) {
      for (const { what } of scenario) expect(figures.get(id), id).toContain(`>${what}<`);
    }
    expect(figures.get('ttft-cdf')).not.toContain('crashes');
  });

  it('have no variables left, and text in their PNG', async () => {
    const svg = (await svgFigures(page)).get('ttft')!;
    expect(svg).not.toContain('var(');
    const dropped = svg.replace(/<text[^>]*>[^<]*<\/text>/g, '');
    expect(dropped.length).toBeLessThan(svg.length);
    expect(pngOf(svg).equals(pngOf(dropped))).toBe(false);
    expect(pngOf(svg).subarray(1, 4).toString()).toBe('PNG');
  });
});

describe('the palette', () => {
  /** WCAG 2.1 relative luminance. */
  const luminance = (hex: string) => {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const c = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };

  it.each([0, 1] as const)('has legible text (WCAG AA) in theme %d', (theme) => {
    for (const text of ['text', 'muted', 'good', 'bad'] as const) {
      for (const ground of ['page', 'card'] as const) {
        const ratio = contrast(PALETTE[text][theme], PALETTE[ground][theme]);
        expect(ratio, `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
      }
    }
  });
});
