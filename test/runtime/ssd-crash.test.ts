/** The SSD store through kills and power cuts; the long form is test/soak/ssd.soak.ts. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { buildDriver } from '../support/driver.ts';
import { describeNative } from '../support/native.ts';
import { tempFolder } from '../support/ssd.ts';
import { runKills } from '../support/ssd-kills.ts';

const KILLS = 10;
const CUTS = 100;

describeNative('SSD store, crashes', () => {
  for (const backend of ['io_uring', 'threads'] as const) {
    it(`survives kill -9 at ${KILLS} random points, ${backend}`, { timeout: 240_000 }, async () => {
      const seed = process.env.MOONTIDE_SSD_SEED ?? `ci-${backend}`;
      const folder = tempFolder();
      try {
        const report = await runKills(join(folder.path, 'store'), seed, KILLS, backend);
        console.log(`seed ${seed}: ${JSON.stringify(report)}`);
        expect(report.acknowledged).toBeGreaterThan(KILLS);
        expect(report.verified).toBeGreaterThan(KILLS);
      } finally {
        folder.remove();
      }
    });
  }

  it(`survives ${CUTS} power cuts that tear and forget what was not synced`, () => {
    const driver = buildDriver('ssd-powercut', /^(?:ssd-|crc32c)/, ['-fsanitize=address']);
    const folder = tempFolder(existsSync('/dev/shm') ? '/dev/shm' : undefined);
    const seed = process.env.MOONTIDE_SSD_SEED ?? '1';
    try {
      const args = [join(folder.path, 'store'), seed, `${CUTS}`];
      const { status, stdout, stderr } = spawnSync(driver, args, { encoding: 'utf8' });
      expect(stderr).toBe('');
      expect(status).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ cuts: CUTS });
    } finally {
      folder.remove();
    }
  });
});
