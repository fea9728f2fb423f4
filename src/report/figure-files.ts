/** Figures as files: SVG through Vega's renderer, PNG through resvg with the fonts shipped here. */
import { fileURLToPath } from 'node:url';
import { Resvg } from '@resvg/resvg-js';
import * as vega from 'vega';
import type { PageData } from './page/data.ts';
import { type Shown, sectionsFor } from './page/figures.ts';
import { rowsOf } from './page/rows.ts';
import { vegaSpec } from './specs.ts';
import { PALETTE, THEMES, type Theme, withColours } from './theme.ts';

/** Roboto (Apache-2.0), Latin only; see fonts/README.md. */
const FONT = 'Roboto';
const FONT_FILES = ['Roboto-Regular.ttf', 'Roboto-Bold.ttf'].map((name) =>
  fileURLToPath(new URL(`../../src/report/fonts/${name}`, import.meta.url)),
);
const WIDTH = 640;
/** PNG pixels per SVG pixel. */
const SCALE = 2;

/** Every figure of a report by its id, as SVG. */
export async function svgFigures(page: PageData, theme: Theme = 'light') {
  const sections = sectionsFor(page.runs.map(({ name }) => name));
  const figures = new Map<string, string>();
  for (const shown of sections.flatMap((section) => section.shown)) {
    figures.set(shown.id, await svgFigure(shown, page, theme));
  }
  return figures;
}

async function svgFigure(shown: Shown, page: PageData, theme: Theme): Promise<string> {
  const spec = vegaSpec(shown, page, { font: FONT, width: WIDTH, interactive: false });
  const background = PALETTE.card[THEMES.indexOf(theme)];
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
