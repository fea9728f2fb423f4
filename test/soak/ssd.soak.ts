/** The SSD store: many kills of a writing process, and many power cuts under sanitizers. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { buildDriver } from '../support/driver.ts';
import { tempFolder } from '../support/ssd.ts';
import { runKills } from '../support/ssd-kills.ts';
import type { Soak } from './main.ts';

const KILLS = 200;
const CUTS = 2000;

function kills(backend: 'io_uring' | 'threads'): Soak {
  return {
    name: `ssd-kills-${backend}`,
    async run(seed) {
      const folder = tempFolder();
      try {
        return { ...(await runKills(join(folder.path, 'store'), seed, KILLS, backend)) };
      } finally {
        folder.remove();
      }
    },
  };
}

function cuts(sanitizer: 'address' | 'thread'): Soak {
  return {
    name: `ssd-power-cuts-${sanitizer}-sanitizer`,
    async run(seed) {
      const flags = [`-fsanitize=${sanitizer}`];
      const driver = buildDriver('ssd-powercut', /^(?:ssd-|crc32c)/, flags);
      const folder = tempFolder('/dev/shm');
      try {
        const number = `${Number.parseInt(seed, 10) || 1}`;
        const args = [join(folder.path, 'store'), number, `${CUTS}`, 'threads'];
        const { status, stdout, stderr } = spawnSync(driver, args, { encoding: 'utf8' });
        if (status !== 0 || stderr !== '') throw new Error(`seed ${number}: ${stderr}`);
        return JSON.parse(stdout) as Record<string, unknown>;
      } finally {
        folder.remove();
      }
    },
  };
}

export const soaks: readonly Soak[] = [
  kills('io_uring'),
  kills('threads'),
  cuts('address'),
  cuts('thread'),
];
