/** One Vega-Lite specification per kind of figure, compiled to Vega. The rows come later. */
import type { Spec as VegaSpec } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { PageData } from './page/data.ts';
import {
  type Colour,
  type HeatFigure,
  MEASURES,
  type MeasureName,
  type PartsFigure,
  RUN_COLOURS,
  type Shown,
  type TimeFigure,
} from './page/figures.ts';
import { legendOf, linesFor, noteOf, usedLines } from './page/lines.ts';
import { heatMost, rowsOf, timeUnit } from './page/rows.ts';
import { FONT_SIZE, figureConfig, variable } from './theme.ts';

type Json = Readonly<Record<string, unknown>>;

/** Height of a figure over time, of a row of a heat map and of a bar, px. */
const TIME_HEIGHT = 190;
const OVERVIEW_HEIGHT = 44;
/** Its plot ends where the sliders below it do. */
const OVERVIEW_PADDING = { left: 6, right: 6, top: 2, bottom: 5 };
const HEAT_ROW = 17;
const BAR_ROW = 26;

export interface SpecOptions {
  readonly font: string;
  readonly width: number;
  /** Figures of a page are hovered and brushed; those of files carry their title. */
  readonly interactive: boolean;
}

export function vegaSpec(shown: Shown, page: PageData, options: SpecOptions): VegaSpec {
  const { font, width, interactive } = options;
  const spec = {
    data: { name: 'rows', values: [] },
    description: `${shown.title}. ${noteOf(shown, page)}`,
    ...(interactive ? {} : { title: shown.title }),
    width,
    autosize: { type: 'fit-x', contains: 'padding' },
    config: figureConfig(font),
    ...viewOf(shown, page, interactive),
  };
  return compile(spec as unknown as TopLevelSpec).spec;
}

function viewOf(shown: Shown, page: PageData, interactive: boolean): Json {
  const { figure, run } = shown;
  const legend = interactive ? null : fileLegend(shown, page);
  switch (figure.kind) {
    case 'time':
      return timeView(figure, page, legend, interactive);
    case 'heat':
      return heatView(figure, page, page.runs[run].heats[figure.key].rows, interactive);
    case 'cdf':
      return cdfView(page, legend, interactive);
    case 'parts': {
      const bars = new Set(rowsOf(shown, page, null).map(({ row }) => row));
      return partsView(figure, page, bars.size, legend);
    }
  }
}

// --- scales and axes ----------------------------------------------------------------------------

/** The range of time that is shown: set by the page, the whole run at first. */
function timeParams(page: PageData): Json {
  const to = (page.bins * page.binNs) / timeUnit(page).ns;
  return { name: 'shownTime', value: [0, to] };
}

function timeAxis(page: PageData, bare = false): Json {
  return {
    type: 'quantitative',
    scale: { domain: { expr: 'shownTime' }, nice: false, zero: false },
    axis: {
      title: bare ? null : `${timeUnit(page).name} since the start`,
      grid: false,
      format: '~r',
      tickCount: { expr: 'max(2, floor(width / 80))' },
      labelFlush: false,
    },
  };
}

function quantity(name: MeasureName): Json {
  const { axis, format } = MEASURES[name];
  return {
    type: 'quantitative',
    axis: { title: axis === '' ? null : axis, format, tickCount: 4 },
    ...(name === 'share' ? { scale: { domain: [0, 1] } } : {}),
  };
}

/** Colours or dashes by s0, s1, … */
function byLine(range: readonly unknown[], legend: Json | null): Json {
  const keys = range.map((_, i) => `s${i}`);
  return { field: 's', type: 'nominal', sort: keys, scale: { domain: keys, range }, legend };
}

function colours(lines: readonly { readonly colour: Colour }[], legend: Json | null): Json {
  return byLine(
    lines.map(({ colour }) => variable(colour)),
    legend,
  );
}

/** The legend of a figure in a file; pages have their own. */
function fileLegend(shown: Shown, page: PageData): Json | null {
  const entries = legendOf(shown, page);
  if (entries.length === 0) return null;
  const labels = Object.fromEntries(entries.map(({ label }, i) => [`s${i}`, label]));
  return { labelExpr: `${JSON.stringify(labels)}[datum.value]`, columns: LEGEND_COLUMNS };
}

/** Entries side by side in the legend of a figure in a file. */
const LEGEND_COLUMNS = 4;

// --- kinds --------------------------------------------------------------------------------------

/** Marks, and a strip per bin over them that is hovered and brushed. */
function timeView(
  figure: TimeFigure,
  page: PageData,
  legend: Json | null,
  interactive: boolean,
): Json {
  const lines = linesFor(figure, page);
  const x = timeAxis(page, figure.overview);
  const fold = { fold: lines.map((_, i) => `s${i}`), as: ['s', 'v'] };
  const y = {
    field: 'v',
    ...quantity(figure.measure),
    ...(figure.overview ? { axis: null } : {}),
  };
  const color = colours(lines, legend);
  const dashes = lines.map(({ dashed }) => (dashed ? [5, 3] : [1, 0]));
  const mid = { x: { field: 'm', ...x } };
  const marks = {
    line: {
      mark: 'line',
      encoding: {
        ...mid,
        y,
        color,
        strokeDash: byLine(dashes, legend),
      },
    },
    stack: {
      mark: { type: 'area', line: false, opacity: 0.9 },
      encoding: {
        ...mid,
        y: { ...y, stack: 'zero' },
        color,
        order: { field: 's', type: 'ordinal' },
      },
    },
    bars: {
      mark: 'bar',
      encoding: {
        x: { field: 't', ...x, bin: 'binned' },
        x2: { field: 't2' },
        y: { ...y, stack: 'zero' },
        color,
        order: { field: 's', type: 'ordinal' },
      },
    },
  };
  const drawn = { transform: [fold, { filter: 'isValid(datum.v)' }], ...marks[figure.mark] };
  return {
    ...(figure.overview
      ? { height: OVERVIEW_HEIGHT, padding: OVERVIEW_PADDING }
      : { height: TIME_HEIGHT }),
    params: [timeParams(page)],
    layer: [...faults(figure, page, x), drawn, ...(interactive ? [strip(x)] : [])],
  };
}

/** What scenarios did: from when, for how long, and its name upright beside the line. */
function faults({ overview }: TimeFigure, page: PageData, x: Json): Json[] {
  const unit = timeUnit(page).ns;
  const seen = new Map<string, Json>();
  for (const { result } of page.runs) {
    for (const { atNs, forNs, what } of result.scenario ?? []) {
      const from = atNs / unit;
      seen.set(`${atNs} ${forNs} ${what}`, { from, to: from + (forNs ?? 0) / unit, what });
    }
  }
  if (seen.size === 0) return [];
  const bad = variable('bad');
  const name = {
    mark: {
      type: 'text',
      color: bad,
      fontSize: FONT_SIZE - 2,
      angle: 270,
      align: 'right',
      baseline: 'bottom',
      clip: true,
      dx: -3,
      dy: -2,
      y: 0,
    },
    encoding: { text: { field: 'what' } },
  };
  const over = { type: 'rect', color: bad, opacity: 0.1, clip: true };
  return [
    {
      data: { values: [...seen.values()] },
      encoding: { x: { ...x, field: 'from' } },
      layer: [
        { mark: over, encoding: { x2: { field: 'to' } } },
        { mark: { type: 'rule', color: bad, strokeDash: [4, 3], clip: true } },
        ...(overview ? [] : [name]),
      ],
    },
  ];
}

function strip(x: Json): Json {
  return {
    name: 'hover',
    params: [brush()],
    mark: { type: 'rect', fill: variable('text'), opacity: 0, tooltip: { content: 'data' } },
    encoding: { x: { field: 't', ...x }, x2: { field: 't2' } },
  };
}

function brush(): Json {
  return {
    name: 'brush',
    select: {
      type: 'interval',
      encodings: ['x'],
      mark: { fill: variable('blue'), fillOpacity: 0.15, stroke: variable('blue') },
      translate: false,
      zoom: false,
    },
  };
}

function heatView(
  figure: HeatFigure,
  page: PageData,
  rows: readonly string[],
  interactive: boolean,
): Json {
  const { format } = MEASURES[figure.measure];
  return {
    height: HEAT_ROW * Math.max(1, rows.length),
    params: [
      timeParams(page),
      { name: 'most', value: heatMost(figure, page, null) },
      ...(interactive ? [brush()] : []),
    ],
    view: { fill: variable('cell') },
    mark: { type: 'rect', fill: variable('blue'), tooltip: { content: 'data' } },
    encoding: {
      x: { field: 't', ...timeAxis(page) },
      x2: { field: 't2' },
      y: {
        field: 'row',
        type: 'nominal',
        scale: { domain: rows, padding: 0.12 },
        axis: { title: null, labelLimit: 110, labelOverlap: true },
      },
      opacity: {
        field: 'v',
        type: 'quantitative',
        scale: { domain: { expr: '[0, most]' }, range: [0, 1], nice: true },
        legend: {
          symbolType: 'square',
          symbolFillColor: variable('blue'),
          symbolStrokeColor: 'transparent',
          format,
          tickCount: { expr: 'width < 400 ? 2 : 4' },
        },
      },
    },
  };
}

/** Seen when it is pointed at. */
const HOVERED_POINT = {
  type: 'point',
  filled: true,
  size: 90,
  opacity: 0,
  tooltip: { content: 'data' },
};

function cdfView(page: PageData, legend: Json | null, interactive: boolean): Json {
  const x = {
    field: 'x',
    type: 'quantitative',
    scale: { type: 'log', nice: false },
    axis: { title: 'seconds', grid: true, format: '~r', tickCount: { expr: 'width / 70' } },
  };
  const y = { field: 'p', ...quantity('share') };
  const color = byLine(
    page.runs.map((_, i) => variable(RUN_COLOURS[i])),
    legend,
  );
  const { ttftNs } = page.runs[0].result.slo;
  const slo = ttftNs * MEASURES.seconds.factor;
  return {
    height: TIME_HEIGHT,
    layer: [
      {
        data: { values: [{ slo }] },
        encoding: { x: { ...x, field: 'slo' } },
        layer: [
          { mark: { type: 'rule', color: variable('bad'), strokeDash: [4, 3] } },
          {
            mark: {
              type: 'text',
              text: 'SLO',
              color: variable('bad'),
              fontSize: FONT_SIZE,
              align: 'right',
              baseline: 'bottom',
              dx: -5,
              y: { expr: 'height - 4' },
            },
          },
        ],
      },
      { mark: { type: 'line', interpolate: 'step-after' }, encoding: { x, y, color } },
      ...(interactive ? [{ name: 'points', mark: HOVERED_POINT, encoding: { x, y, color } }] : []),
    ],
  };
}

function partsView(
  { measure, lines }: PartsFigure,
  page: PageData,
  bars: number,
  legend: Json | null,
): Json {
  const { axis, format } = MEASURES[measure];
  return {
    height: BAR_ROW * bars,
    mark: { type: 'bar', tooltip: { content: 'data' } },
    encoding: {
      y: {
        field: 'row',
        type: 'nominal',
        sort: { field: 'at', op: 'min' },
        axis: { title: null, labelLimit: 160 },
        scale: { padding: 0.2 },
      },
      x: {
        field: 'v',
        type: 'quantitative',
        stack: 'zero',
        axis: { title: axis === '' ? null : axis, format, tickCount: { expr: 'width / 80' } },
        ...(measure === 'share' ? { scale: { domain: [0, 1] } } : {}),
      },
      color: colours(usedLines(lines, page), legend),
      order: { field: 's', type: 'ordinal' },
    },
  };
}
