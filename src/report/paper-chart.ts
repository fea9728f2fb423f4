/** Charts that lay our numbers over a paper's, as Vega-Lite has them. */

import { textWidth } from './lab-lines.ts';
import type { Colour } from './page/figures.ts';
import { variable } from './theme.ts';

type Json = Readonly<Record<string, unknown>>;

export interface PaperPoint {
  readonly x: number | string;
  readonly y: number;
}

export interface PaperSeries {
  readonly name: string;
  /** The paper's own points are drawn hollow, over ours. */
  readonly of: 'ours' | 'paper';
  readonly points: readonly PaperPoint[];
}

export interface PaperChart {
  readonly kind: 'paper';
  /** File name of the figure, without a suffix. */
  readonly id: string;
  readonly title: string;
  readonly note: string;
  /** bars: one for each x and source; lines: ours as lines, the paper's as points. */
  readonly form: 'bars' | 'lines';
  readonly series: readonly PaperSeries[];
  readonly xTitle: string;
  readonly yTitle: string;
  /** Of y, as d3-format has it. */
  readonly format: string;
  readonly logX?: boolean;
  readonly logY?: boolean;
}

const COLOURS: readonly Colour[] = ['blue', 'vermilion', 'green', 'purple', 'orange', 'sky'];
const HEIGHT = 240;
/** Places that each have a tick. */
const FEW = 12;
/** What a name in a legend takes beside its text, px. */
const SYMBOL = 40;
/** From a bar's end to its value, px. */
const VALUE_GAP = 4;

export function paperChartView(chart: PaperChart, width: number): Json {
  return chart.form === 'bars' ? barsView(chart, width) : linesView(chart, width);
}

function barsView({ series, xTitle, yTitle, format, logY }: PaperChart, width: number): Json {
  const rows = series.flatMap(({ name, points }) => points.map((point) => ({ s: name, ...point })));
  const names = series.map(({ name }) => name);
  const colours = series.map(({ of }) => variable(of === 'paper' ? 'grey' : 'blue'));
  const scale = logY === true ? { scale: { type: 'log' } } : {};
  const encoding = {
    x: {
      field: 'x',
      type: 'nominal',
      sort: null,
      axis: { title: xTitle === '' ? null : xTitle, labelAngle: 0, grid: false },
    },
    xOffset: { field: 's', type: 'nominal', sort: names },
    y: { field: 'y', type: 'quantitative', axis: { title: yTitle, format: '~s' }, ...scale },
  };
  const mark = { type: 'bar', ...(logY === true ? { y2: { value: HEIGHT } } : {}) };
  return {
    height: HEIGHT,
    data: { values: rows },
    layer: [
      { mark, encoding: { ...encoding, color: nominal(names, colours, width) } },
      {
        mark: { type: 'text', baseline: 'bottom', dy: -VALUE_GAP, color: variable('muted') },
        encoding: { ...encoding, text: { field: 'y', type: 'quantitative', format } },
      },
    ],
  };
}

function linesView(chart: PaperChart, width: number): Json {
  const { series, xTitle, yTitle, format, logX, logY } = chart;
  const names = [...new Set(series.map(({ name }) => name))];
  const color = nominal(
    names,
    names.map((_, i) => variable(COLOURS[i % COLOURS.length])),
    names.length > 1 ? width : 0,
  );
  const rowsOf = (source: PaperSeries['of']) =>
    series
      .filter(({ of }) => of === source)
      .flatMap(({ name, points }) => points.map((point) => ({ s: name, ...point })));
  const [ours, paper] = [rowsOf('ours'), rowsOf('paper')];
  const places = [...new Set([...ours, ...paper].map(({ x }) => x))];
  const drawn = (point: PaperPoint) =>
    (logX !== true || Number(point.x) > 0) && (logY !== true || point.y > 0);
  const scale = (log: boolean | undefined, zero: boolean) =>
    log === true ? { type: 'log', nice: false } : { zero, nice: zero };
  const encoding = {
    x: {
      field: 'x',
      type: 'quantitative',
      scale: scale(logX, false),
      axis: {
        title: xTitle,
        format: '~s',
        grid: false,
        labelOverlap: true,
        ...(places.length <= FEW ? { values: places } : { tickCount: Math.floor(width / 90) }),
      },
    },
    y: {
      field: 'y',
      type: 'quantitative',
      scale: scale(logY, true),
      axis: { title: yTitle, format, tickCount: 5 },
    },
    color,
  };
  const hollow = { type: 'point', filled: false, size: 60, strokeWidth: 1.6, opacity: 1 };
  return {
    height: HEIGHT,
    layer: [
      { data: { values: ours.filter(drawn) }, mark: 'line', encoding },
      { data: { values: paper.filter(drawn) }, mark: hollow, encoding },
    ],
  };
}

/** With as many columns of names as fit in `width`; 0 is without a legend. */
function nominal(domain: readonly string[], range: readonly string[], width: number): Json {
  const longest = Math.max(...domain.map((name) => textWidth(name)));
  const columns = Math.max(1, Math.floor(width / (longest + SYMBOL)));
  return {
    field: 's',
    type: 'nominal',
    scale: { domain, range },
    legend: width === 0 ? null : { columns, symbolType: 'circle', labelLimit: 0 },
  };
}
