/** One Vega-Lite specification per kind of figure, compiled to Vega. The rows come later. */
import type { Spec as VegaSpec } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { duration } from '../metrics/format.ts';
import type { PageData } from './page/data.ts';
import {
  type CdfFigure,
  type HeatFigure,
  type Line,
  linesOf,
  MEASURES,
  type MeasureName,
  type PartsFigure,
  RUN_COLOURS,
  type Shown,
  type TimeFigure,
} from './page/figures.ts';
import { timeUnit } from './page/rows.ts';
import { figureConfig, variable } from './theme.ts';

type Json = Readonly<Record<string, unknown>>;

/** Height of a figure over time, of a row of a heat map and of a bar, px. */
const TIME_HEIGHT = 190;
const OVERVIEW_HEIGHT = 44;
const HEAT_ROW = 17;
const BAR_ROW = 26;

export interface SpecOptions {
  readonly font: string;
  /** Static figures carry their title. */
  readonly titled: boolean;
  readonly width: number;
}

export function vegaSpec(shown: Shown, page: PageData, options: SpecOptions): VegaSpec {
  const { font, titled, width } = options;
  const spec = {
    data: { name: 'rows', values: [] },
    ...(titled ? { title: shown.title } : {}),
    width,
    autosize: { type: 'fit-x', contains: 'padding' },
    config: figureConfig(font),
    ...viewOf(shown, page),
  };
  return compile(spec as unknown as TopLevelSpec).spec;
}

function viewOf({ figure, run }: Shown, page: PageData): Json {
  switch (figure.kind) {
    case 'time':
      return timeView(figure, page);
    case 'heat':
      return heatView(figure, page, page.runs[run].heats[figure.key].rows);
    case 'cdf':
      return cdfView(figure, page);
    case 'parts':
      return partsView(figure);
  }
}

// --- scales and axes ----------------------------------------------------------------------------

/** The range of time that is shown: set by the page, the whole run at first. */
function timeParams(page: PageData): Json {
  const to = (page.bins * page.binNs) / timeUnit(page).ns;
  return { name: 'shownTime', value: [0, to] };
}

function timeAxis(page: PageData): Json {
  return {
    type: 'quantitative',
    scale: { domain: { expr: 'shownTime' }, nice: false, zero: false },
    axis: {
      title: `${timeUnit(page).name} since the start`,
      grid: false,
      format: '~g',
      tickCount: { expr: 'max(2, floor(width / 80))' },
      labelFlush: false,
    },
  };
}

function quantity(name: MeasureName, page: PageData): Json {
  const { axis, format } = MEASURES[name];
  const title = axis.replace('BIN', duration(page.binNs));
  return {
    type: 'quantitative',
    axis: { title: title === '' ? null : title, format, tickCount: 4 },
    ...(name === 'share' ? { scale: { domain: [0, 1] } } : {}),
  };
}

/** Colours by s0, s1, …, with a legend of the lines' labels where there are several. */
function colours(lines: readonly Line[]): Json {
  const keys = lines.map((_, i) => `s${i}`);
  const labels = Object.fromEntries(lines.map(({ label }, i) => [`s${i}`, label]));
  return {
    field: 's',
    type: 'nominal',
    sort: keys,
    scale: { domain: keys, range: lines.map(({ colour }) => variable(colour)) },
    legend:
      lines.length === 1
        ? null
        : { labelExpr: `${JSON.stringify(labels)}[datum.value]`, columns: { expr: legendColumns } },
  };
}

const legendColumns = 'max(1, floor(width / 140))';

// --- kinds --------------------------------------------------------------------------------------

/** Marks, and a strip per bin over them that is hovered and brushed. */
function timeView(figure: TimeFigure, page: PageData): Json {
  const lines = linesOf(
    figure,
    page.runs.map(({ name }) => name),
  );
  const x = timeAxis(page);
  const fold = { fold: lines.map((_, i) => `s${i}`), as: ['s', 'v'] };
  const y = { field: 'v', ...quantity(figure.measure, page) };
  const dashes = lines.map(({ dashed }) => (dashed ? [5, 3] : [1, 0]));
  const mid = { x: { field: 'm', ...x } };
  const marks = {
    line: {
      mark: 'line',
      encoding: {
        ...mid,
        y,
        color: colours(lines),
        strokeDash: {
          field: 's',
          scale: { domain: lines.map((_, i) => `s${i}`), range: dashes },
          legend: null,
        },
      },
    },
    stack: {
      mark: { type: 'area', line: false, opacity: 0.9 },
      encoding: {
        ...mid,
        y: { ...y, stack: 'zero' },
        color: colours(lines),
        order: { field: 's', type: 'nominal' },
      },
    },
    bars: {
      mark: 'bar',
      encoding: {
        x: { field: 't', ...x, bin: 'binned' },
        x2: { field: 't2' },
        y: { ...y, stack: 'zero' },
        color: colours(lines),
        order: { field: 's', type: 'nominal' },
      },
    },
  };
  return {
    height: figure.overview ? OVERVIEW_HEIGHT : TIME_HEIGHT,
    params: [timeParams(page)],
    layer: [{ transform: [fold, { filter: 'isValid(datum.v)' }], ...marks[figure.mark] }, strip(x)],
  };
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

function heatView(figure: HeatFigure, page: PageData, rows: readonly string[]): Json {
  const { axis } = MEASURES[figure.measure];
  const share = figure.measure === 'share';
  const x = timeAxis(page);
  return {
    height: HEAT_ROW * Math.max(1, rows.length),
    params: [timeParams(page)],
    view: { fill: variable('cell') },
    layer: [
      {
        name: 'cells',
        params: [brush()],
        mark: { type: 'rect', fill: variable('blue'), tooltip: { content: 'data' } },
        encoding: {
          x: { field: 't', ...x },
          x2: { field: 't2' },
          y: {
            field: 'row',
            type: 'nominal',
            scale: { domain: rows, padding: 0.12 },
            axis: { title: null, labelLimit: 110, labelOverlap: true },
          },
          fillOpacity: {
            field: 'v',
            type: 'quantitative',
            scale: { range: [0, 1], clamp: true, zero: true, ...(share ? { domain: [0, 1] } : {}) },
            legend: {
              symbolType: 'square',
              symbolFillColor: variable('blue'),
              symbolStrokeColor: 'transparent',
              ...(share ? { values: [0.25, 0.5, 0.75, 1], format: '.0%' } : { tickCount: 4 }),
              title: share ? null : axis,
            },
          },
        },
      },
    ],
  };
}

function cdfView(_figure: CdfFigure, page: PageData): Json {
  const names = page.runs.map(({ name }) => name);
  const x = {
    field: 'x',
    type: 'quantitative',
    scale: { type: 'log' },
    axis: { title: 'seconds', grid: true, format: '~g', tickCount: { expr: 'width / 70' } },
  };
  const y = { field: 'p', ...quantity('share', page) };
  const color = {
    field: 's',
    type: 'nominal',
    scale: { domain: names, range: names.map((_, i) => variable(RUN_COLOURS[i])) },
    legend: names.length === 1 ? null : { columns: { expr: legendColumns } },
  };
  const { ttftNs } = page.runs[0].result.slo;
  const slo = ttftNs * MEASURES.seconds.factor;
  return {
    height: TIME_HEIGHT,
    layer: [
      {
        data: { values: [{ slo }] },
        mark: { type: 'rule', color: variable('bad'), strokeDash: [4, 3] },
        encoding: { x: { ...x, field: 'slo' } },
      },
      { mark: { type: 'line', interpolate: 'step-after' }, encoding: { x, y, color } },
      {
        name: 'hover',
        mark: { type: 'point', filled: true, size: 90, opacity: 0, tooltip: { content: 'data' } },
        encoding: { x, y, color },
      },
    ],
  };
}

function partsView({ measure, lines }: PartsFigure): Json {
  const { axis, format } = MEASURES[measure];
  return {
    height: { step: BAR_ROW },
    mark: { type: 'bar', tooltip: { content: 'data' } },
    encoding: {
      y: {
        field: 'row',
        type: 'nominal',
        sort: null,
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
      color: colours(lines),
      order: { field: 's', type: 'nominal' },
    },
  };
}
