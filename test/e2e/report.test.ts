/// <reference lib="dom" />
/** The report in Chromium: silent, offline, legible, brushed, hovered, themed, by keyboard too. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chromiumPath, launchChromium } from '../support/browser.ts';
import { moontide } from '../support/cli.ts';
import { CONVERSATION, realTrace } from '../support/traces.ts';
import {
  drag,
  drawing,
  illegible,
  type Opened,
  openReport,
  overlapping,
  shown,
  timeTicks,
} from './report-page.ts';

const chromium = chromiumPath();
const conversation = realTrace(CONVERSATION);
/** Figures in which every range of time looks different. */
const FILTERED = ['ttft', 'ttft-cdf', 'breakdown', 'queue', 'busy', 'hits', 'slowest'];
/** Bytes of the largest report that is handed around without a thought. */
const LIMIT = 5_000_000;

const folder = mkdtempSync(join(tmpdir(), 'moontide-'));
const report = (name: string) => join(folder, name, 'report.html');
let browser: Browser;

function run(name: string, args: readonly string[]): void {
  const { code, stderr } = moontide(['replay', ...args, '-o', join(folder, name)]);
  expect(code, stderr).toBe(0);
}

beforeAll(async () => {
  if (chromium === null) return;
  browser = await launchChromium(chromium);
  run('demo', ['demo']);
  run('overloaded', ['demo', '--limit', '4000', '--rate', '5', '--admission', 'slo']);
  if (conversation !== null) run('conversation', [`mooncake:${conversation}`]);
}, 120_000);

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

async function withReport(
  name: string,
  width: number,
  scheme: 'light' | 'dark',
  use: (opened: Opened) => Promise<void>,
): Promise<void> {
  const opened = await openReport(browser, report(name), width, scheme);
  await use(opened);
  expect(opened.trouble).toEqual([]);
  await opened.context.close();
}

async function text(page: Page, selector: string): Promise<string> {
  return (await page.locator(selector).first().textContent()) ?? '';
}

const REPORTS = [
  ['demo', 1280, 'light'],
  ['demo', 390, 'dark'],
  ['overloaded', 1280, 'dark'],
  ['overloaded', 390, 'light'],
  ...(conversation === null ? [] : ([['conversation', 1280, 'light']] as const)),
  ...(conversation === null ? [] : ([['conversation', 390, 'dark']] as const)),
] as const;

describe.skipIf(chromium === null)('a report in Chromium', () => {
  it.each(REPORTS)('of %s is whole and legible at %d px, %s', async (name, width, scheme) => {
    expect(statSync(report(name)).size).toBeLessThan(LIMIT);
    await withReport(name, width, scheme, async ({ page }) => {
      expect(await text(page, '.verdict')).toMatch(/requests met TTFT ≤ 30 s and TBT ≤ 200 ms/);
      expect(await page.locator('.tile').count()).toBe(5);
      expect(await page.locator('.chart svg').count()).toBeGreaterThanOrEqual(20);
      expect(await illegible(page)).toEqual([]);
      expect(await overlapping(page)).toEqual([]);
      const rejections = await text(page, '#rejections');
      if (name === 'overloaded') expect(rejections).toContain('TTFT would miss');
      else expect(rejections).toContain('No request was rejected');
    });
  });

  it('asks no one, and runs no script but its own', async () => {
    await withReport('demo', 1280, 'light', async ({ page, trouble }) => {
      const ran = await page.evaluate(async () => {
        const script = document.createElement('script');
        script.textContent = 'window.injected = true';
        document.body.append(script);
        const fetched = await fetch('https://example.com/').then(
          () => true,
          () => false,
        );
        return { injected: 'injected' in window, fetched };
      });
      expect(ran).toEqual({ injected: false, fetched: false });
      // The policy says so on the console, and that is all that it may say.
      expect(trouble.splice(0).every((line) => /Content Security Policy/.test(line))).toBe(true);
    });
  });

  const trace = conversation === null ? 'demo' : 'conversation';

  it('is filtered by a brush over any figure in time', async () => {
    await withReport(trace, 1280, 'light', async ({ page }) => {
      for (const figure of ['ttft', 'busy', 'overview']) await brushed(page, figure);
    });
  });

  /** All figures follow a brush over one of them, and the button takes it back. */
  async function brushed(page: Page, figure: string): Promise<void> {
    const whole = await drawing(page);
    const before = await shown(page);
    const verdict = await text(page, '.verdict');
    await drag(page, figure, 0.4, 0.6);
    const range = await shown(page, before);
    const [from, to] = range.split('-').map(Number);
    expect(from).toBeGreaterThan(0);
    expect(to).toBeLessThan(Number(before.split('-')[1]));
    // Ten second bins: the axes of all figures over time are within the range now.
    for (const one of ['ttft', 'breakdown', 'busy', 'rails-out', 'hits', 'evictions']) {
      const ticks = await timeTicks(page, one);
      expect(ticks.length, one).toBeGreaterThan(1);
      expect(Math.min(...ticks), one).toBeGreaterThanOrEqual(from / 6);
      expect(Math.max(...ticks), one).toBeLessThanOrEqual(to / 6);
    }
    expect(await text(page, '.verdict')).not.toBe(verdict);
    const filtered = await drawing(page);
    for (const one of FILTERED) expect(filtered[one], one).not.toBe(whole[one]);
    expect(await illegible(page)).toEqual([]);
    await page.locator('#clear').click();
    expect(await shown(page, range)).toBe(before);
    expect(await text(page, '.verdict')).toBe(verdict);
    expect(await drawing(page)).toEqual(whole);
  }

  it('says what the pointer is on', async () => {
    await withReport(trace, 1280, 'dark', async ({ page }) => {
      const said: Record<string, RegExp> = {
        ttft: /minutes[\s\S]*99th percentile[\s\S]*\d s[\s\S]*median/,
        busy: /minutes[\s\S]*(prefill|decode)-\d[\s\S]*\d+\.\d %/,
        slowest: /#\d+[\s\S]*(compute|queue)[\s\S]*\d/,
      };
      for (const [figure, expected] of Object.entries(said)) {
        const plot = page.locator(`#${figure} svg`);
        await plot.scrollIntoViewIfNeeded();
        const { x, y, width, height } = (await plot.boundingBox())!;
        await page.mouse.move(x + width / 2, y + height / 2);
        await page.waitForSelector('#tip:not([hidden])');
        expect(await text(page, '#tip'), figure).toMatch(expected);
        const tip = (await page.locator('#tip').boundingBox())!;
        expect(tip.x + tip.width).toBeLessThanOrEqual(1280);
        await page.mouse.move(2, 2);
        await page.waitForSelector('#tip[hidden]', { state: 'attached' });
      }
      const points = page.locator('#ttft-cdf .points_marks path');
      await points.nth(50).hover({ force: true });
      expect(await text(page, '#tip')).toMatch(/% had their first token within[\s\S]*\d/);
    });
  });

  it('changes its theme', async () => {
    await withReport('demo', 1280, 'light', async ({ page }) => {
      const colours = () =>
        page.evaluate(() => {
          const line = document.querySelector('#ttft .mark-line path')!;
          const ground = getComputedStyle(document.body).backgroundColor;
          return [ground, getComputedStyle(line).stroke];
        });
      const light = await colours();
      await page.getByRole('button', { name: 'Dark theme' }).click();
      const dark = await colours();
      expect(dark[0]).not.toBe(light[0]);
      expect(dark[1]).not.toBe(light[1]);
      await page.getByRole('button', { name: 'Light theme' }).click();
      expect(await colours()).toEqual(light);
    });
  });

  it('is used with the keyboard alone', async () => {
    await withReport('demo', 1280, 'light', async ({ page }) => {
      const before = await shown(page);
      const reached: string[] = [];
      for (let i = 0; i < 8; i++) {
        await page.keyboard.press('Tab');
        reached.push(await page.evaluate(() => document.activeElement!.id));
      }
      expect(reached.filter((id) => id !== '')).toEqual(
        expect.arrayContaining(['theme', 'from', 'to', 'slowest-table']),
      );
      await page.locator('#from').focus();
      await page.keyboard.press('ArrowRight');
      const moved = await shown(page, before);
      expect(moved.split('-')[0]).toBe('1');
      await page.keyboard.press('Escape');
      expect(await shown(page, moved)).toBe(before);
    });
  });
});

describe.skipIf(chromium === null)('a report of several runs', () => {
  it('overlays them and tables their differences', async () => {
    run('least-loaded', ['demo', '--prefill', 'least-loaded']);
    const path = join(folder, 'compared.html');
    const folders = [join(folder, 'demo'), join(folder, 'least-loaded')];
    const { code, stderr } = moontide(['report', ...folders, '-o', path]);
    expect(code, stderr).toBe(0);
    for (const width of [1280, 390]) {
      const { page, context, trouble } = await openReport(browser, path, width, 'light');
      const table = await text(page, '#numbers table');
      expect(table).toMatch(/TTFT, p99[\s\S]*[+−]\d+\.\d %/);
      expect(await page.locator('#ttft .mark-line path').count()).toBe(2);
      expect(await page.locator('#breakdown .mark-rect path').count()).toBeGreaterThan(2);
      expect(await illegible(page)).toEqual([]);
      expect(await overlapping(page)).toEqual([]);
      if (width === 1280) {
        const before = await shown(page);
        await drag(page, 'ttft', 0.3, 0.7);
        await shown(page, before);
        expect(await text(page, '#numbers table')).not.toBe(table);
      }
      expect(trouble).toEqual([]);
      await context.close();
    }
  });
});
