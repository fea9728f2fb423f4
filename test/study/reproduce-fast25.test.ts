/**
 * The committed reproduction of the conversation trace (reports/fast25/result.json): within which
 * bounds it stands, and that a rerun of its quick figures still gives its rows.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Row } from '../../src/study/reproduce/index.ts';
import { reproduce } from '../../src/study/reproduce/index.ts';
import { CONVERSATION, realTrace } from '../support/traces.ts';

const path = new URL('../../reports/fast25/result.json', import.meta.url);
const rows: readonly Row[] = JSON.parse(readFileSync(path, 'utf8')).rows;

function figure(key: string): Map<string, Row> {
  const of = rows.filter((row) => row.figure === key);
  return new Map(of.map((row) => [row.quantity, row]));
}

/** Difference to the paper in the unit of the quantity. */
function gap({ ours, paper }: Row): number {
  return Math.abs(ours! - paper!);
}

describe('the committed reproduction', () => {
  it('is fitted to Figures 12 and 14 alone', () => {
    const fitted = rows.filter(({ basis }) => basis === 'fitted').map((row) => row.figure);
    expect([...new Set(fitted)].sort()).toEqual(['fig12TransferSeconds', 'fig14LatencySeconds']);
  });

  it('Figure 1: Mooncake within 5 points, vLLM within 12, prefix as the README says', () => {
    const of = figure('fig1EffectiveCapacityPercent');
    for (const i of [0, 1, 2]) {
      expect(gap(of.get(`mooncake.${i}`)!)).toBeLessThanOrEqual(5);
      expect(gap(of.get(`vllm.${i}`)!)).toBeLessThanOrEqual(12);
      expect(gap(of.get(`vllm-prefix.${i}`)!)).toBeLessThanOrEqual(i === 1 ? 15 : 12);
    }
  });

  it('Figure 11: the hottest ten on every node, rank 100 on almost every', () => {
    const of = figure('fig11ReplicaCount');
    expect(of.get('final.rank10')!.ours).toBe(6);
    expect(of.get('final.rank100')!.ours).toBeGreaterThanOrEqual(5);
    const { notes } = JSON.parse(readFileSync(path, 'utf8')) as { notes: unknown };
    expect(JSON.stringify(notes)).toContain('hottest blocks is on at least 6 of 6 prefill nodes');
  });

  it('Figure 5: in order, each mean within 30 %, global 10 % below local', () => {
    const bars = [...figure('fig5MeanTtftSeconds').values()];
    const means = bars.map(({ ours }) => ours!);
    expect(means).toEqual(means.toSorted((a, b) => a - b));
    for (const { error } of bars) expect(Math.abs(error!)).toBeLessThan(0.3);
    expect(means[0]).toBeLessThan(0.9 * means[1]);
  });

  it('Figure 8: each mean GPU time within 10 %', () => {
    const of = [...figure('fig8MeanPrefillGpuSeconds').values()];
    expect(of).toHaveLength(4);
    for (const { error } of of) expect(Math.abs(error!)).toBeLessThan(0.1);
  });

  it('Figure 9: within 0.04 at each capacity', () => {
    const of = [...figure('fig9HitRateByCapacityTokens').values()];
    expect(of).toHaveLength(10);
    for (const row of of) expect(gap(row)).toBeLessThan(0.04);
  });

  it('Figure 10: hit rates within 2 points, mean GPU times within 10 %', () => {
    const of = figure('fig10LocalVsGlobal');
    for (const side of ['local', 'global']) {
      expect(gap(of.get(`conversation.hitPercent.${side}`)!)).toBeLessThanOrEqual(2);
      const time = of.get(`conversation.prefillGpuSeconds.${side}`)!;
      expect(Math.abs(time.error!)).toBeLessThan(0.1);
    }
  });

  it('Table 3: where decode is the bottleneck, foresight rejects fewer', () => {
    const of = figure('arxivTable3Rejected');
    const rejected = (name: string) => of.get(`fewDecodeNodes.${name}`)!.ours!;
    expect(rejected('early')).toBeLessThan(0.98 * rejected('baseline'));
    expect(rejected('predictive')).toBeLessThan(0.98 * rejected('early'));
  });

  it('comes out again', async ({ skip }) => {
    const trace = realTrace(CONVERSATION);
    if (trace === null) {
      skip('no trace');
      return;
    }
    const figures = ['fig5MeanTtftSeconds', 'fig9HitRateByCapacityTokens'];
    const again = await reproduce({ traces: { conversation: `mooncake:${trace}` }, figures });
    for (const row of again.rows) {
      const before = figure(row.figure).get(row.quantity)!;
      // Renew the report when a change of the model is meant: its README has the command.
      expect(Math.abs(row.ours! / before.ours! - 1), row.quantity).toBeLessThan(0.03);
    }
  }, 180_000);
});
