/// <reference lib="dom" />
/** A report opened in a browser, with what a reader would see and do. */
import { createHash } from 'node:crypto';
import type { Browser, BrowserContext, Page } from 'playwright-core';

export interface Opened {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Errors and warnings of the console, exceptions, requests beside the file itself. */
  readonly trouble: string[];
}

export async function openReport(
  browser: Browser,
  path: string,
  width: number,
  colorScheme: 'light' | 'dark',
): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  const page = await context.newPage();
  const trouble: string[] = [];
  const url = `file://${path}`;
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) trouble.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => trouble.push(`exception: ${error.message}`));
  page.on('request', (request) => {
    if (request.url() !== url) trouble.push(`request: ${request.url().slice(0, 200)}`);
  });
  await page.goto(url);
  await shown(page);
  return { page, context, trouble };
}

/** The bins shown, as "from-to", once they are drawn. */
export async function shown(page: Page, unlike = ''): Promise<string> {
  await page.waitForFunction(
    (before) => (document.body.dataset.shown ?? before) !== before,
    unlike,
  );
  return page.evaluate(() => document.body.dataset.shown!);
}

/** Drags over a part of a figure's plot, from share to share of its width. */
export async function drag(page: Page, figure: string, from: number, to: number): Promise<void> {
  const plot = page.locator(`#${figure} svg`).first();
  await plot.scrollIntoViewIfNeeded();
  const { x, y, width, height } = (await plot.boundingBox())!;
  const middle = y + height / 2;
  await page.mouse.move(x + width * from, middle);
  await page.mouse.down();
  await page.mouse.move(x + width * ((from + to) / 2), middle);
  await page.mouse.move(x + width * to, middle);
  await page.mouse.up();
}

/** Texts that are too small, cut off or outside their card, in words. */
export function illegible(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = [];
    if (document.documentElement.scrollWidth > window.innerWidth)
      found.push('the page is too wide');
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const text = node.textContent!.trim();
      const parent = node.parentElement!;
      if (text === '' || parent.closest('script, style, noscript, details > pre')) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      if (box.width === 0) continue;
      const svg = parent.closest('svg');
      const drawn = svg === null ? 1 : svg.getBoundingClientRect().width / svg.width.baseVal.value;
      const size = Number.parseFloat(getComputedStyle(parent).fontSize) * drawn;
      if (size < 11) found.push(`"${text}" is ${size} px`);
      if (parent.closest('.scroll')) continue;
      const card = (svg ?? parent.closest('figure, .tile, .verdict, .range, body'))!;
      const { left, right, top, bottom } = card.getBoundingClientRect();
      const out = box.left < left - 1 || box.right > right + 1;
      if (out || (svg !== null && (box.top < top - 1 || box.bottom > bottom + 1))) {
        found.push(`"${text}" leaves its card`);
      }
    }
    return found;
  });
}

/** Pairs of texts within one figure that lie over each other. */
export function overlapping(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = [];
    for (const svg of document.querySelectorAll('.chart svg')) {
      const texts = [...svg.querySelectorAll('text')]
        .filter((text) => text.textContent !== '' && getComputedStyle(text).opacity !== '0')
        .filter((text) => text.getAttribute('opacity') !== '0')
        .map((text) => ({ said: text.textContent, box: text.getBoundingClientRect() }));
      texts.forEach(({ said, box }, i) => {
        for (const other of texts.slice(i + 1)) {
          const x = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
          const y = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
          if (x > 1 && y > 3)
            found.push(`${svg.closest('[id]')!.id}: "${said}" and "${other.said}"`);
        }
      });
    }
    return found;
  });
}

/** Numbers at the ticks of a figure's time axis. */
export function timeTicks(page: Page, figure: string): Promise<number[]> {
  return page.evaluate((id) => {
    const axes = document.querySelectorAll(`#${id} .role-axis`);
    const labelled = [...axes].map((axis) => {
      const title = axis.querySelector('.role-axis-title text')?.textContent ?? '';
      const labels = [...axis.querySelectorAll('.role-axis-label text')];
      return { title, labels: labels.map((label) => Number(label.textContent)) };
    });
    return labelled.find(({ title }) => title.endsWith('since the start'))?.labels ?? [];
  }, figure);
}

/** Hash of what is seen of each figure and its table: Vega may draw the same in another order. */
export async function drawing(page: Page): Promise<Record<string, string>> {
  const parts = await page.evaluate(() =>
    [...document.querySelectorAll('figure')].map((figure) => {
      const seen = [...figure.querySelectorAll('text, line, path, td, th')]
        .filter((one) => one.getAttribute('opacity') !== '0')
        .map(({ textContent, attributes }) => {
          const own = [...attributes].map(({ name, value }) => `${name}=${value}`);
          return `${textContent} ${own.join(' ')}`;
        });
      return [figure.id, seen.sort().join('\n')] as const;
    }),
  );
  const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 12);
  return Object.fromEntries(parts.map(([id, text]) => [id, hash(text)]));
}
