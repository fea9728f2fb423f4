/** The SSD tier of live nodes: what survives a life, what is lost, and a disk that is full. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Count, Mark } from '../../src/core/host.ts';
import type { Observer } from '../../src/core/observer.ts';
import { Outcome } from '../../src/core/request.ts';
import { BlockContents } from '../../src/runtime/live/content.ts';
import { LiveSsd } from '../../src/runtime/live/live-ssd.ts';
import { checkAtRest, clusterOn, liveHost, railsOf } from '../support/hosts.ts';
import type { LiveDisks } from '../support/live.ts';
import { describeNative, native } from '../support/native.ts';
import { revokeFiles } from '../support/revoke.ts';
import { tempFolder } from '../support/ssd.ts';
import { randomTrace, tinyPlan, tinyTopology, traceOf } from '../support/tiny.ts';

const BLOCK_BYTES = 8192;
const SLOTS = 8;
const BLOCKS = [40, 41, 42];

function local(disks: LiveDisks) {
  return liveHost('live', railsOf('local'), null, disks);
}

/** A store and memory for its blocks; slot i of the memory holds block 40 + i. */
async function openSsd(folder: string, cluster = 'one', incarnation = 0) {
  const addon = native();
  const sizes = { slots: SLOTS, blockBytes: BLOCK_BYTES, capacityBytes: null };
  const ssd = await LiveSsd.open({
    addon,
    folder,
    temporary: false,
    cluster,
    incarnation,
    ...sizes,
  });
  const memory = addon.alignedMemory(2 * SLOTS * BLOCK_BYTES);
  const contents = new BlockContents(BLOCK_BYTES, (bytes, crc) => addon.crc32c(bytes, crc));
  const slot = (i: number) => new Uint8Array(memory, i * BLOCK_BYTES, BLOCK_BYTES);
  BLOCKS.forEach((block, i) => {
    contents.fill(slot(i), block);
  });
  const named = BLOCKS.map((block, depth) => ({ block, depth, crc: contents.sum(block) }));
  return { ssd, memory, slot, named, crcs: named.map(({ crc }) => crc) };
}

describeNative('the SSD of a live node', () => {
  it('offers what an earlier life in the same cluster left, and forgets all else', async () => {
    const folder = tempFolder();
    try {
      const path = join(folder.path, 'parent', 'ssd');
      const first = await openSsd(path);
      await first.ssd.attach(first.memory);
      expect(await first.ssd.put([5, 2, 7], first.named, [0, 1, 2])).toMatchObject({ done: 3 });
      await first.ssd.close(true);

      const second = await openSsd(path, 'one', 1);
      const byBlock = [...second.ssd.found].sort((a, b) => a.block - b.block);
      expect(byBlock).toEqual(second.named);
      await second.ssd.adopt(second.ssd.found.map(({ block }) => (block === 41 ? -1 : block - 40)));
      await second.ssd.attach(second.memory);
      const [wanted] = second.crcs;
      const lastCrc = second.crcs[2];
      const got = await second.ssd.get([0, 2, 1], [wanted, lastCrc, 0], [4, 5, 6]);
      expect(got).toEqual({ done: 2, cause: 'lost', lost: [2] });
      expect(Buffer.compare(second.slot(4), second.slot(0))).toBe(0);
      expect(Buffer.compare(second.slot(5), second.slot(2))).toBe(0);
      await second.ssd.close(true);

      const other = await openSsd(path, 'two', 0);
      expect(other.ssd.found).toEqual([]);
      await other.ssd.close(true);
      const again = await openSsd(path, 'one', 2);
      expect(again.ssd.found).toEqual([]);
      await again.ssd.close(true);
    } finally {
      folder.remove();
    }
  });

  it('gives a slot that is filled anew its new block alone', async () => {
    const folder = tempFolder();
    try {
      const { ssd, memory, named, crcs } = await openSsd(folder.path);
      await ssd.attach(memory);
      for (let round = 0; round < 40; round++) {
        const i = round % 3;
        expect(await ssd.put([0], [named[i]], [i])).toMatchObject({ done: 1, cause: '' });
        expect(await ssd.get([0], [crcs[i]], [9])).toMatchObject({ done: 1 });
        const wrong = await ssd.get([0], [crcs[(i + 1) % 3]], [9]);
        expect(wrong).toEqual({ done: 0, cause: 'checksum', lost: [0] });
      }
      await ssd.close(true);
    } finally {
      folder.remove();
    }
  });

  const topology = tinyTopology({
    prefill: 1,
    decode: 0,
    coupled: 1,
    dramBlocks: 10,
    ssdBlocks: 60,
  });

  it('is read by the next life of its node', async () => {
    const folder = tempFolder();
    const plan = await tinyPlan({ topology, policies: { tiering: 'write-through' } });
    const blocks = Array.from({ length: 8 }, (_, i) => i);
    const trace = traceOf([{ atNs: 0, blocks, outputTokens: 2 }]);
    try {
      const tokens: number[] = [];
      for (const incarnation of [0, 1]) {
        const disks = { folder: folder.path, incarnation };
        const run = clusterOn(local(disks), { plan, trace, incarnation });
        await run.run();
        checkAtRest(run, trace.distinctBlocks);
        const ssd = run.recorder.column(Mark.ssdTokens)[0];
        tokens.push(Number.isNaN(ssd) ? 0 : ssd);
      }
      expect(tokens[0]).toBe(0);
      expect(tokens[1]).toBeGreaterThan(4 * 16);
    } finally {
      folder.remove();
    }
  });

  it('that rots is recomputed, and its blocks are offered no more', async () => {
    const folder = tempFolder();
    const plan = await tinyPlan({ topology, policies: { tiering: 'write-through' } });
    const blocks = Array.from({ length: 8 }, (_, i) => i);
    const trace = traceOf([{ atNs: 0, blocks, outputTokens: 2 }]);
    try {
      const disks = { folder: folder.path };
      await clusterOn(local(disks), { plan, trace }).run();
      let spoiled = 0;
      for (const node of readdirSync(folder.path)) {
        for (const file of readdirSync(join(folder.path, node))) {
          if (!/seg/i.test(file)) continue;
          const path = join(folder.path, node, file);
          const bytes = readFileSync(path);
          for (let at = 100; at < bytes.length; at += 4096) bytes[at] ^= 1;
          writeFileSync(path, bytes);
          spoiled++;
        }
      }
      expect(spoiled).toBeGreaterThan(0);
      const run = clusterOn(local({ ...disks, incarnation: 1 }), { plan, trace, incarnation: 1 });
      await run.run();
      checkAtRest(run, trace.distinctBlocks);
      expect(run.recorder.column(Mark.outcome)[0]).toBe(Outcome.completed);
      expect(run.causality.count('load failed')).toBeGreaterThan(0);
      expect(run.causality.count('slotLost')).toBeGreaterThan(0);
    } finally {
      folder.remove();
    }
  });

  /** Each store's drive fails once so much has been written to it. */
  function failing(folder: string, blocks: number): Observer {
    let left = blocks;
    return {
      onCount: (_from, what, by) => {
        if (what !== Count.demoted) return;
        if (left > 0 && left <= by) revokeFiles(folder);
        left -= by;
      },
    };
  }

  it.each([1, 40])('that fails after %s blocks is lost whole, and all goes on', async (blocks) => {
    const folder = tempFolder();
    const trace = randomTrace(3, { requests: 60, conversations: 3 });
    const plan = await tinyPlan({ topology, policies: { tiering: 'write-through' } });
    try {
      const observers = [failing(folder.path, blocks)];
      const run = clusterOn(local({ folder: folder.path }), { plan, trace, observers });
      await run.run();
      // The directory too has forgotten what lay there.
      checkAtRest(run, trace.distinctBlocks);
      expect([...run.recorder.column(Mark.outcome)]).toEqual(
        new Array(trace.requests).fill(Outcome.completed),
      );
      const lost = run.causality.count('tierLost');
      expect(lost).toBeGreaterThan(0);
      expect(lost).toBeLessThanOrEqual(topology.nodes.length);
      const emptied = run.cluster.stores.filter((store) => store.tiers.ssd?.pool.usedSlots === 0);
      expect(emptied.length).toBeGreaterThanOrEqual(lost);
    } finally {
      folder.remove();
    }
  });

  it('has failed when a write fails, or many reads in a row', async () => {
    for (const verb of ['put', 'get'] as const) {
      const folder = tempFolder();
      try {
        const { ssd, memory, named, crcs } = await openSsd(folder.path);
        let failed = 0;
        ssd.onFailed = () => failed++;
        await ssd.attach(memory);
        expect(await ssd.put([0, 1, 2], named, [0, 1, 2])).toMatchObject({ done: 3 });
        revokeFiles(folder.path);
        if (verb === 'put') {
          const end = await ssd.put([4], [named[0]], [0]);
          expect(end).toEqual({ done: 0, cause: 'lost', lost: [] });
          expect(failed).toBe(1);
        } else {
          // Single blocks are lost by themselves.
          const end = await ssd.get([0], [crcs[0]], [9]);
          expect(end).toEqual({ done: 0, cause: 'checksum', lost: [0] });
          expect(failed).toBe(0);
          const all = Array.from({ length: 16 }, () => 1);
          const into = all.map((_, i) => i % 8);
          await ssd.get(
            all,
            all.map(() => crcs[1]),
            into,
          );
          expect(failed).toBe(1);
        }
        // It is not asked again.
        const end = await ssd.get([1], [crcs[1]], [9]);
        expect(end).toEqual({ done: 0, cause: 'lost', lost: [] });
        expect(failed).toBe(1);
        await ssd.close(true);
      } finally {
        folder.remove();
      }
    }
  });

  it('that is full holds nobody up', async () => {
    const trace = randomTrace(3, { requests: 60, conversations: 3 });
    const plan = await tinyPlan({ topology, policies: { tiering: 'write-through' } });
    const run = clusterOn(local({ sizeBytes: 6 * 4096 }), { plan, trace });
    await run.run();
    checkAtRest(run, trace.distinctBlocks);
    expect([...run.recorder.column(Mark.outcome)]).toEqual(
      new Array(trace.requests).fill(Outcome.completed),
    );
    expect(run.recorder.counts[Count.transferFailed]).toBeGreaterThan(0);
    expect(run.recorder.counts[Count.demoted]).toBeGreaterThan(0);
  });
});
