/** The page's style sheet. */
import { PALETTE } from './theme.ts';

const variables = Object.entries(PALETTE)
  .map(([name, [light, dark]]) => `--${name}: light-dark(${light}, ${dark});`)
  .join(' ');

export const STYLE = `
:root { color-scheme: light dark; ${variables} }
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif;
}
h1, h2, h3, p, figure { margin: 0; }
h1 { font-size: 24px; line-height: 1.2; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 32px 0 12px; }
h3 { font-size: 15px; overflow-wrap: anywhere; }
.muted { color: var(--muted); font-size: 13px; }
.page { max-width: 1280px; margin: 0 auto; padding: 20px 24px 48px; }
header { display: flex; gap: 16px; align-items: flex-start; justify-content: space-between; }
.brand { color: var(--muted); font-size: 13px; font-weight: 600; margin-bottom: 4px; }
button {
  font: inherit; font-size: 13px; color: var(--text); background: var(--card); white-space: nowrap;
  border: 1px solid var(--line); border-radius: 8px; padding: 6px 12px; cursor: pointer;
}
button:hover:enabled { border-color: var(--muted); }
button:disabled { color: var(--muted); cursor: default; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }

.verdict, .tile, figure, .range, #numbers > .scroll, details {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
}
#numbers { margin: 20px 0 12px; }
.verdict { padding: 16px 20px; border-left: 6px solid var(--bad); }
.verdict.good { border-left-color: var(--good); }
.verdict p { font-size: 18px; margin-top: 6px; }
.verdict p.muted { font-size: 14px; margin-top: 2px; }
.verdict strong { font-size: 26px; }
.pill { font-size: 13px; font-weight: 600; color: var(--bad); }
.good .pill { color: var(--good); }
.tiles { display: grid; grid-template-columns: repeat(5, 1fr); gap: 12px; margin-top: 12px; }
.tile { padding: 12px 16px; min-width: 0; }
.label { font-size: 13px; font-weight: 600; }
.value { font-size: 26px; font-weight: 650; letter-spacing: -0.01em; }

.range { position: sticky; top: 8px; z-index: 2; padding: 10px 12px 6px; }
.range-head { display: flex; gap: 12px; align-items: center; margin: 0 4px; }
.range-head strong { font-size: 14px; }
.range-head .muted { flex: 1; }
.sliders { position: relative; height: 18px; }
.sliders::before {
  content: ''; position: absolute; inset: 8px 0; background: var(--line); border-radius: 1px;
}
.sliders input {
  position: absolute; inset: 0; width: 100%; margin: 0; background: none; pointer-events: none;
  appearance: none; height: 18px;
}
.sliders input::-webkit-slider-thumb {
  appearance: none; pointer-events: auto; width: 12px; height: 18px; border-radius: 4px;
  background: var(--blue); border: 2px solid var(--card); cursor: ew-resize;
}
.sliders input::-moz-range-thumb {
  pointer-events: auto; width: 8px; height: 14px; border-radius: 4px; background: var(--blue);
  border: 2px solid var(--card); cursor: ew-resize;
}

.grid { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 12px; }

.group {
  grid-column: 1 / -1; display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr));
}
figure { padding: 14px 16px 8px; min-width: 0; }
figure.wide { grid-column: 1 / -1; }
figcaption { margin-bottom: 8px; }
.empty { color: var(--muted); padding: 24px 0; }
.chart { min-width: 0; touch-action: pan-y; user-select: none; }
.chart svg { display: block; max-width: 100%; }
#overview { margin-top: 2px; }
#figures .chart, #overview { cursor: crosshair; }
.hover_marks path:hover { opacity: 0.09; }
.points_marks path:hover { opacity: 1; }
.marks.mark-rect path { shape-rendering: crispEdges; }

.scroll { overflow-x: auto; }
#numbers > .scroll { padding: 6px 8px; }
#slowest-table { margin-top: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
td { font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 10px; white-space: nowrap; }
th { font-weight: 600; }
th:first-child { text-align: left; }
tbody tr { border-top: 1px solid var(--grid); }
.delta { display: inline-block; min-width: 68px; margin-left: 8px; font-size: 12px; }
.better { color: var(--good); }
.worse { color: var(--bad); }
.dot {
  display: inline-block; width: 12px; height: 10px; border-radius: 3px; margin-right: 6px;
  background: var(--dot); flex: none;
}
.dot.dashed {
  background: repeating-linear-gradient(90deg, var(--dot) 0 4px, transparent 4px 6px);
  height: 3px; border-radius: 0; margin-bottom: 3px;
}
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; margin-top: 8px; }

#tip {
  position: fixed; top: 0; left: 0; z-index: 3; pointer-events: none; max-width: 320px;
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 10px;
  font-size: 13px; box-shadow: 0 4px 16px rgb(0 0 0 / 0.18);
}
#tip[hidden] { display: none; }
.tip-head { font-weight: 600; margin-bottom: 2px; }
.tip-line { display: flex; gap: 4px; align-items: baseline; }
.tip-line span:nth-child(2) { flex: 1; margin-right: 10px; }

details { margin-top: 32px; padding: 12px 16px; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; font-size: 12px; line-height: 1.5; }

@media (max-width: 1000px) {
  .grid { grid-template-columns: minmax(0, 1fr); }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tile:last-child { grid-column: 1 / -1; }
}
@media (max-width: 600px) {
  .page { padding: 14px 12px 32px; }
  figure { padding: 12px 10px 6px; }
  .verdict { padding: 12px 14px; }
  .value { font-size: 21px; }
  .tile { padding: 10px 12px; }
  .delta { display: block; margin-left: 0; min-width: 0; }
  .range-head { justify-content: space-between; }
  .range-head .muted { display: none; }
}
@media print { .range { position: static; } button { display: none; } }
`;
