/**
 * How reports look. Colours are CSS variables, so that light and dark need no second rendering; a
 * static figure has them written out. Categories are Okabe and Ito's (2008), told apart with any
 * kind of colour vision, darker or lighter where a background asks for it.
 */
import type { Colour } from './page/figures.ts';

export const THEMES = ['light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

type Name = Colour | 'page' | 'card' | 'cell' | 'line' | 'grid' | 'text' | 'muted' | 'good' | 'bad';

/** [light, dark]. */
export const PALETTE: Readonly<Record<Name, readonly [light: string, dark: string]>> = {
  page: ['#f5f6f8', '#12151a'],
  card: ['#ffffff', '#1b1f26'],
  cell: ['#f0f2f5', '#232831'],
  line: ['#dde1e6', '#333a45'],
  grid: ['#e8ebef', '#2b313b'],
  text: ['#1b1f24', '#e9ecf0'],
  muted: ['#57606a', '#a7b0bb'],
  good: ['#00704f', '#2bc49a'],
  bad: ['#b34700', '#f58b4f'],
  blue: ['#0072b2', '#4aa5e3'],
  orange: ['#e69f00', '#f0b429'],
  green: ['#009e73', '#2bc49a'],
  purple: ['#b9609a', '#e199c3'],
  sky: ['#56b4e9', '#9ad2f5'],
  vermilion: ['#d55e00', '#f47b3a'],
  yellow: ['#c2ae00', '#f0e442'],
  grey: ['#9aa1ab', '#6f7783'],
};

export function variable(name: Name): string {
  return `var(--${name})`;
}

/** `text` with the variables of PALETTE written out. */
export function withColours(text: string, theme: Theme): string {
  const index = THEMES.indexOf(theme);
  return text.replace(/var\(--([a-z]+)\)/g, (_, name: Name) => PALETTE[name][index]);
}

/** Of every text in a figure, px. */
export const FONT_SIZE = 12;

/** Vega-Lite configuration of every figure. */
export function figureConfig(font: string): Record<string, unknown> {
  const label = { labelFontSize: FONT_SIZE, labelColor: variable('muted') };
  return {
    aria: false,
    background: null,
    font,
    padding: { left: 6, right: 12, top: 6, bottom: 4 },
    view: { stroke: null },
    axis: {
      ...label,
      titleFontSize: FONT_SIZE,
      titleFontWeight: 'normal',
      titleColor: variable('muted'),
      titlePadding: 8,
      domain: false,
      ticks: false,
      labelPadding: 6,
      gridColor: variable('grid'),
    },
    axisX: { ticks: true, tickColor: variable('line'), tickSize: 4, labelPadding: 3 },
    legend: {
      ...label,
      labelColor: variable('text'),
      title: null,
      orient: 'top',
      direction: 'horizontal',
      labelLimit: 260,
      columnPadding: 14,
      symbolStrokeWidth: 2,
      symbolSize: 120,
      offset: 8,
    },
    line: { strokeWidth: 1.8, strokeJoin: 'round', interpolate: 'linear' },
    bar: { binSpacing: 0 },
    title: { fontSize: 15, color: variable('text'), anchor: 'start', fontWeight: 'bold' },
  };
}
