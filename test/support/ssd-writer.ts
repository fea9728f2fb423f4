/**
 * The process that ssd-kills.ts kills: puts and removes blocks at random, several at once, and says
 * on descriptor 1 what it asks for before it asks, and what it was told after it was told.
 *
 * usage: ssd-writer.ts FOLDER SEED ROUND BACKEND STATE; STATE is JSON: [[block, version], …]
 */
import { writeSync } from 'node:fs';
import alea from 'seedrandom/lib/alea.js';
import { SSD_STATUS, type SsdOptions } from '../../src/runtime/ssd.ts';
import { keyOf, SsdBench } from './ssd.ts';

const [folder, seed, round, backend, state] = process.argv.slice(2);
const LANES = 8;
const BLOCKS = 96;

const random = alea(`${seed}/${round}`);
const stored = new Map<number, number>(JSON.parse(state) as [number, number][]);
const bench = await SsdBench.open(folder, { backend: backend as SsdOptions['backend'] });
let version = Number(round) * 100_000;

/** Out of this process before it returns, however slowly it is read. */
function say(what: string, block: number, ofVersion: number): void {
  for (;;) {
    try {
      writeSync(1, `${what} ${block} ${ofVersion}\n`);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

async function step(lane: number): Promise<void> {
  const block = lane + LANES * Math.floor((random() * BLOCKS) / LANES);
  const old = stored.get(block);
  if (old !== undefined) {
    say('removing', block, old);
    const { statuses } = await bench.store.remove(keyOf(block));
    if (statuses[0] !== SSD_STATUS.ok) throw new Error(`remove: status ${statuses[0]}`);
    stored.delete(block);
    say('removed', block, old);
    return;
  }
  const own = ++version;
  say('putting', block, own);
  const { statuses } = await bench.putAt(lane, block, own);
  if (statuses[0] === SSD_STATUS.ok) {
    stored.set(block, own);
    say('stored', block, own);
  } else if (statuses[0] === SSD_STATUS.full) {
    say('refused', block, own);
  } else {
    throw new Error(`put: status ${statuses[0]}`);
  }
}

async function run(lane: number): Promise<void> {
  for (;;) await step(lane);
}

await Promise.all(Array.from({ length: LANES }, (_, lane) => run(lane)));
