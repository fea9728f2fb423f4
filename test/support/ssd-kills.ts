/**
 * Kills a writing process with SIGKILL at random points and checks what it left: every block that
 * it was told is stored is there, with its bytes; nothing else is, but for what was under way.
 */
import { spawn } from 'node:child_process';
import alea from 'seedrandom/lib/alea.js';
import { SSD_STATUS, type SsdOptions } from '../../src/runtime/ssd.ts';
import { SsdBench } from './ssd.ts';

const WRITER = new URL('ssd-writer.ts', import.meta.url).pathname;

/** Lines that a writer says before it may be killed, at most. */
const LINES_MAX = 2500;

export interface KillReport {
  readonly kills: number;
  /** Answers that the writers had when they died. */
  readonly acknowledged: number;
  /** Blocks read back and verified, over all restarts. */
  readonly verified: number;
  /** Puts and removes under way at a kill, and how many had come about. */
  readonly underWay: number;
  readonly underWayDone: number;
}

/** What a writer said of one block. */
interface Told {
  /** Stored, by what was acknowledged; 0: not. */
  version: number;
  putting: number;
  removing: boolean;
}

/** Runs a writer until it has said some lines and a moment passed; returns all it said. */
function killedWriter(args: readonly string[], lines: number, delayMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', WRITER, ...args]);
    let said = '';
    let problem = '';
    let killing = false;
    let count = 0;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      problem += text;
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      for (const char of text) if (char === '\n') count++;
      if (count < lines || killing) return;
      killing = true;
      setTimeout(() => child.kill('SIGKILL'), delayMs);
    });
    child.on('close', (_code, signal) => {
      if (signal === 'SIGKILL') resolve(said);
      else reject(new Error(`the writer ended by itself: ${problem}`));
    });
  });
}

function toldBy(said: string, before: ReadonlyMap<number, number>) {
  const told = new Map<number, Told>();
  for (const [block, version] of before) told.set(block, { version, putting: 0, removing: false });
  let acknowledged = 0;
  // What follows the last newline was cut off in the middle.
  for (const line of said.split('\n').slice(0, -1)) {
    const [what, block, version] = line.split(' ');
    const entry = told.get(+block) ?? { version: 0, putting: 0, removing: false };
    told.set(+block, entry);
    if (what === 'putting') entry.putting = +version;
    if (what === 'removing') entry.removing = true;
    if (what === 'stored') entry.version = +version;
    if (what === 'removed') entry.version = 0;
    if (what === 'putting' || what === 'removing') continue;
    entry.putting = 0;
    entry.removing = false;
    acknowledged++;
  }
  return { told, acknowledged };
}

/** The versions that are stored, after checking each against what was told. */
async function check(folder: string, told: ReadonlyMap<number, Told>, backend: string) {
  const bench = await SsdBench.open(folder, { backend: backend as SsdOptions['backend'] });
  const stored = new Map<number, number>();
  let underWay = 0;
  let underWayDone = 0;
  for await (const { key, sizeBytes } of bench.store.list()) {
    const block = new DataView(key.buffer).getUint32(0, true);
    const entry = told.get(block) ?? { version: 0, putting: 0, removing: false };
    const version = entry.version || entry.putting;
    if (version === 0) throw new Error(`block ${block} is served and was never stored`);
    const { statuses, sizes } = await bench.get([block]);
    if (
      statuses[0] !== SSD_STATUS.ok ||
      sizes[0] !== sizeBytes ||
      !bench.holds(0, block, version)
    ) {
      throw new Error(`block ${block}, version ${version}: status ${statuses[0]} or wrong bytes`);
    }
    stored.set(block, version);
  }
  for (const [block, { version, putting, removing }] of told) {
    if (version !== 0 && !removing && !stored.has(block)) {
      throw new Error(`block ${block}, version ${version}: acknowledged, but not there`);
    }
    if (putting === 0 && !removing) continue;
    underWay++;
    if (stored.has(block) === putting > 0) underWayDone++;
  }
  const { lostBlocks, quarantinedSlots, lostJournalPages } = bench.store.stats();
  if (lostBlocks + quarantinedSlots + lostJournalPages > 0) throw new Error('counted as lost');
  await bench.store.close();
  return { stored, underWay, underWayDone };
}

/** One store through all kills. An error names seed and round. */
export async function runKills(
  folder: string,
  seed: string,
  kills: number,
  backend: SsdOptions['backend'],
): Promise<KillReport> {
  const random = alea(seed);
  let stored = new Map<number, number>();
  const sum = { kills, acknowledged: 0, verified: 0, underWay: 0, underWayDone: 0 };
  for (let round = 1; round <= kills; round++) {
    const args = [folder, seed, `${round}`, backend, JSON.stringify([...stored])];
    const said = await killedWriter(args, Math.floor(random() * LINES_MAX), random() * 8);
    const { told, acknowledged } = toldBy(said, stored);
    try {
      const found = await check(folder, told, backend);
      stored = found.stored;
      sum.acknowledged += acknowledged;
      sum.verified += stored.size;
      sum.underWay += found.underWay;
      sum.underWayDone += found.underWayDone;
    } catch (error) {
      throw new Error(`seed ${seed}, kill ${round}: ${(error as Error).message}`);
    }
  }
  return sum;
}
