/** Debian's Chromium, driven by playwright-core. CI has it; elsewhere a test says what it lacks. */
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PATHS = [process.env.CHROMIUM ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser'];
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Path of Chromium, or null. In CI it must be there. */
export function chromiumPath(): string | null {
  const path = PATHS.find((one) => one !== '' && existsSync(one));
  if (path !== undefined) return path;
  if (process.env.CI === 'true') throw new Error('CI lacks chromium: apt-get install chromium');
  console.warn('skipped: no chromium; get it with: sudo apt-get install chromium');
  return null;
}

/** With a profile of its own, which playwright makes and removes. */
export function launchChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, args: FLAGS });
}
