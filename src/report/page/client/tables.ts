/** The verdict, the key figures, the comparison of runs and the table of the slowest requests. */
import { duration, integer, percent } from '../../../metrics/format.ts';
import type { PageData, PageRun, Range, RequestSample } from '../data.ts';
import { RUN_COLOURS } from '../figures.ts';
import { slowest, timeUnit } from '../rows.ts';
import { COMPARED, type Compared, type Stats, statsOf } from '../stats.ts';
import { dot, el } from './dom.ts';

/** Share of requests within the SLOs that counts as good, and as doubtful. */
const GOOD = 0.99;
const DOUBTFUL = 0.9;

export function verdict(run: PageRun, stats: Stats): HTMLElement {
  const { ttftNs, tbtNs } = run.result.slo;
  const ratio = stats.effectiveRatio ?? 0;
  const grade = ratio >= GOOD ? 'good' : ratio >= DOUBTFUL ? 'doubtful' : 'bad';
  const words = { good: '✓ Within the SLOs', doubtful: '! Borderline', bad: '✗ SLOs missed' };
  const target = (ns: number) => duration(ns).replace(/\.0+ /, ' ');
  const targets = `TTFT ≤ ${target(ttftNs)} and TBT ≤ ${target(tbtNs)}`;
  const ends = [
    `${integer(stats.completed)} of ${integer(stats.arrived)} requests completed`,
    ...(stats.lost > 0 ? [`${integer(stats.lost)} rejected or lost`] : []),
  ];
  return el(
    'div',
    { class: `verdict ${grade}` },
    el('span', { class: 'pill' }, words[grade]),
    el('p', {}, el('strong', {}, percent(stats.effectiveRatio)), ` of requests met ${targets}`),
    el('p', { class: 'muted' }, ends.join(', ')),
  );
}

export function tiles(stats: Stats): HTMLElement {
  const { ttft, tbt, sources, busiest, goodputPerSec } = stats;
  const tile = (label: string, value: string, note: string) =>
    el(
      'div',
      { class: 'tile' },
      el('div', { class: 'label' }, label),
      el('div', { class: 'value' }, value),
      el('div', { class: 'muted' }, note),
    );
  const goodput = goodputPerSec === null ? '–' : `${goodputPerSec.toFixed(2)}/s`;
  const from = `${percent(sources.dram)} local, ${percent(sources.peer)} peers`;
  return el(
    'div',
    { class: 'tiles' },
    tile('TTFT p99', duration(ttft.p99), `median ${duration(ttft.p50)}`),
    tile('TBT p99', duration(tbt.p99), `median ${duration(tbt.p50)}`),
    tile('Goodput', goodput, 'requests within the SLOs'),
    tile('Cache hits', percent(1 - sources.miss), from),
    tile('Busiest', busiest === null ? '–' : percent(busiest.ratio), busiest?.name ?? ''),
  );
}

export function comparison(page: PageData, range: Range): HTMLElement {
  const stats = page.runs.map((run) => statsOf(page, run, range));
  const head = page.runs.map(({ name }, i) =>
    el('th', { scope: 'col' }, dot(RUN_COLOURS[i]), name),
  );
  const rows = COMPARED.map((line) =>
    el(
      'tr',
      {},
      el('th', { scope: 'row' }, line.label),
      ...stats.map((of, i) => compared(line, of, i === 0 ? null : stats[0])),
    ),
  );
  return el(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Comparison of the runs' },
    el('table', {}, el('thead', {}, el('tr', {}, el('td'), ...head)), el('tbody', {}, ...rows)),
  );
}

function compared({ of, say, better }: Compared, stats: Stats, base: Stats | null): HTMLElement {
  const value = of(stats);
  if (value === null) return el('td', {}, '–');
  const cell = el('td', {}, say(value));
  const first = base === null ? null : of(base);
  if (first === null) return cell;
  const text = deltaText(say === percent, value, first);
  const worse = better === 'low' ? value > first : value < first;
  const same = text.startsWith('±') || better === 'neither';
  const grade = same ? 'muted' : worse ? 'worse' : 'better';
  cell.append(el('span', { class: `delta ${grade}` }, text));
  return cell;
}

/** Shares differ by points, other things by a share of the first. */
function deltaText(share: boolean, value: number, first: number): string {
  const difference = value - first;
  if (!share && first === 0) return difference === 0 ? '±0.0 %' : 'new';
  const hundredths = 100 * (share ? difference : difference / first);
  const text = Math.abs(hundredths).toFixed(1);
  const sign = text === '0.0' ? '±' : difference > 0 ? '+' : '−';
  return `${sign}${text} ${share ? 'pp' : '%'}`;
}

type Cell = (of: RequestSample, at: number) => string;

const time =
  (column: 'ttft' | 'queue' | 'transfer' | 'load' | 'compute' | 'handoff' | 'decode'): Cell =>
  (of, at) =>
    of[column][at] ? duration(of[column][at]) : '–';

/** Columns of the slowest requests, after their name. */
const SLOWEST: readonly (readonly [head: string, cell: Cell])[] = [
  ['TTFT', time('ttft')],
  ['Queue', time('queue')],
  ['Transfer', time('transfer')],
  ['Load', time('load')],
  ['Compute', time('compute')],
  ['Hand-off', time('handoff')],
  ['Decode', time('decode')],
  ['Prompt tokens', (of, at) => integer(of.input[at] ?? 0)],
  ['Cached', (of, at) => percent((of.cached[at] ?? 0) / (of.input[at] || 1))],
  ['Prefill on', (of, at) => of.instances[of.prefill[at]] || '–'],
  ['Decode on', (of, at) => of.instances[of.decoder[at]] || '–'],
];

export function slowestTable(page: PageData, range: Range): HTMLElement {
  const unit = timeUnit(page);
  const arrived: Cell = (of, at) => ((of.arrived[at] ?? 0) / unit.ns).toFixed(1);
  const columns = [...SLOWEST, [`Arrived, ${unit.name}`, arrived] as const];
  const heads = ['Request', ...columns.map(([head]) => head)];
  const rows = slowest(page, range).map(({ label, run, at }) => {
    const cells = columns.map(([, cell]) => el('td', {}, cell(run.requests, at)));
    return el('tr', {}, el('th', { scope: 'row' }, label), ...cells);
  });
  return el(
    'table',
    {},
    el('thead', {}, el('tr', {}, ...heads.map((head) => el('th', { scope: 'col' }, head)))),
    el('tbody', {}, ...rows),
  );
}
