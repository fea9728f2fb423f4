/** reports/monitoring is what the list of metrics and the rules make of it. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { DEFAULT_RULES, LIVE_METRICS } from '../../src/runtime/ops/alerts.ts';
import {
  allRules,
  dashboard,
  EXPRESSIONS,
  prometheusRule,
  rulesYaml,
} from '../../src/runtime/ops/monitoring.ts';

const FOLDER = new URL('../../reports/monitoring/', import.meta.url);
const AGAIN = 'npm run monitoring makes it anew';

it('is up to date', () => {
  const read = (name: string) => readFileSync(new URL(name, FOLDER), 'utf8');
  expect(JSON.parse(read('dashboard.json')), AGAIN).toEqual(dashboard());
  expect(read('rules.yml'), AGAIN).toBe(rulesYaml());
});

it('has YAML that reads back as the rules', () => {
  const { groups } = parse(rulesYaml()) as { groups: { rules: unknown[] }[] };
  expect(groups[0].rules).toEqual(
    allRules().map(({ alert, expr, for: duration, severity, summary, description }) => ({
      alert,
      expr,
      for: duration,
      labels: { severity },
      annotations: { summary, description },
    })),
  );
  const names = allRules().map(({ alert }) => alert);
  expect(new Set(names).size).toBe(names.length);
});

it('knows every live metric, in the units that Prometheus has', () => {
  expect(Object.keys(EXPRESSIONS).sort()).toEqual(Object.keys(LIVE_METRICS).sort());
  expect(
    DEFAULT_RULES.map((rule) => prometheusRule(rule)?.expr.replace(/^.* ([<>])/, '$1')),
  ).toEqual(['< 0.85', '> 0.1', '> 0.7', '> 0.8']);
  expect(prometheusRule({ metric: 'goodputPerSec', below: 1, for: 0 })).toBeNull();
});

it('has a dashboard whose panels do not overlap', () => {
  const { panels } = dashboard() as {
    panels: { id: number; gridPos: { x: number; y: number; w: number; h: number } }[];
  };
  const cells = new Set<string>();
  for (const { gridPos } of panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        expect(x).toBeLessThan(24);
        expect(cells.has(`${x},${y}`), `${x},${y}`).toBe(false);
        cells.add(`${x},${y}`);
      }
    }
  }
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
});
