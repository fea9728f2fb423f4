/** The addon for tests: built by the global setup, required in CI, else skipped with the reason. */
import { describe } from 'vitest';
import { loadNative, type NativeAddon } from '../../src/runtime/native.ts';

const { addon, reason } = loadNative();

/** Only inside `describeNative`. */
export function native(): NativeAddon {
  if (addon === null) throw new Error(reason ?? '');
  return addon;
}

/** A suite that needs the addon. */
export function describeNative(name: string, suite: () => void): void {
  if (addon !== null || process.env.CI === 'true') describe(name, suite);
  else describe.skip(`${name} (skipped: ${reason})`, suite);
}
