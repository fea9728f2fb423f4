/** The page's script: one range of time for all figures, the theme, and the page's width. */
import type { Spec } from 'vega';
import type { PageData, Range } from '../data.ts';
import { OVERVIEW, type Shown, sectionsFor } from '../figures.ts';
import { type LegendEntry, legendOf, noteOf } from '../lines.ts';
import { isEmpty, timeUnit } from '../rows.ts';
import { statsOf } from '../stats.ts';
import { Chart } from './chart.ts';
import { byId, dot, el } from './dom.ts';
import { comparison, slowestTable, tiles, verdict } from './tables.ts';

interface Inlined {
  readonly page: PageData;
  readonly specs: Readonly<Record<string, Spec>>;
}

const { page, specs } = JSON.parse(byId('data').textContent!) as Inlined;
const charts: Chart[] = [];
let range: Range = null;

// --- the range of time --------------------------------------------------------------------------

const fromInput = byId('from') as HTMLInputElement;
const toInput = byId('to') as HTMLInputElement;
const clear = byId('clear') as HTMLButtonElement;

function choose(chosen: Range): void {
  const whole = chosen !== null && chosen.from === 0 && chosen.to === page.bins;
  range = whole ? null : chosen;
  showNumbers();
  void draw();
}

/** Drawings asked for, and whether one is under way. */
let asked = 0;
let drawing = false;

/** Draws, and again while more was asked for meanwhile. */
async function draw(): Promise<void> {
  asked++;
  if (drawing) return;
  drawing = true;
  let begun: number;
  do {
    begun = asked;
    await Promise.all(charts.map((chart) => chart.show(range)));
  } while (begun !== asked);
  drawing = false;
  const { from, to } = range ?? { from: 0, to: page.bins };
  document.body.dataset.shown = `${from}-${to}`;
}

function showNumbers(): void {
  const { from, to } = range ?? { from: 0, to: page.bins };
  const unit = timeUnit(page);
  const time = (bin: number) => String(Number(((bin * page.binNs) / unit.ns).toFixed(1)));
  const whole = `Whole run, ${time(page.bins)} ${unit.short}`;
  byId('range-text').textContent =
    range === null ? whole : `${time(from)} – ${time(to)} ${unit.short}`;
  fromInput.value = String(from);
  toInput.value = String(to);
  for (const input of [fromInput, toInput]) {
    input.setAttribute('aria-valuetext', `${time(Number(input.value))} ${unit.name}`);
  }
  clear.disabled = range === null;
  const many = page.runs.length > 1;
  const [run] = page.runs;
  const stats = statsOf(page, run, range);
  byId('numbers').replaceChildren(
    ...(many ? [comparison(page, range)] : [verdict(run, stats), tiles(stats)]),
  );
  byId('slowest-table').replaceChildren(slowestTable(page, range));
}

function watchRange(): void {
  for (const input of [fromInput, toInput]) {
    input.max = String(page.bins);
    input.addEventListener('input', () => {
      const [a, b] = [Number(fromInput.value), Number(toInput.value)];
      if (a < b) choose({ from: a, to: b });
      else if (input === fromInput) choose({ from: Math.max(0, b - 1), to: b });
      else choose({ from: a, to: Math.min(page.bins, a + 1) });
    });
  }
  clear.addEventListener('click', () => choose(null));
  document.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape' && range !== null) choose(null);
  });
}

// --- figures ------------------------------------------------------------------------------------

function addFigures(): void {
  const names = page.runs.map(({ name }) => name);
  addChart(byId('overview'), { id: OVERVIEW.id, title: OVERVIEW.title, figure: OVERVIEW, run: -1 });
  for (const { title, groups } of sectionsFor(names)) {
    const grid = el('div', { class: 'grid' }, ...groups.map(sideBySide));
    byId('figures').append(el('section', {}, el('h2', {}, title), grid));
  }
}

function sideBySide(group: readonly Shown[]): HTMLElement {
  if (group.length === 1) return card(group[0]);
  return el('div', { class: 'group' }, ...group.map(card));
}

function card(shown: Shown): HTMLElement {
  const { id, title, figure } = shown;
  const caption = el(
    'figcaption',
    {},
    el('h3', {}, title),
    el('p', { class: 'muted' }, noteOf(shown, page)),
  );
  const wide = id === 'slowest' ? 'wide' : '';
  const box = el('div', { class: 'chart' });
  const made = el('figure', { id, class: wide }, caption);
  const legend = legendOf(shown, page);
  if (legend.length > 0) caption.append(el('div', { class: 'legend' }, ...legend.map(entry)));
  if (isEmpty(shown, page)) {
    const timed = figure.kind === 'parts' ? figure.totals : figure;
    const text = timed?.kind === 'time' ? timed.empty : undefined;
    made.append(el('p', { class: 'empty' }, text ?? 'Nothing to show.'));
  } else {
    made.append(box);
    addChart(box, shown);
  }
  if (id === 'slowest') {
    const label = 'Slowest first tokens, with where their time went';
    const region = { id: 'slowest-table', class: 'scroll', tabindex: '0', role: 'region' };
    made.append(el('div', { ...region, 'aria-label': label }));
  }
  return made;
}

function entry({ label, colour, dashed }: LegendEntry): HTMLElement {
  return el('span', {}, dot(colour, dashed), label);
}

function addChart(box: HTMLElement, shown: Shown): void {
  charts.push(new Chart(box, shown, specs[shown.id], page, choose));
}

// --- the page -----------------------------------------------------------------------------------

function watchTheme(): void {
  const button = byId('theme') as HTMLButtonElement;
  const root = document.documentElement;
  const system = window.matchMedia('(prefers-color-scheme: dark)');
  const isDark = () =>
    root.style.colorScheme === '' ? system.matches : root.style.colorScheme === 'dark';
  const label = () => {
    button.textContent = isDark() ? 'Light theme' : 'Dark theme';
  };
  button.addEventListener('click', () => {
    root.style.colorScheme = isDark() ? 'light' : 'dark';
    label();
  });
  system.addEventListener('change', label);
  label();
}

function watchWidth(): void {
  let width = window.innerWidth;
  window.addEventListener('resize', () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    void draw();
  });
}

addFigures();
watchRange();
watchTheme();
watchWidth();
choose(null);
