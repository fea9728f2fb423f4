/** Blocks follow their homes: what moves when nodes come and go, how fast, and what it breaks. */
import { describe, expect, it } from 'vitest';
import { BucketMap, bucketOf } from '../../src/core/bucket-map.ts';
import { Count, Mark } from '../../src/core/host.ts';
import { Outcome } from '../../src/core/request.ts';
import type { ScenarioEvent } from '../../src/core/scenario.ts';
import type { MoveSettings } from '../../src/core/settings.ts';
import { AddressBook } from '../../src/core/topology.ts';
import { MovesSeen } from '../support/moving.ts';
import { simulate } from '../support/simulate.ts';
import {
  BLOCK_TOKENS,
  TOKEN_BYTES,
  type TraceRow,
  tinyPlan,
  tinyTopology,
  traceOf,
} from '../support/tiny.ts';

const EVER = Number.POSITIVE_INFINITY;
const BLOCK_BYTES = BLOCK_TOKENS * TOKEN_BYTES;
const PROMPTS = 40;
const BLOCKS = 6;
/** All prompts have been computed; they come again from here on, many times. */
const FILLED_NS = 10e6;
const END_NS = 60e6;
const MOVES: MoveSettings = {
  bytesPerNs: 0.002,
  railShare: 0,
  inFlight: 2,
  batchBlocks: 4,
  lingerNs: 5e6,
};

/** Every prompt once, then all of them again and again until the end. */
function rows(): TraceRow[] {
  const prompt = (n: number) => Array.from({ length: BLOCKS }, (_, i) => n * BLOCKS + i);
  const made: TraceRow[] = [];
  for (let n = 0; n < PROMPTS; n++)
    made.push({ atNs: n * 200_000, blocks: prompt(n), outputTokens: 2 });
  for (let atNs = FILLED_NS, n = 0; atNs < END_NS; atNs += 150_000, n++) {
    made.push({ atNs, blocks: prompt((n * 7) % PROMPTS), outputTokens: 2 });
  }
  return made;
}

interface Given {
  readonly events: readonly ScenarioEvent[];
  readonly moves?: MoveSettings | null;
  readonly dramBlocks?: number;
  readonly ssdBlocks?: number;
  readonly tiering?: string;
}

async function play({ events, moves = MOVES, dramBlocks = 400, ssdBlocks = 0, tiering }: Given) {
  const topology = tinyTopology({ prefill: 3, decode: 1, coupled: 1, dramBlocks, ssdBlocks });
  const plan = await tinyPlan({
    topology,
    policies: {
      placement: 'bucket-map:buckets=256',
      replication: 'none',
      ...(tiering === undefined ? {} : { tiering }),
    },
    settings: { store: { moves }, conductor: { moves: moves !== null } },
  });
  const seen = new MovesSeen(new AddressBook(topology));
  const trace = traceOf(rows());
  const run = simulate({ plan, trace, observers: [seen], scenario: { events } });
  for (const [node, store] of run.cluster.stores.entries()) {
    if (run.simulation.isDead(run.addresses.store(node))) continue;
    store.check();
    store.checkIdle(1e12);
  }
  const { stores } = run.cluster;
  const alive = stores.filter((_, node) => !run.simulation.isDead(run.addresses.store(node)));
  const homes = seen.maps.at(-1)!;
  const homeOf = (block: number) => homes[bucketOf(block, homes.length)];
  const isAt = (node: number, block: number) => stores[node].tiers.isReady(block);
  return { ...run, seen, trace, alive, homeOf, isAt };
}

type Played = Awaited<ReturnType<typeof play>>;
const all = Array.from({ length: PROMPTS * BLOCKS }, (_, block) => block);

/** Every block is at its home, and nowhere else. */
function expectHome({ homeOf, isAt, cluster }: Played): void {
  for (const block of all) {
    const holders = cluster.stores.map((_, node) => node).filter((node) => isAt(node, block));
    expect([block, holders]).toEqual([block, [homeOf(block)]]);
  }
}

/** Every repeated prompt found all of its blocks. */
function expectNoReadFailed({ recorder, trace }: Played): void {
  expect([...recorder.column(Mark.outcome)]).toEqual(
    new Array(trace.requests).fill(Outcome.completed),
  );
  const tokens = (mark: Mark, row: number) => recorder.column(mark)[row] || 0;
  for (let row = PROMPTS; row < trace.requests; row++) {
    const cached = tokens(Mark.dramTokens, row) + tokens(Mark.ssdTokens, row);
    const peer = tokens(Mark.peerTokens, row);
    expect([row, cached + peer]).toEqual([row, BLOCKS * BLOCK_TOKENS - 1]);
    expect(tokens(Mark.staleTokens, row)).toBe(0);
  }
  expect(recorder.counts[Count.staleMiss]).toBe(0);
}

/** In any span a node sends no more than the rate allows, but for what it may have under way. */
function expectRate({ seen }: Played, moves: MoveSettings): void {
  const slack = moves.inFlight * moves.batchBlocks * BLOCK_BYTES;
  for (const node of new Set(seen.starts.map(({ from }) => from))) {
    const own = seen.starts.filter(({ from }) => from === node);
    let bytes = 0;
    const before = own.map((start) => {
      bytes += start.bytes;
      return bytes - start.bytes;
    });
    for (let i = 0; i < own.length; i++) {
      for (let j = i; j < own.length; j++) {
        const sent = before[j] + own[j].bytes - before[i];
        const spanNs = own[j].atNs - own[i].atNs;
        expect(sent).toBeLessThanOrEqual(spanNs * moves.bytesPerNs! + slack);
      }
    }
  }
  expect(seen.inFlightMost).toBeLessThanOrEqual(moves.inFlight);
}

const copies = ({ seen }: Played) =>
  seen.starts.reduce((n, { bytes }) => n + bytes, 0) / BLOCK_BYTES;

describe('a node that joins', () => {
  const events: ScenarioEvent[] = [{ kind: 'join', atNs: FILLED_NS, node: 2 }];

  it('gets its share, no more, and from then on has it alone', async () => {
    const run = await play({ events });
    expectHome(run);
    expectNoReadFailed(run);
    const [before, after] = run.seen.maps.slice(-2);
    const bucket = (block: number) => bucketOf(block, before.length);
    const share = all.filter((block) => before[bucket(block)] !== after[bucket(block)]);
    expect(share.every((block) => run.homeOf(block) === 2)).toBe(true);
    // Of five nodes one, to within what 240 blocks fall unevenly into 256 buckets.
    expect(Math.abs(share.length / all.length - 1 / 5)).toBeLessThan(0.08);
    expect(run.seen.named.flatMap(({ blocks }) => blocks).sort((a, b) => a - b)).toEqual(share);
    expect(run.recorder.counts[Count.moved]).toBe(share.length);
    expect(copies(run)).toBe(share.length);
  });

  it('is filled at the rate that moves have, or by the share of the rails', async () => {
    const run = await play({ events });
    expectRate(run, MOVES);
    const spanNs = run.seen.starts.at(-1)!.atNs - run.seen.starts[0].atNs;
    // Several nodes send, each at its rate: not at once, and not for long after.
    const most = Math.max(
      ...[0, 1, 3, 4].map((node) => {
        const own = run.seen.starts.filter(({ from }) => from === node);
        return own.reduce((sum, { bytes }) => sum + bytes, 0);
      }),
    );
    const wantedNs = most / MOVES.bytesPerNs!;
    expect(spanNs).toBeGreaterThan(0.5 * wantedNs);
    expect(spanNs).toBeLessThan(1.1 * wantedNs);
    const shared = { ...MOVES, bytesPerNs: null, railShare: 0.002 };
    const same = await play({ events, moves: shared });
    expect(same.seen.starts).toEqual(run.seen.starts);
  });

  it('is asked where the old home has nothing any more', async () => {
    const run = await play({ events, moves: { ...MOVES, lingerNs: 0 } });
    expectHome(run);
    expect(run.recorder.counts[Count.staleMiss]).toBe(0);
  });

  it('gets nothing while moves are off, and blocks are found where they were', async () => {
    const run = await play({ events, moves: null });
    expect(run.seen.named).toEqual([]);
    expectNoReadFailed(run);
  });

  it('is filled from SSDs as well', async () => {
    const small = { dramBlocks: 20, ssdBlocks: 400, tiering: 'write-through' };
    const run = await play({ events, ...small });
    for (const block of all)
      expect([block, run.isAt(run.homeOf(block), block)]).toEqual([block, true]);
    expect(copies(run)).toBeGreaterThan(20);
  });
});

describe('a node that leaves', () => {
  const events: ScenarioEvent[] = [{ kind: 'leave', atNs: FILLED_NS, node: 1 }];

  it('takes nothing along, and goes when all is elsewhere', async () => {
    const run = await play({ events });
    expect(run.simulation.isDead(run.addresses.store(1))).toBe(true);
    const survivors = (block: number) => [0, 2, 3, 4].filter((node) => run.isAt(node, block));
    for (const block of all) expect(survivors(block)).toEqual([run.homeOf(block)]);
    expectNoReadFailed(run);
    expectRate(run, MOVES);
    expect(run.seen.named.every(({ from }) => from === 1)).toBe(true);
  });

  it('loses what it has where moves are off', async () => {
    const run = await play({ events, moves: null });
    const survive = (block: number) => [0, 2, 3, 4].some((node) => run.isAt(node, block));
    const { recorder, trace } = run;
    const hit = (row: number) =>
      (recorder.column(Mark.dramTokens)[row] || 0) + (recorder.column(Mark.peerTokens)[row] || 0);
    const missed = Array.from({ length: trace.requests - PROMPTS }, (_, i) => hit(PROMPTS + i));
    expect(missed.some((tokens) => tokens < BLOCKS * BLOCK_TOKENS - 1)).toBe(true);
    // They were computed again since.
    expect(all.every(survive)).toBe(true);
  });

  it('stays when it is told to, and gets back what had gone', async () => {
    const stays: ScenarioEvent = {
      kind: 'roles',
      atNs: FILLED_NS + 1e6,
      instance: 1,
      roles: ['prefill'],
    };
    const run = await play({ events: [...events, stays] });
    expect(run.simulation.isDead(run.addresses.store(1))).toBe(false);
    expectHome(run);
    expectNoReadFailed(run);
  });

  it('and another that joins meanwhile: all ends where the last map has it', async () => {
    const joins: ScenarioEvent = { kind: 'join', atNs: FILLED_NS + 2e6, node: 2 };
    const run = await play({ events: [...events, joins] });
    expect(run.simulation.isDead(run.addresses.store(1))).toBe(true);
    for (const block of all) {
      const there = [0, 2, 3, 4].filter((node) => run.isAt(node, block));
      expect([block, there]).toEqual([block, [run.homeOf(block)]]);
    }
    expectNoReadFailed(run);
    expectRate(run, MOVES);
  });
});

describe('in the midst of moves', () => {
  const join: ScenarioEvent = { kind: 'join', atNs: FILLED_NS, node: 2 };
  const midNs = FILLED_NS + 2e6;

  it('a successor of the conductor goes on by the same map: nothing is copied twice', async () => {
    const alone = await play({ events: [join] });
    const run = await play({ events: [join, { kind: 'failover', atNs: midNs, downNs: 1e6 }] });
    expectHome(run);
    expect(run.seen.maps).toEqual(alone.seen.maps);
    expect(copies(run)).toBe(copies(alone));
    expect(run.recorder.counts[Count.moved]).toBe(alone.recorder.counts[Count.moved]);
  });

  it('a home that dies: what it had is lost, what was still to go to it is not', async () => {
    const crash: ScenarioEvent = {
      kind: 'crash',
      atNs: midNs,
      node: 2,
      detectNs: 1e6,
      forNs: EVER,
    };
    const run = await play({ events: [join, crash] });
    // Old copies stay a while, so that even what had gone is there.
    for (const block of all) expect(run.isAt(run.homeOf(block), block)).toBe(true);
    expect(all.every((block) => run.homeOf(block) !== 2)).toBe(true);
  });

  it('an old home that dies takes along what had not gone, and nothing else', async () => {
    const crash: ScenarioEvent = {
      kind: 'crash',
      atNs: midNs,
      node: 0,
      detectNs: 1e6,
      forNs: EVER,
    };
    const run = await play({ events: [join, crash] });
    const gone = new Set(
      run.seen.named
        .filter(({ from, atNs }) => from === 0 && atNs < midNs - 1e6)
        .flatMap((b) => b.blocks),
    );
    expect(gone.size).toBeGreaterThan(0);
    for (const block of gone) expect(run.isAt(run.homeOf(block), block)).toBe(true);
    expect([...run.recorder.column(Mark.outcome)].every((o) => o === Outcome.completed)).toBe(true);
  });

  it('a link that is cut for a while delays them', async () => {
    const cut: ScenarioEvent = { kind: 'link', atNs: midNs, nodes: [0, 2], forNs: 5e6 };
    const run = await play({ events: [join, cut] });
    for (const block of all) expect(run.isAt(run.homeOf(block), block)).toBe(true);
  });
});

it('a map of the same nodes is the same map', () => {
  const nodes = [0, 1, 2].map((id) => ({ id, weight: 1 }));
  const map = BucketMap.of(64, nodes);
  expect(map.moved(map.withNodes(nodes))).toEqual([]);
});
