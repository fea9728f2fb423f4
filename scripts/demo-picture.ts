/**
 * Makes the README's picture: `moontide replay demo -o …`, its report in Chromium, the upper part
 * of it in both themes. Run it after a change of the report: npx tsx scripts/demo-picture.ts
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeRun } from '../src/report/run-folder.ts';
import { replay } from '../src/study/replay.ts';
import { chromiumPath, launchChromium } from '../test/support/browser.ts';

const ROOT = new URL('..', import.meta.url).pathname;
const TARGET = join(ROOT, 'reports', 'demo');
const VIEW = { width: 1280, height: 1000 };
/** Below the first row of figures, px. */
const MARGIN = 20;
const PIXELS = 1.5;

/** The fonts of static figures, so that the picture is the same on every machine. */
function fontStyle(): string {
  const face = (weight: number, file: string) => {
    const data = readFileSync(join(ROOT, 'src/report/fonts', file)).toString('base64');
    return `@font-face { font-family: Figures; font-weight: ${weight};
      src: url(data:font/ttf;base64,${data}); }`;
  };
  return `${face(400, 'Roboto-Regular.ttf')} ${face(700, 'Roboto-Bold.ttf')}
    body, svg text { font-family: Figures, sans-serif !important; }`;
}

const chromium = chromiumPath();
if (chromium === null) process.exit(1);
const folder = mkdtempSync(join(tmpdir(), 'moontide-'));
const run = join(folder, 'demo');
const { result, samples } = await replay({ trace: 'demo', sampled: true });
writeRun(run, { name: 'demo', result, ...samples! });
const browser = await launchChromium(chromium);
for (const colorScheme of ['light', 'dark'] as const) {
  const page = await browser.newPage({
    viewport: VIEW,
    colorScheme,
    deviceScaleFactor: PIXELS,
    bypassCSP: true,
  });
  await page.goto(`file://${join(run, 'report.html')}`);
  await page.addStyleTag({ content: fontStyle() });
  await page.waitForFunction(() => document.body.dataset.shown !== undefined);
  await page.evaluate(() => document.fonts.ready);
  const row = await page.locator('#ttft').boundingBox();
  const clip = { x: 0, y: 0, width: VIEW.width, height: row!.y + row!.height + MARGIN };
  await page.screenshot({ path: join(TARGET, `report-${colorScheme}.png`), clip });
}
await browser.close();
copyFileSync(join(run, 'result.json'), join(TARGET, 'result.json'));
rmSync(folder, { recursive: true });
