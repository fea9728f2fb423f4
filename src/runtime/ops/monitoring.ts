/**
 * What Grafana and Prometheus need to watch a cluster: a dashboard and alert rules, made of the
 * list of metrics and of the rules that each process looks at itself. `npm run monitoring` writes
 * them to reports/monitoring.
 */
import { type AlertRule, DEFAULT_RULES, nameOf } from './alerts.ts';
import { METRICS as M } from './metric-list.ts';

/** A rule as Prometheus has it. */
export interface PrometheusRule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly severity: 'warning' | 'critical';
  readonly summary: string;
  readonly description: string;
}

/** What is shown together; `by` is what a curve is for. */
export interface Panel {
  readonly title: string;
  readonly unit: 's' | 'bytes' | 'Bps' | 'percentunit' | 'reqps' | 'short' | 'none';
  readonly curves: readonly { readonly expr: string; readonly legend: string }[];
}

export interface Section {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const WINDOW = '1m';
const NS_PER_S = 1e9;

const rate = (name: string, selector = '') => `rate(${name}${selector}[${WINDOW}])`;
const sumBy = (by: string, of: string) => `sum by (${by}) (${of})`;
const sum = (of: string) => `sum(${of})`;
const p = (share: number, { name }: { name: string }, by = '', selector = '') => {
  const labels = by === '' ? 'le' : `le, ${by}`;
  return `histogram_quantile(${share}, ${sumBy(labels, rate(`${name}_bucket`, selector))})`;
};

const REMOTE = '{kind=~"fetch|stream"}';

/** Each live metric as Prometheus computes it over the same window, and how it scales. */
export const EXPRESSIONS: Readonly<
  Record<string, { readonly expr: string; readonly per: number; readonly name: string }>
> = {
  'hit.tokensRatio': {
    name: 'HitRate',
    expr: `${sum(rate(M.hits.name))} / ${sum(rate(M.queries.name))}`,
    per: 1,
  },
  'transferNs.p99': {
    name: 'TransferP99',
    expr: p(0.99, M.transfer, 'member', REMOTE),
    per: NS_PER_S,
  },
  'ttftNs.p99': { name: 'TtftP99', expr: p(0.99, M.ttft), per: NS_PER_S },
  'gapNs.p99': { name: 'GapP99', expr: p(0.99, M.gap), per: NS_PER_S },
  rejectedRatio: {
    name: 'Rejected',
    expr:
      `${sum(rate(M.ended.name, '{outcome=~"rejected.*"}'))} / ` + `${sum(rate(M.arrived.name))}`,
    per: 1,
  },
  cpuRatio: { name: 'Cpu', expr: M.hostCpu.name, per: 1 },
  memoryRatio: { name: 'Memory', expr: M.hostMemory.name, per: 1 },
};

const ASK = 'GET /alerts of the member says what to do, and the figure behind it.';

/** A rule of the configuration; null for a metric that is not known live. */
export function prometheusRule(rule: AlertRule): PrometheusRule | null {
  const known = EXPRESSIONS[rule.metric];
  if (known === undefined) return null;
  const { above, below } = rule;
  const limit = (above ?? below ?? 0) / known.per;
  return {
    alert: `Moontide${known.name}`,
    expr: `${known.expr} ${above === undefined ? '<' : '>'} ${limit}`,
    for: `${Math.round(rule.for / NS_PER_S)}s`,
    severity: 'warning',
    summary: nameOf(rule),
    description: ASK,
  };
}

/** What no cluster should show, whatever its targets are. */
const FAULTS: readonly PrometheusRule[] = [
  fault(
    'NoLeader',
    `${sum(M.leads.name)} != 1 or absent(${M.leads.name})`,
    '10s',
    'No conductor leads, or two say so.',
  ),
  fault('NodeGone', `${M.nodeHealth.name} == 0`, '30s', 'Node {{ $labels.node }} is no member.'),
  fault('WrongBytes', `increase(${M.wrong.name}[5m]) > 0`, '0s', 'A block had other bytes.'),
  fault(
    'RailDown',
    `${M.railUp.name} == 0`,
    '30s',
    'Rail {{ $labels.rail }} of {{ $labels.member }} is not open.',
  ),
  fault(
    'Nonsense',
    `increase(${M.linkNonsense.name}[5m]) > 0`,
    '0s',
    'A peer of {{ $labels.member }} sent what it must not: another version, or an attack.',
  ),
  fault(
    'RegistrySlow',
    `${p(0.99, M.registry, 'member')} > 1`,
    '30s',
    'The registry takes more than a second to answer {{ $labels.member }}.',
  ),
  fault('Lag', `${M.lag.name} > 0.5`, '30s', 'The event loop of {{ $labels.member }} is late.'),
];

function fault(name: string, expr: string, duration: string, text: string): PrometheusRule {
  const severity = ['NoLeader', 'WrongBytes'].includes(name) ? 'critical' : 'warning';
  return {
    alert: `Moontide${name}`,
    expr,
    for: duration,
    severity,
    summary: text,
    description: `${text} ${ASK}`,
  };
}

export function allRules(configured: readonly AlertRule[] = DEFAULT_RULES): PrometheusRule[] {
  const made = configured.map(prometheusRule).filter((rule) => rule !== null);
  return [...made, ...FAULTS];
}

/** Rules as a file for `rule_files` of Prometheus. */
export function rulesYaml(configured: readonly AlertRule[] = DEFAULT_RULES): string {
  const quoted = (text: string) => `'${text.replace(/'/g, "''")}'`;
  const lines = ['groups:', '  - name: moontide', '    rules:'];
  for (const rule of allRules(configured)) {
    lines.push(
      `      - alert: ${rule.alert}`,
      `        expr: ${quoted(rule.expr)}`,
      `        for: ${rule.for}`,
      `        labels: { severity: ${rule.severity} }`,
      '        annotations:',
      `          summary: ${quoted(rule.summary)}`,
      `          description: ${quoted(rule.description)}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

// --- the dashboard ------------------------------------------------------------------------------

const one = (expr: string, legend: string) => [{ expr, legend }];
const quantiles = (of: { name: string }) =>
  [0.5, 0.9, 0.99].map((share) => ({ expr: p(share, of), legend: `p${100 * share}` }));

function panel(title: string, unit: Panel['unit'], curves: Panel['curves']): Panel {
  return { title, unit, curves };
}

export const SECTIONS: readonly Section[] = [
  {
    title: 'Cluster',
    panels: [
      panel(
        'Leader',
        'none',
        one(`${M.leads.name} * on(member) ${M.term.name}`, '{{member}} (term)'),
      ),
      panel(
        'Health of nodes (2 ok, 1 suspect, 0 gone)',
        'none',
        one(M.nodeHealth.name, '{{node}}'),
      ),
      panel('Alerts that fire', 'none', one(`${M.alert.name} == 1`, '{{member}}: {{rule}}')),
      panel('Members', 'none', one(`max by (role) (${M.members.name})`, '{{role}}')),
    ],
  },
  {
    title: 'Requests',
    panels: [
      panel('Arrived and ended', 'reqps', [
        ...one(sum(rate(M.arrived.name)), 'arrived'),
        ...one(sumBy('outcome', rate(M.ended.name)), '{{outcome}}'),
      ]),
      panel('TTFT', 's', quantiles(M.ttft)),
      panel('Time between tokens', 's', quantiles(M.gap)),
      panel('End to end', 's', quantiles(M.e2e)),
      panel('Waiting for prefill', 's', quantiles(M.queueTime)),
      panel('Running and waiting', 'none', [
        ...one(sumBy('member', M.running.name), '{{member}} running'),
        ...one(sumBy('member', M.waiting.name), '{{member}} waiting'),
      ]),
      panel('Tokens', 'short', [
        ...one(sum(rate(M.promptTokens.name)), 'prompt /s'),
        ...one(sum(rate(M.generated.name)), 'generated /s'),
      ]),
      panel('Predicted queue of instances', 's', one(M.queuedSeconds.name, '{{instance}}')),
    ],
  },
  {
    title: 'Cache',
    panels: [
      panel('Hit rate (found, and promised by the directory)', 'percentunit', [
        ...one(EXPRESSIONS['hit.tokensRatio'].expr, 'found'),
        ...one(`${sum(rate(M.believed.name))} / ${sum(rate(M.dispatched.name))}`, 'promised'),
      ]),
      panel(
        'Prompt tokens by source',
        'short',
        one(sumBy('source', rate(M.hitTokens.name)), '{{source}}'),
      ),
      panel(
        'Tiers in use',
        'percentunit',
        one(`${M.tierUsed.name} / ${M.tierCapacity.name}`, '{{member}} {{tier}}'),
      ),
      panel(
        'Evictions',
        'short',
        one(sumBy('member, tier', rate(M.evictions.name)), '{{member}} {{tier}}'),
      ),
      panel('Blocks, copies too', 'short', one(M.keys.name, 'blocks')),
      panel('Leases and stale tokens', 'short', [
        ...one(sum(rate(M.leasedBlocks.name)), 'blocks leased /s'),
        ...one(sum(rate(M.stale.name)), 'tokens promised, not found /s'),
      ]),
    ],
  },
  {
    title: 'Transfers',
    panels: [
      panel('p99 by kind', 's', one(p(0.99, M.transfer, 'kind'), '{{kind}}')),
      panel(
        'Bytes by kind (of the model)',
        'Bps',
        one(sumBy('kind', rate(M.moved.name)), '{{kind}}'),
      ),
      panel(
        'Rails',
        'Bps',
        one(sumBy('member, rail', rate(M.railBytes.name)), '{{member}} {{rail}}'),
      ),
      panel('Failures', 'short', [
        ...one(sumBy('cause', rate(M.failed.name)), '{{cause}}'),
        ...one(sumBy('rail', rate(M.railFailures.name)), '{{rail}}'),
      ]),
    ],
  },
  {
    title: 'Processes',
    panels: [
      panel('CPU of processes', 'percentunit', one(rate(M.cpu.name), '{{member}}')),
      panel('CPU and memory of machines', 'percentunit', [
        ...one(M.hostCpu.name, '{{member}} CPU'),
        ...one(M.hostMemory.name, '{{member}} memory'),
      ]),
      panel('Resident memory', 'bytes', one(M.resident.name, '{{member}}')),
      panel('Event loop', 's', one(M.lag.name, '{{member}}')),
      panel('Decisions', 's', quantiles(M.decision)),
      panel(
        'Messages',
        'short',
        one(sumBy('member, direction', rate(M.linkMessages.name)), '{{member}} {{direction}}'),
      ),
      panel('Links: resets, nonsense, strangers', 'short', [
        ...one(sumBy('member', rate(M.linkResets.name)), '{{member}} resets'),
        ...one(sumBy('member', rate(M.linkNonsense.name)), '{{member}} nonsense'),
        ...one(sumBy('member', rate(M.linkRefused.name)), '{{member}} refused'),
      ]),
      panel('Registry, p99', 's', one(p(0.99, M.registry, 'member'), '{{member}}')),
    ],
  },
];

const COLUMNS = 24;
const HEIGHT = 8;
const SOURCE = { type: 'prometheus', uid: '$datasource' };

/** Grafana's JSON model (schema 39): import it, and choose the data source. */
export function dashboard(): unknown {
  const panels: unknown[] = [];
  let [x, y] = [0, 0];
  for (const section of SECTIONS) {
    if (x > 0) y += HEIGHT;
    x = 0;
    const row = { x: 0, y: y++, w: COLUMNS, h: 1 };
    panels.push({ id: panels.length + 1, type: 'row', title: section.title, gridPos: row });
    for (const panel of section.panels) {
      panels.push(panelOf(panel, panels.length + 1, x, y));
      x = (x + COLUMNS / 2) % COLUMNS;
      if (x === 0) y += HEIGHT;
    }
  }
  return {
    uid: 'moontide',
    title: 'Moontide',
    schemaVersion: 39,
    version: 1,
    editable: true,
    refresh: '10s',
    tags: ['moontide'],
    time: { from: 'now-30m', to: 'now' },
    timezone: '',
    templating: {
      list: [{ name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Data source' }],
    },
    panels,
  };
}

function panelOf({ title, unit, curves }: Panel, id: number, x: number, y: number): unknown {
  return {
    id,
    type: 'timeseries',
    title,
    datasource: SOURCE,
    gridPos: { x, y, w: COLUMNS / 2, h: HEIGHT },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } },
    targets: curves.map(({ expr, legend }, i) => ({
      refId: String.fromCharCode(65 + i),
      expr,
      legendFormat: legend,
      datasource: SOURCE,
    })),
  };
}
