/**
 * The report as one HTML file that needs no network: data, specifications, Vega and the page's
 * script are in it. Its content policy forbids everything else, eval included.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { integer } from '../metrics/format.ts';
import { escaped } from './escape.ts';
import { replaceFiles } from './files.ts';
import type { PageData } from './page/data.ts';
import { figuresFor, OVERVIEW, type Shown } from './page/figures.ts';
import { pageData, type Run } from './page-data.ts';
import { vegaSpec } from './specs.ts';
import { STYLE } from './style.ts';

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif';
/** Width before the page sets it, px. */
const WIDTH = 560;

/** Writes a report of runs; answers its path. */
export function writeReport(path: string, runs: readonly Run[], page = pageData(runs)): string {
  const files = new Map([[basename(path), reportHtml(runs, page)]]);
  return replaceFiles(dirname(path), files)[0];
}

export function reportHtml(runs: readonly Run[], page = pageData(runs)): string {
  const scripts = [vegaRuntime(), pageScript()].map((code) =>
    code.replace(/<\/script/gi, '<\\/script'),
  );
  const hashes = scripts.map(
    (code) => `'sha256-${createHash('sha256').update(code).digest('base64')}'`,
  );
  const policy = [
    "default-src 'none'",
    `script-src ${hashes.join(' ')}`,
    "style-src 'unsafe-inline'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const title = runs.map(({ name }) => name).join(', ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)} · Moontide</title>
<style>${STYLE}</style>
</head>
<body>
${body(runs, page)}
<script type="application/json" id="data">${json({ page, specs: specsOf(page) })}</script>
${scripts.map((code) => `<script>${code}</script>`).join('\n')}
<!--
${licences()}
-->
</body>
</html>
`;
}

function body(runs: readonly Run[], page: PageData): string {
  const facts = runs.map(({ name, result }) => {
    const { trace, config, version, seed } = result;
    return { run: name, moontide: version, seed, trace, config };
  });
  return `<div class="page">
<header>
<div>
<p class="brand">Moontide replay</p>
<h1>${escaped(runs.map(({ name }) => name).join(' · '))}</h1>
<p class="muted">${escaped(description(runs, page))}</p>
</div>
<button id="theme" type="button">Theme</button>
</header>
<main>
<noscript><p>This report needs JavaScript.</p></noscript>
<div id="numbers" aria-live="polite"></div>
<section class="range" aria-label="Range of time">
<div class="range-head">
<strong id="range-text"></strong>
<span class="muted">${OVERVIEW.note}</span>
<button id="clear" type="button" disabled>Show the whole run</button>
</div>
<div id="overview" class="chart"></div>
<div class="sliders">
<input id="from" type="range" min="0" max="${page.bins}" step="1" aria-label="Start">
<input id="to" type="range" min="0" max="${page.bins}" step="1" aria-label="End">
</div>
</section>
<div id="figures"></div>
<details><summary>Configuration and trace</summary><pre tabindex="0">${escaped(
    JSON.stringify(facts, null, 2),
  )}</pre></details>
</main>
</div>
<div id="tip" hidden></div>`;
}

function description(runs: readonly Run[], page: PageData): string {
  if (runs.length > 1) return `${runs.length} runs; differences are to ${runs[0].name}`;
  const { trace, seed, version } = runs[0].result;
  const { step } = page.runs[0].requests;
  const tokens = (count: number) => `${integer(count / 1e6)} M`;
  return [
    `${integer(trace.requests)} requests`,
    `${tokens(trace.inputTokens)} prompt and ${tokens(trace.outputTokens)} output tokens`,
    `seed ${seed}`,
    `version ${version}`,
    ...(step > 1 ? [`latencies over time from one of ${step} requests`] : []),
  ].join(' · ');
}

function specsOf(page: PageData): Record<string, unknown> {
  const names = page.runs.map(({ name }) => name);
  const overview = { id: OVERVIEW.id, title: OVERVIEW.title, figure: OVERVIEW, run: -1 };
  const all: Shown[] = [overview, ...figuresFor(names)];
  const options = { font: FONT, width: WIDTH, interactive: true };
  return Object.fromEntries(all.map((shown) => [shown.id, vegaSpec(shown, page, options)]));
}

/** JSON that may stand inside a script element. */
function json(value: unknown): string {
  return JSON.stringify(value).replace(/</g, '\\u003c');
}

const packages = createRequire(import.meta.url);

function vegaRuntime(): string {
  return readFileSync(join(dirname(packages.resolve('vega')), 'vega.min.js'), 'utf8');
}

/** page/client, bundled. */
function pageScript(): string {
  const source = new URL(`../report/page/client/main${extname(import.meta.url)}`, import.meta.url);
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(source)],
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    legalComments: 'none',
    write: false,
  });
  return outputFiles[0].text;
}

/** Of what is inlined: Vega, and what it bundles. */
function licences(): string {
  const vega = createRequire(packages.resolve('vega'));
  return ['vega', 'd3-array', 'topojson-client']
    .map((name) => {
      const main = name === 'vega' ? packages.resolve('vega') : vega.resolve(name);
      const folder = main.slice(0, main.lastIndexOf(`/${name}/`) + name.length + 1);
      return `${name}\n${readFileSync(join(folder, 'LICENSE'), 'utf8')}`;
    })
    .join('\n')
    .replace(/--+/g, '-');
}
