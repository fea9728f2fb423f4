/**
 * The shell of the laboratory's pages: one HTML file without scripts. Its content policy forbids
 * everything but its own style. Colours follow the reader's theme.
 */
import { integer } from '../metrics/format.ts';
import { escaped } from './escape.ts';
import { type LabFigure, labSvg } from './lab-figures.ts';
import type { PaperChart } from './paper-chart.ts';
import { STYLE } from './style.ts';

/** The first column names the row. */
export interface PageTable {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** What a page says in words. */
export interface PageWords {
  readonly title: string;
  readonly headline: string;
  readonly facts: readonly string[];
}

/** Widths that figures are drawn at, px: text keeps its size on a phone. */
const WIDE = 580;
const NARROW = 340;

const LAB_STYLE = `
.facts { margin: 16px 0 20px; padding: 14px 20px 14px 36px; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px; }
.facts li { overflow-wrap: anywhere; }
.chart { user-select: auto; }
.chart svg { width: 100%; height: auto; }
.narrow { display: none; }
.table { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 6px 8px; }
tbody th { font-weight: 400; }
figure details { margin: 8px 0 4px; padding: 6px 10px; font-size: 13px; }
@media (max-width: 600px) {
  .wide-chart { display: none; }
  .narrow { display: block; }
}
`;

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** Without a table of its own, each figure carries its numbers. */
export async function labHtml(
  brand: string,
  { title, headline, facts }: PageWords,
  figures: readonly LabFigure[],
  numbers: PageTable | null,
  more: readonly (PageTable & { readonly title: string })[] = [],
): Promise<string> {
  const drawn: string[] = [];
  for (const figure of figures) drawn.push(await figureHtml(figure, numbers === null));
  const items = facts.map((fact) => `<li>${escaped(fact)}</li>`).join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)} · ${brand}</title>
<style>${STYLE}${LAB_STYLE}</style>
</head>
<body>
<div class="page">
<header>
<div>
<p class="brand">${brand}</p>
<h1>${escaped(title)}</h1>
<p class="muted">${escaped(headline)}</p>
</div>
</header>
<main>
${facts.length === 0 ? '' : `<ul class="facts">\n${items}\n</ul>`}
<div class="grid">
${drawn.join('\n')}
</div>
${numbers === null ? '' : `<h2>Numbers</h2>\n<div class="table">${tableHtml(numbers)}</div>`}
${more.map(sectionHtml).join('\n')}
</main>
</div>
</body>
</html>
`;
}

function sectionHtml(section: PageTable & { readonly title: string }): string {
  return `<h2>${escaped(section.title)}</h2>\n<div class="table">${tableHtml(section)}</div>`;
}

async function figureHtml(figure: LabFigure, numbers: boolean): Promise<string> {
  const table =
    numbers && figure.kind !== 'paper'
      ? `\n<details><summary>Numbers</summary>${tableHtml(numbersOf(figure))}</details>`
      : '';
  return `<figure>
<figcaption><h3>${escaped(figure.title)}</h3>
<p class="muted">${escaped(figure.note)}</p></figcaption>
<div class="chart wide-chart">${await labSvg(figure, WIDE)}</div>
<div class="chart narrow">${await labSvg(figure, NARROW)}</div>${table}
</figure>`;
}

function numbersOf(figure: Exclude<LabFigure, PaperChart>): PageTable {
  if (figure.kind === 'histogram') {
    const { bins, xTitle, yTitle, end } = figure;
    const rows = bins.filter(({ count }) => count > 0);
    return {
      head: [`${xTitle}, from`, 'below', yTitle],
      rows: rows.map(({ from, to, count }) => [end(from), end(to), integer(count)]),
    };
  }
  // The lines of such a figure have their points at the same places.
  const { lines, xTitle } = figure;
  return {
    head: [xTitle, ...lines.map(({ name }) => name)],
    rows: (lines[0]?.points ?? []).map(({ x }, i) => [
      Number.isInteger(x) ? integer(x) : x.toFixed(1),
      ...lines.map(({ points }) => integer(points[i].y)),
    ]),
  };
}

function tableHtml({ head, rows }: PageTable): string {
  const heads = head.map((text) => `<th scope="col">${escaped(text)}</th>`).join('');
  const lines = rows.map(([name = '', ...cells]) => {
    const data = cells.map((cell) => `<td>${escaped(cell)}</td>`).join('');
    return `<tr><th scope="row">${escaped(name)}</th>${data}</tr>`;
  });
  return `<div class="scroll" tabindex="0"><table>
<thead><tr>${heads}</tr></thead>
<tbody>
${lines.join('\n')}
</tbody></table></div>`;
}
