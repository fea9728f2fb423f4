/** Figures as files: SVG through Vega's renderer, PNG through resvg with the fonts shipped here. */
import { fileURLToPath } from 'node:url';
import { Resvg } from '@resvg/resvg-js';
import * as vega from 'vega';
import { replaceFiles } from './files.ts';
import type { PageData } from './page/data.ts';
import { figuresFor, type Shown } from './page/figures.ts';
import { isEmpty, rowsOf } from './page/rows.ts';
import { vegaSpec } from './specs.ts';
import { FONT_SIZE, PALETTE, THEMES, type Theme, withColours } from './theme.ts';

/** Roboto (Apache-2.0), Latin only; see fonts/README.md. */
const FONT = 'Roboto';
const FONT_FILES = ['Roboto-Regular.ttf', 'Roboto-Bold.ttf'].map((name) =>
  fileURLToPath(new URL(`../../src/report/fonts/${name}`, import.meta.url)),
);
const WIDTH = 640;
/** Mean width of a character of the font, in font sizes. */
const CHARACTER = 0.55;

/** Vega's measure of text: the same on every machine, with or without a canvas package. */
const { textMetrics } = vega as unknown as {
  textMetrics: { width: (item: { fontSize?: number }, text: unknown) => number };
};
/** PNG pixels per SVG pixel. */
const SCALE = 2;

/** Every figure of a report that shows anything, as SVG by its id. */
export async function svgFigures(
  page: PageData,
  theme: Theme = 'light',
): Promise<Map<string, string>> {
  const figures = new Map<string, string>();
  for (const shown of figuresFor(page.runs.map(({ name }) => name))) {
    if (!isEmpty(shown, page)) figures.set(shown.id, await svgFigure(shown, page, theme));
  }
  return figures;
}

/** Writes all figures into a folder each for SVG and PNG, where asked for; answers the paths. */
export async function writeFigures(
  page: PageData,
  theme: Theme,
  folders: { readonly svg?: string | undefined; readonly png?: string | undefined },
): Promise<string[]> {
  const figures = [...(await svgFigures(page, theme))];
  const { svg, png } = folders;
  return [
    ...(svg === undefined ? [] : replaceFiles(svg, new Map(named('svg', figures)))),
    ...(png === undefined ? [] : replaceFiles(png, new Map(named('png', figures, pngOf)))),
  ];
}

function named<T>(
  suffix: string,
  figures: readonly (readonly [id: string, svg: string])[],
  made: (svg: string) => T = (svg) => svg as T,
): (readonly [string, T])[] {
  return figures.map(([id, svg]) => [`${id}.${suffix}`, made(svg)]);
}

async function svgFigure(shown: Shown, page: PageData, theme: Theme): Promise<string> {
  const spec = vegaSpec(shown, page, { font: FONT, width: WIDTH, interactive: false });
  const background = PALETTE.card[THEMES.indexOf(theme)];
  textMetrics.width = (item, text) =>
    CHARACTER * (item.fontSize ?? FONT_SIZE) * String(text).length;
  const view = new vega.View(vega.parse({ ...spec, background }), { renderer: 'none' });
  view.data(
    'rows',
    rowsOf(shown, page, null).map((row) => ({ ...row })),
  );
  const svg = await view.toSVG();
  view.finalize();
  return withColours(svg, theme);
}

export function pngOf(svg: string): Buffer {
  const font = { fontFiles: FONT_FILES, loadSystemFonts: false, defaultFontFamily: FONT };
  return new Resvg(svg, { font, fitTo: { mode: 'zoom', value: SCALE } }).render().asPng();
}
