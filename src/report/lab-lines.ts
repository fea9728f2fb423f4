/** Lines with their names at their ends, as Vega-Lite has them. */
import type { Colour } from './page/figures.ts';
import { FONT_SIZE, variable } from './theme.ts';

type Json = Readonly<Record<string, unknown>>;

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Line {
  readonly name: string;
  readonly points: readonly Point[];
}

export interface LinesFigure {
  readonly kind: 'lines';
  readonly title: string;
  readonly note: string;
  readonly lines: readonly Line[];
  readonly xTitle: string;
  readonly yTitle: string;
  /** Of y, as d3-format has it. */
  readonly format: string;
  /** Scales that are logarithmic: points at 0 are left out there. */
  readonly logX?: boolean;
  readonly logY?: boolean;
  /** Dashed, from side to side. */
  readonly reference?: { readonly y: number; readonly label: string } | null;
  /** Points with a line down to the axis. */
  readonly marked?: readonly (Point & { readonly label: string })[];
  readonly band?: readonly { readonly x: number; readonly low: number; readonly high: number }[];
}

/** Heights of the plot and of a label, px; levels of labels above a plot. */
export const HEIGHT = 240;
const LABEL_HEIGHT = 15;
const LEVELS = 3;
/** Points of a line that are still told apart. */
const POINTS_MAX = 24;
/** From the end of a line to its label, px. */
const LEADER = 26;
/** Mean width of a character, in font sizes, and the part of a figure that labels may take. */
const CHARACTER = 0.55;
const LABEL_SHARE = 0.33;

/** Told apart by colour first and by dashes then: 28 lines before any looks like another. */
const COLOURS: readonly Colour[] = [
  'blue',
  'vermilion',
  'green',
  'purple',
  'orange',
  'sky',
  'grey',
];
const DASHES = [
  [1, 0],
  [6, 3],
  [2, 2],
  [9, 3, 2, 3],
] as const;

export function textWidth(text: string, fontSize = FONT_SIZE): number {
  return CHARACTER * fontSize * text.length;
}

interface LineRow extends Point {
  readonly s: string;
}

export function linesView(figure: LinesFigure, width: number): Json {
  const { lines, reference = null, marked = [], band = [] } = figure;
  const rows = lines.flatMap(({ points }, i) =>
    points.filter((point) => isDrawn(figure, point)).map((point) => ({ s: `s${i}`, ...point })),
  );
  const labelled = lines.length > 1;
  const height = Math.max(HEIGHT, LABEL_HEIGHT * (lines.length + 1));
  const most = Math.max(
    ...[...rows, ...marked].map(({ y }) => y),
    ...band.map(({ high }) => high),
    reference?.y ?? 0,
  );
  const top = roundUp(most);
  const x = xOf(figure, rows, width);
  const y = yOf(figure, top);
  const longest = Math.max(...lines.map(({ name }) => textWidth(name)));
  const labelWidth = Math.ceil(Math.min(LABEL_SHARE * width, longest + 4));
  return {
    height,
    layer: [
      ...(band.length === 0 ? [] : [bandLayer(band, x, y)]),
      { data: { values: rows }, ...lineLayer(figure, x, y) },
      ...(reference === null ? [] : referenceLayers(reference, y)),
      ...(marked.length === 0 ? [] : markedLayers(marked, x, y)),
      ...(labelled ? labelLayers(lines, rows, { height, top, y, labelWidth }) : []),
    ],
  };
}

function isDrawn({ logX, logY }: LinesFigure, { x, y }: Point): boolean {
  return (logX !== true || x > 0) && (logY !== true || y > 0);
}

function xOf({ xTitle, logX }: LinesFigure, rows: readonly LineRow[], width: number): Json {
  const all = rows.map(({ x }) => x);
  const from = Math.min(...all);
  const to = Math.max(...all);
  // One place alone stands at the end, beside its names.
  const domain = from < to ? [from, to] : [from / 2, to];
  const axis = { title: xTitle, grid: true, format: '~s', labelFlush: false };
  return logX === true
    ? {
        type: 'quantitative',
        scale: { type: 'log', domain, nice: false },
        axis: { ...axis, values: decades(domain[0], domain[1]), labelOverlap: true },
      }
    : {
        type: 'quantitative',
        scale: { domain, nice: false, zero: false },
        axis: { ...axis, grid: false, tickCount: Math.floor(width / 90) },
      };
}

function yOf({ yTitle, format, logY }: LinesFigure, top: number): Json {
  const axis = { title: yTitle === '' ? null : yTitle, format };
  if (logY !== true) {
    const scale = { domain: [0, top], nice: false };
    return { type: 'quantitative', scale, axis: { ...axis, tickCount: 5 } };
  }
  const to = Math.max(10, top);
  const scale = { type: 'log', domain: [1, to], nice: false };
  return { type: 'quantitative', scale, axis: { ...axis, values: decades(1, to) } };
}

/** Powers of ten in a range; where they are few, their doubles and fives, too; or its ends. */
function decades(from: number, to: number): number[] {
  const first = Math.floor(Math.log10(from));
  const last = Math.ceil(Math.log10(to));
  const factors = Math.log10(to / from) < 2.5 ? [1, 2, 5] : [1];
  const inside = Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i))
    .flatMap((power) => factors.map((factor) => factor * power))
    .filter((value) => value >= from && value <= to);
  return inside.length < 2 ? [from, to] : inside;
}

/** The next multiple of a half of the power of ten below. */
function roundUp(value: number): number {
  if (!(value > 0)) return 1;
  const step = 10 ** Math.floor(Math.log10(value)) / 2;
  return Math.ceil(value / step - 1e-9) * step;
}

/** Colour and dashes of a line by its key. */
function looks(lines: number): Json {
  const domain = Array.from({ length: lines }, (_, i) => `s${i}`);
  const colours = domain.map((_, i) => variable(COLOURS[i % COLOURS.length]));
  const dashes = domain.map((_, i) => DASHES[Math.floor(i / COLOURS.length) % DASHES.length]);
  const by = (range: readonly unknown[]) => ({
    field: 's',
    type: 'nominal',
    scale: { domain, range },
    legend: null,
  });
  return { color: by(colours), strokeDash: by(dashes) };
}

function lineLayer({ lines }: LinesFigure, x: Json, y: Json): Json {
  const few = lines.every(({ points }) => points.length <= POINTS_MAX);
  // A dashed point would be a broken ring.
  const point = { type: 'point', filled: true, size: 16, strokeDash: [1, 0], opacity: 1 };
  return {
    encoding: { x: { field: 'x', ...x }, y: { field: 'y', ...y }, ...looks(lines.length) },
    layer: [{ mark: 'line' }, ...(few ? [{ mark: point }] : [])],
  };
}

function bandLayer(band: NonNullable<LinesFigure['band']>, x: Json, y: Json): Json {
  return {
    data: { values: band },
    mark: { type: 'area', color: variable('blue'), opacity: 0.25, line: false },
    encoding: { x: { field: 'x', ...x }, y: { field: 'low', ...y }, y2: { field: 'high' } },
  };
}

function referenceLayers(reference: { y: number; label: string }, y: Json): Json[] {
  const data = { values: [reference] };
  const encoding = { y: { field: 'y', ...y } };
  return [
    { data, mark: { type: 'rule', color: variable('muted'), strokeDash: [4, 3] }, encoding },
    {
      data,
      mark: { ...text('left'), baseline: 'bottom', x: 2, dy: -4, color: variable('muted') },
      encoding: { ...encoding, text: { field: 'label' } },
    },
  ];
}

/** Labels stand above the plot, on levels in turn so that neighbours do not meet. */
function markedLayers(marked: NonNullable<LinesFigure['marked']>, x: Json, y: Json): Json[] {
  const levels = Math.min(LEVELS, marked.length);
  const values = marked.map((mark, i) => ({ ...mark, level: i % levels }));
  const data = { values };
  const at = { x: { field: 'x', ...x } };
  return [
    {
      data,
      mark: { type: 'rule', color: variable('bad'), strokeDash: [4, 3] },
      encoding: { ...at, y: { value: 0 }, y2: { value: { expr: 'height' } } },
    },
    {
      data,
      mark: { type: 'point', filled: true, size: 60, opacity: 1, color: variable('bad') },
      encoding: { ...at, y: { field: 'y', ...y } },
    },
    ...Array.from({ length: levels }, (_, level) => ({
      data: { values: values.filter((value) => value.level === level) },
      mark: { ...text('right'), color: variable('bad'), dx: 4, y: -8 - level * LABEL_HEIGHT },
      encoding: { ...at, text: { field: 'label' } },
    })),
  ];
}

function text(align: 'left' | 'right'): Json {
  return { type: 'text', align, baseline: 'middle', fontSize: FONT_SIZE, color: variable('text') };
}

interface Plot {
  readonly height: number;
  readonly top: number;
  readonly y: Json;
  readonly labelWidth: number;
}

/** A line's name at its end, moved up or down where names would meet. */
function labelLayers(lines: readonly Line[], rows: readonly LineRow[], plot: Plot): Json[] {
  const { height, top, y, labelWidth } = plot;
  const ends = lines
    .map(({ name }, i) => ({ s: `s${i}`, name, last: rows.findLast(({ s }) => s === `s${i}`) }))
    .flatMap(({ s, name, last }) => (last === undefined ? [] : [{ s, name, y: last.y }]))
    .sort((a, b) => b.y - a.y);
  const wanted = ends.map((end) => height * (1 - end.y / top));
  const places = spread(wanted, height);
  const values = ends.map((end, i) => ({ ...end, to: top * (1 - places[i] / height) }));
  const right = (px: number) => ({ value: { expr: `width + ${px}` } });
  return [
    {
      data: { values },
      mark: { type: 'rule', strokeWidth: 1.5 },
      encoding: {
        x: right(3),
        x2: right(LEADER),
        y: { field: 'y', ...y },
        y2: { field: 'to' },
        ...looks(lines.length),
      },
    },
    {
      data: { values },
      mark: { ...text('left'), limit: labelWidth },
      encoding: { x: right(LEADER + 4), y: { field: 'to', ...y }, text: { field: 'name' } },
    },
  ];
}

/** Rising positions, each as near to what it wants as a label's height and the plot allow. */
function spread(wanted: readonly number[], height: number): number[] {
  const at = [...wanted];
  for (let i = 1; i < at.length; i++) at[i] = Math.max(at[i], at[i - 1] + LABEL_HEIGHT);
  for (let i = at.length - 1, limit = height; i >= 0; i--, limit = at[i + 1] - LABEL_HEIGHT) {
    at[i] = Math.min(at[i], limit);
  }
  return at;
}
