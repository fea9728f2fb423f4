/** What a mark says when it is pointed at. */
import { duration, percent } from '../../../metrics/format.ts';
import type { PageData } from '../data.ts';
import { MEASURES, RUN_COLOURS, type Shown } from '../figures.ts';
import { linesFor, usedLines } from '../lines.ts';
import { type Row, timeUnit } from '../rows.ts';
import { byId, dot, el } from './dom.ts';

interface Said {
  readonly head: string;
  readonly lines: readonly {
    readonly colour: string;
    readonly label: string;
    readonly value: string;
  }[];
}

export function showTip(event: { clientX: number; clientY: number }, said: Said): void {
  const tip = byId('tip');
  const rows = said.lines.map(({ colour, label, value }) =>
    el('div', { class: 'tip-line' }, dot(colour), el('span', {}, label), el('b', {}, value)),
  );
  tip.replaceChildren(el('div', { class: 'tip-head' }, said.head), ...rows);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const right = event.clientX + 14 + width < document.documentElement.clientWidth;
  const x = right ? event.clientX + 14 : Math.max(4, event.clientX - width - 14);
  const y = Math.max(4, Math.min(event.clientY + 14, window.innerHeight - height - 4));
  tip.style.transform = `translate(${x}px, ${y}px)`;
}

export function hideTip(): void {
  byId('tip').hidden = true;
}

/** The text for one row of a figure. */
export function say({ figure }: Shown, page: PageData, row: Row): Said {
  const at = (name: string) => row[name] as number;
  if (figure.kind === 'cdf') {
    const run = Number(String(row.s).slice(1));
    const value = duration(at('x') / MEASURES.seconds.factor);
    const label = `${percent(at('p'))} had their first token within`;
    return { head: page.runs[run].name, lines: [{ colour: RUN_COLOURS[run], label, value }] };
  }
  const { factor, say: text } = MEASURES[figure.measure];
  const value = (v: number | null | undefined) => (v == null ? '–' : text(v / factor));
  if (figure.kind === 'heat') {
    const label = String(row.row);
    return { head: span(page, row), lines: [{ colour: 'blue', label, value: value(at('v')) }] };
  }
  if (figure.kind === 'parts') {
    const { label, colour } = usedLines(figure.lines, page)[Number(String(row.s).slice(1))];
    return { head: String(row.row), lines: [{ colour, label, value: value(at('v')) }] };
  }
  const lines = linesFor(figure, page).map(({ label, colour }, i) => ({
    colour,
    label,
    value: value(row[`s${i}`] as number | null),
  }));
  return { head: span(page, row), lines };
}

function span(page: PageData, { t, t2 }: Row): string {
  return `${short(t as number)} – ${short(t2 as number)} ${timeUnit(page).name}`;
}

function short(value: number): string {
  return String(Number(value.toFixed(2)));
}
