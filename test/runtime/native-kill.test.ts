/**
 * A process dies, or stops, at a random point of its moves: no hang beyond the deadline, no corrupt
 * block accepted, no leaked slot or descriptor. 20 seeded times each way; 200 with MOONTIDE_SOAK=1.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { Status } from '../../src/runtime/native.ts';
import { describeNative, native } from '../support/native.ts';
import { fill, moved, moveOf, openPlane, publishAll, SLOT_BYTES, SLOTS } from '../support/plane.ts';

const TIMES = process.env.MOONTIDE_SOAK === '1' ? 200 : 20;
/** Where seeds start: another with each soak. */
const FIRST = Number(process.env.MOONTIDE_SEED ?? 0) % 1_000_000;
const CHILD = new URL('../support/plane-child.mjs', import.meta.url).pathname;
const KINDS = [['local'], ['tcp'], ['local', 'tcp'], ['tcp', 'tcp']] as const;
const DEADLINE_NS = 1e9;
/** Beyond the deadline: cancelling, and the turn of a busy machine. */
const SLACK_NS = 4e9;

function randomOf(seed: number): (n: number) => number {
  let state = seed + 1;
  return (n) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % n;
  };
}

async function start(args: readonly string[]): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [CHILD, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout! })) return { child, line };
  throw new Error('the child said nothing');
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  child.stdout?.destroy();
}

/** Descriptors that are sockets, pools or epolls of the addon: others come and go with Node. */
const descriptors = (): number => readdirSync('/proc/self/fd').length;

async function until(condition: () => boolean, forNs: number): Promise<boolean> {
  const end = performance.now() + forNs / 1e6;
  while (!condition() && performance.now() < end) await sleep(5);
  return condition();
}

const sums = () =>
  Array.from({ length: SLOTS }, (_, slot) => {
    const bytes = new Uint8Array(SLOT_BYTES);
    fill(bytes, slot);
    return native().crc32c(bytes, 0);
  });

describeNative(`a process that dies, ${TIMES} times`, () => {
  it('being read and written', { timeout: TIMES * 15_000 }, async () => {
    const crcs = sums();
    const seen = new Map<Status, number>();
    let opened = 0;
    for (let seed = 0; seed < TIMES; seed++) {
      const random = randomOf(FIRST + seed);
      const kinds = KINDS[seed % KINDS.length];
      const here = openPlane(kinds, { sliceBytes: 64 * 1024 });
      const { child, line } = await start(['serve', ...kinds]);
      const segment = here.plane.importSegment(Buffer.from(line, 'base64'))!;
      let over = false;
      const runs = Array.from({ length: SLOTS }, async (_, slot) => {
        // Its own slot each, so that an accepted block is looked at before the next comes.
        while (!over) {
          const write = slot % 4 === 3;
          const crc = write ? null : crcs[slot];
          const over = { slot, remoteSlot: slot, write, crc, deadlineNs: DEADLINE_NS };
          const end = await moved(here.plane, moveOf(here.pool, segment, over));
          seen.set(end.status, (seen.get(end.status) ?? 0) + 1);
          expect(end.durationNs, `seed ${FIRST + seed}`).toBeLessThan(DEADLINE_NS + SLACK_NS);
          if (end.status !== Status.ok) return;
          if (write) continue;
          const sum = native().crc32c(here.pool.bytes(slot), 0);
          expect(sum, `seed ${FIRST + seed}`).toBe(crcs[slot]);
        }
      });
      await sleep(random(40));
      const stopped = random(4) === 0;
      if (stopped) child.kill('SIGSTOP');
      else await kill(child);
      await sleep(random(10));
      // Reads of a stopped process's mapped memory go on: it need not run for them.
      if (stopped) await sleep(50);
      over = true;
      await Promise.all(runs);
      if (stopped) await kill(child);
      const quiet = () =>
        Array.from({ length: SLOTS }, (_, i) => i).every((i) => !here.pool.inUse(i));
      expect(await until(quiet, SLACK_NS), `seed ${FIRST + seed}: a slot is in use for ever`).toBe(
        true,
      );
      expect(here.plane.close()).toBe(true);
      if (seed === 3) opened = descriptors();
      if (seed > 3 && seed % 4 === 3) {
        expect(await until(() => descriptors() <= opened + 2, SLACK_NS)).toBe(true);
      }
    }
    expect(seen.get(Status.ok)).toBeGreaterThan(TIMES);
    const failed = [...seen].filter(([status]) => status !== Status.ok);
    expect(failed.length).toBeGreaterThan(0);
  });

  it('reading and writing', { timeout: TIMES * 15_000 }, async () => {
    const kinds = ['local', 'tcp'] as const;
    const here = openPlane(kinds);
    publishAll(here.pool, 1);
    const descriptor = Buffer.from(here.pool.describe()).toString('base64');
    let opened = 0;
    for (let seed = 0; seed < TIMES; seed++) {
      const random = randomOf(FIRST + seed + 1_000);
      const kind = kinds[seed % 2];
      const { child } = await start(['move', String(seed), descriptor, kind]);
      await sleep(random(40));
      await kill(child);
      const quiet = () =>
        Array.from({ length: SLOTS }, (_, i) => i).every((i) => !here.pool.inUse(i));
      expect(await until(quiet, SLACK_NS), `seed ${FIRST + seed}: a slot is served for ever`).toBe(
        true,
      );
      if (seed === 3) opened = descriptors();
      if (seed > 3 && seed % 4 === 3) {
        expect(await until(() => descriptors() <= opened + 2, SLACK_NS)).toBe(true);
      }
    }
    expect(here.plane.close()).toBe(true);
  });
});
