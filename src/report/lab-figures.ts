/** Figures of the cache laboratory: lines and histograms as SVG, in colours of the style sheet. */
import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { HEIGHT, type LinesFigure, linesView, textWidth } from './lab-lines.ts';
import { type PaperChart, paperChartView } from './paper-chart.ts';
import {
  FONT_SIZE,
  figureConfig,
  PALETTE,
  THEMES,
  type Theme,
  variable,
  withColours,
} from './theme.ts';

type Json = Readonly<Record<string, unknown>>;

export interface Bin {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

export interface HistogramFigure {
  readonly kind: 'histogram';
  readonly title: string;
  readonly note: string;
  readonly bins: readonly Bin[];
  readonly xTitle: string;
  readonly yTitle: string;
  /** Text of a bin's end. */
  readonly end: (value: number) => string;
}

export type LabFigure = LinesFigure | HistogramFigure | PaperChart;

const FONT = 'system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, sans-serif';
/** Of figures that stand alone; the fonts folder holds it. */
const STATIC_FONT = 'Roboto';
const STATIC_WIDTH = 640;
/** Between labels of an axis, and what the other axis takes, px. */
const LABEL_GAP = 8;
const Y_AXIS = 70;

/** Vega's measure of text: the same on every machine, with or without a canvas package. */
const { textMetrics } = vega as unknown as {
  textMetrics: { width: (item: { fontSize?: number }, text: unknown) => number };
};

/** A figure of `width` px to stand in a page: it fills its place and has no size of its own. */
export async function labSvg(figure: LabFigure, width: number): Promise<string> {
  const svg = await draw(figure, width, FONT);
  const box = / viewBox="[^"]*"/.exec(svg)?.[0] ?? '';
  return svg.replace(/^[\s\S]*?<svg[^>]*>/, `<svg class="marks" aria-hidden="true"${box}>`);
}

/** A figure to stand alone, in colours of a theme, its title within. */
export async function staticSvg(figure: LabFigure, theme: Theme = 'light'): Promise<string> {
  const background = PALETTE.card[THEMES.indexOf(theme)];
  const { title, note } = figure;
  const subtitle = {
    subtitle: note,
    subtitleColor: variable('muted'),
    subtitleFontSize: FONT_SIZE,
  };
  const svg = await draw(figure, STATIC_WIDTH, STATIC_FONT, {
    background,
    title: { text: title, ...subtitle, subtitlePadding: 6, offset: 12 },
  });
  return withColours(svg, theme);
}

async function draw(
  figure: LabFigure,
  width: number,
  font: string,
  more: Json = {},
): Promise<string> {
  const spec = {
    width,
    autosize: { type: 'fit-x', contains: 'padding' },
    config: figureConfig(font),
    ...more,
    ...viewOf(figure, width),
  };
  textMetrics.width = (item, text) => textWidth(String(text), item.fontSize);
  const view = new vega.View(vega.parse(compile(spec as unknown as TopLevelSpec).spec), {
    renderer: 'none',
  });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}

function viewOf(figure: LabFigure, width: number): Json {
  switch (figure.kind) {
    case 'lines':
      return linesView(figure, width);
    case 'histogram':
      return histogramView(figure, width);
    case 'paper':
      return paperChartView(figure, width);
  }
}

/** Bars side by side, the ends of the bins between them. */
function histogramView({ bins, xTitle, yTitle, end }: HistogramFigure, width: number): Json {
  const first = Math.max(
    0,
    bins.findIndex(({ count }) => count > 0),
  );
  const shown = bins.slice(first);
  const ends = [...shown.map(({ from }) => end(from)), end(shown[shown.length - 1]?.to ?? 0)];
  const widest = Math.max(...ends.map((text) => textWidth(text))) + LABEL_GAP;
  const step = Math.ceil((ends.length * widest) / (width - Y_AXIS));
  const axis = {
    title: xTitle,
    grid: false,
    values: ends.map((_, i) => i).filter((i) => i % step === 0),
    labelExpr: `${JSON.stringify(ends)}[datum.value]`,
    labelFlush: false,
  };
  return {
    height: HEIGHT,
    data: { values: shown.map(({ count }, i) => ({ i, to: i + 1, count })) },
    mark: { type: 'bar', color: variable('blue') },
    encoding: {
      x: {
        field: 'i',
        type: 'quantitative',
        bin: 'binned',
        scale: { domain: [0, shown.length], nice: false },
        axis,
      },
      x2: { field: 'to' },
      y: { field: 'count', type: 'quantitative', axis: { title: yTitle, format: '~s' } },
    },
  };
}
