/** The reproduction: shape of its rows, laws that its figures keep, what comes of bad input. */
import { describe, expect, it } from 'vitest';
import { Tier } from '../../src/core/topology.ts';
import { FAST25_A800X8 } from '../../src/model/polynomial.ts';
import { FIGURES } from '../../src/study/reproduce/figures.ts';
import { reproduce } from '../../src/study/reproduce/index.ts';
import { KNOBS } from '../../src/study/reproduce/knobs.ts';
import { FAST25, mergePaperData, paperValue } from '../../src/study/reproduce/paper-data.ts';
import { runAll } from '../../src/study/reproduce/run-pool.ts';
import { ReplicaWatch } from '../../src/study/reproduce/watches.ts';
import { openTrace } from '../../src/trace/open.ts';
import splitwise from '../golden/splitwise-llama2-70b.json' with { type: 'json' };
import { traceOf } from '../support/tiny.ts';

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const demo = await openTrace('demo', { limit: 300 });
const small = await reproduce({ traces: { conversation: demo } });

function ours(figure: string, quantity: string): number {
  const row = small.rows.find((r) => r.figure === figure && r.quantity === quantity);
  expect(row, `${figure} ${quantity}`).toBeDefined();
  return row!.ours!;
}

describe('rows', () => {
  it('have the paper beside ours where the paper has it, and null elsewhere', () => {
    for (const row of small.rows) {
      expect(Object.keys(row)).toEqual([
        'figure',
        'workload',
        'quantity',
        'paper',
        'ours',
        'error',
        'basis',
      ]);
      expect(row.paper).toBe(paperValue(FAST25, row.figure, row.workload, row.quantity));
      if (row.paper === null) expect(row.error).toBeNull();
      else if (row.error !== null) expect(row.error).toBeCloseTo(row.ours! / row.paper - 1, 12);
    }
    const told = small.rows.filter(({ paper }) => paper !== null);
    expect(told.length).toBeGreaterThan(90);
  });

  it('name each quantity once', () => {
    const names = small.rows.map((row) => `${row.figure} ${row.workload} ${row.quantity}`);
    expect(new Set(names).size).toBe(names.length);
  });

  it('are fitted in Figures 12 and 14 alone', () => {
    const fitted = new Set(FIGURES.filter(({ basis }) => basis === 'fitted').map(({ key }) => key));
    expect([...fitted]).toEqual(['fig12TransferSeconds', 'fig14LatencySeconds']);
  });

  it('leave out a figure without its trace, with a note', () => {
    expect(small.rows.some(({ figure }) => figure.startsWith('fig7'))).toBe(false);
    const note = 'Figure 7 is left out: it needs --trace synthetic=PATH';
    expect(small.notes).toContain(note);
  });

  it('take more of the paper from outside', async () => {
    const paperData = { fig14LatencySeconds: { promptTokens: [1024], prefill0: [0.2] } };
    const { rows } = await reproduce({ traces: {}, paperData, figures: ['fig14LatencySeconds'] });
    expect(rows).toHaveLength(5);
    expect(rows[0]).toMatchObject({ quantity: 'prefill0.0', paper: 0.2 });
  });
});

describe('figures', () => {
  it('5: the better the scheduler knows the cache, the sooner the first token', () => {
    const bars = ['global-cache-aware', 'local-cache-aware', 'load-balancing', 'random'];
    const means = bars.map((bar) => ours('fig5MeanTtftSeconds', bar));
    expect(means).toEqual(means.toSorted((a, b) => a - b));
  });

  it('9: more capacity never hits less', () => {
    const rates = Array.from({ length: 10 }, (_, i) =>
      ours('fig9HitRateByCapacityTokens', `conversation.${i}`),
    );
    expect(rates).toEqual(rates.toSorted((a, b) => a - b));
  });

  it('10: the pool of all hits more and computes less than caches apart', () => {
    const side = (quantity: string, of: string) =>
      ours('fig10LocalVsGlobal', `conversation.${quantity}.${of}`);
    expect(side('hitPercent', 'global')).toBeGreaterThan(side('hitPercent', 'local'));
    expect(side('prefillGpuSeconds', 'global')).toBeLessThan(side('prefillGpuSeconds', 'local'));
  });

  it('12: median error at most 5 %, largest 17 %, on each curve', () => {
    for (const curve of [
      '4x200.transferEngine',
      '4x200.tcp',
      '8x400.transferEngine',
      '8x400.tcp',
    ]) {
      const errors = small.rows
        .filter(({ quantity }) => quantity.startsWith(curve))
        .map(({ error }) => Math.abs(error!))
        .sort((a, b) => a - b);
      expect(errors).toHaveLength(12);
      expect((errors[5] + errors[6]) / 2).toBeLessThan(0.05);
      expect(errors[11]).toBeLessThan(0.17);
    }
  });

  it('14: within 3 %, and 10 % with hits', () => {
    const rows = small.rows.filter(({ figure }) => figure === 'fig14LatencySeconds');
    expect(rows).toHaveLength(25);
    for (const { quantity, error } of rows) {
      expect(Math.abs(error!)).toBeLessThan(quantity.startsWith('prefill95') ? 0.1 : 0.03);
    }
  });

  it('have a chart each, with the paper drawn where it has numbers', () => {
    const ids = small.charts.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const five = small.charts.find(({ id }) => id === 'figure-5-conversation')!;
    expect(five.series.map(({ of }) => of)).toEqual(['paper', 'ours']);
  });
});

describe('what a batch costs', () => {
  it("is the line through SplitwiseSim's profile of vLLM, less the context of Figure 14", () => {
    // Half of the 128 tokens of output lie behind the mean step.
    const contextMs = (FAST25_A800X8.decodeContextNs / 1e6) * ((512 + 64) / 1024);
    const x = splitwise.batches.map((batch) => batch - 1);
    const y = splitwise.batchTokenMs.map((ms, i) => ms - splitwise.batches[i] * contextMs);
    const mean = (of: readonly number[]) => of.reduce((a, b) => a + b, 0) / of.length;
    const [meanX, meanY] = [mean(x), mean(y)];
    const slope =
      mean(x.map((at, i) => (at - meanX) * (y[i] - meanY))) /
      mean(x.map((at) => (at - meanX) ** 2));
    const value = (name: string) => KNOBS.find((knob) => knob.name === name)!.value;
    expect(value('TBT/batch model')).toBe(`${slope.toFixed(1)} ms`);
    expect(value('decode step of vLLM')).toBe(`${(meanY - slope * meanX).toFixed(0)} ms`);
  });
});

describe('sensitivity', () => {
  it('has a row for each value of each knob, the shared one first', async () => {
    const traces = { conversation: await openTrace('demo', { limit: 40 }) };
    const { sensitivity, knobs } = await reproduce({
      traces,
      sensitivity: true,
      figures: ['fig5MeanTtftSeconds'],
    });
    expect(sensitivity[0]).toMatchObject({ knob: 'none', chosen: true });
    const shared = sensitivity[0].rows;
    expect(shared.some(({ figure }) => figure === 'fig1EffectiveCapacityPercent')).toBe(true);
    for (const { name } of knobs) {
      expect(
        sensitivity.some(({ knob }) => knob === name),
        name,
      ).toBe(true);
    }
  }, 180_000);
});

describe('runs', () => {
  it('that are equal run once, watched for all who ask', async () => {
    let runs = 0;
    const spec = { workload: 'demo', config: 'mooncake-16' };
    const outcomes = await runAll([spec, { ...spec, watch: ['replicas'] }, spec], {
      traces: { demo: await openTrace('demo', { limit: 20 }) },
      workers: 0,
      workerUrl: null,
      onProgress: (_, all) => {
        runs = all;
      },
    });
    expect(runs).toBe(1);
    expect([...outcomes.values()][0].replicas).not.toBeNull();
  });
});

describe('copies of hot blocks', () => {
  it('are counted by node, whichever tier has them', () => {
    const trace = traceOf(
      range(0, 3).map((i) => ({ atNs: i * 60e9, blocks: [7], outputTokens: 1 })),
    );
    const watch = new ReplicaWatch(trace);
    const say = (node: number, tier: Tier, stored: number[], removed: number[]) =>
      watch.onSend(0, 1, {
        kind: 'delta',
        node,
        tier,
        instance: -1,
        sequence: 1,
        stored,
        removed,
      });
    const at = (atNs: number) =>
      watch.onFact(1, { atNs, from: 1, body: { kind: 'wake', token: 0 } });
    say(0, Tier.dram, [7], []);
    say(0, Tier.ssd, [7], []);
    say(1, Tier.ssd, [7], []);
    at(31e9);
    say(0, Tier.dram, [], [7]);
    at(61e9);
    say(1, Tier.ssd, [], [7]);
    at(91e9);
    expect(watch.finish().ranks[1]).toEqual([2, 2, 1, 1]);
  });
});

describe('bad input', () => {
  it('is one line with what was expected', async () => {
    await expect(reproduce({ traces: { chat: demo } })).rejects.toThrow(
      'found the workload "chat", expected one of conversation, toolagent, synthetic',
    );
    await expect(reproduce({ traces: {}, figures: ['fig5'] })).rejects.toThrow(
      'found the figure "fig5", expected one of',
    );
  });

  it('merges data object by object', () => {
    const merged = mergePaperData({ a: { x: 1, y: [1, 2] } }, { a: { y: [3] }, b: { z: 1 } });
    expect(merged).toEqual({ a: { x: 1, y: [3] }, b: { z: 1 } });
  });
});
