/** What scenarios do to a simulated cluster, told as stories. */
import { describe, expect, it } from 'vitest';
import { policyNames } from '../../src/config/policies.ts';
import { Count, Mark, type Transfer } from '../../src/core/host.ts';
import type { Fact, Message } from '../../src/core/messages.ts';
import type { Observer } from '../../src/core/observer.ts';
import type { PrefillChoice } from '../../src/core/policy.ts';
import { Outcome } from '../../src/core/request.ts';
import type { ScenarioEvent } from '../../src/core/scenario.ts';
import { Tier } from '../../src/core/topology.ts';
import { simulate } from '../support/simulate.ts';
import {
  BLOCK_TOKENS,
  type TinyPlan,
  type TraceRow,
  tinyPlan,
  tinyTopology,
  traceOf,
} from '../support/tiny.ts';

const EVER = Number.POSITIVE_INFINITY;
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

/** Runs, and tells of every transfer how it ended. */
async function play(
  given: TinyPlan,
  rows: readonly TraceRow[],
  events: readonly ScenarioEvent[],
  choices: readonly Partial<PrefillChoice>[] | null = null,
  more: Observer = {},
) {
  const made = await tinyPlan(given);
  const none: PrefillChoice = { instance: 0, sourceNode: -1, sourceBlocks: 0, ttftNs: 0 };
  const choose = ({ id }: { id: number }) => ({ ...none, ...choices?.[id] });
  const steered = { prefill: { name: 'steered', create: () => ({ choose }) } };
  const plan = choices === null ? made : { ...made, policies: { ...made.policies, ...steered } };
  const trace = traceOf(rows);
  const open = new Map<string, Transfer>();
  const ends: string[] = [];
  const watcher = {
    onTransfer: (from: number, transfer: Transfer) => open.set(`${from}/${transfer.id}`, transfer),
    onFact(to: number, { body }: Fact) {
      if (body.kind !== 'transferEnded') return;
      const { kind, source, target } = open.get(`${to}/${body.transfer}`)!;
      const of =
        source.node === target.node ? `n${source.node}` : `n${source.node}>n${target.node}`;
      const ssd =
        source.tier === Tier.ssd ? ' from ssd' : target.tier === Tier.ssd ? ' to ssd' : '';
      ends.push(`${kind} ${of}${ssd} ${body.ok ? 'ok' : 'failed'}`);
    },
  };
  const run = simulate({ plan, trace, scenario: { events }, observers: [watcher, more] });
  const outcomes = [...run.recorder.column(Mark.outcome)];
  for (const [node, store] of run.cluster.stores.entries()) {
    if (!run.simulation.isDead(run.addresses.store(node))) store.checkIdle(1e12);
  }
  return { ...run, outcomes, ends };
}

describe('an SSD that fails', () => {
  // A small DRAM over an SSD: what a first prompt leaves is on SSD when others have come.
  const topology = tinyTopology({ prefill: 1, decode: 1, dramBlocks: 8, ssdBlocks: 100 });
  const given: TinyPlan = { topology, policies: { tiering: 'write-through' } };
  const rows: TraceRow[] = [
    { atNs: 0, blocks: range(0, 6), outputTokens: 2 },
    { atNs: 1e6, blocks: range(10, 17), outputTokens: 2 },
    { atNs: 2e6, blocks: range(0, 6), outputTokens: 2 },
    { atNs: 3e6, blocks: range(20, 27), outputTokens: 2 },
    { atNs: 4e6, blocks: range(10, 17), outputTokens: 2 },
  ];
  const lost = (atNs: number, forNs = EVER): ScenarioEvent => ({
    kind: 'ssd',
    atNs,
    node: 0,
    rate: 0,
    forNs,
  });

  it('is read while it lives', async () => {
    const { recorder, outcomes, ends } = await play(given, rows, []);
    expect(outcomes).toEqual(rows.map(() => Outcome.completed));
    expect(recorder.column(Mark.ssdTokens)[2]).toBeGreaterThan(0);
    expect(ends).toContain('load n0 from ssd ok');
  });

  it('costs what was on it, and no more', async () => {
    const { recorder, outcomes, ends, cluster } = await play(given, rows, [lost(1.9e6)]);
    expect(outcomes).toEqual(rows.map(() => Outcome.completed));
    expect(recorder.column(Mark.ssdTokens).some((tokens) => tokens > 0)).toBe(false);
    expect(ends.filter((end) => end.includes('from ssd'))).toEqual([]);
    expect(recorder.counts[Count.droppedDemotion]).toBeGreaterThan(0);
    expect(cluster.stores[0].ssd!.usedSlots).toBe(0);
  });

  it('comes back empty, and is filled again', async () => {
    const { ends, cluster } = await play(given, rows, [lost(1.9e6, 0.5e6)]);
    expect(ends).toContain('demote n0 to ssd ok');
    expect(cluster.stores[0].ssd!.usedSlots).toBeGreaterThan(0);
  });

  it('under a load: the pass is void, and the prompt computes what is missing', async () => {
    // The load takes 2.5 us of latency and some: it is under way 1 us after the third arrival.
    const atNs = 2e6 + topology.controlDelayNs * 2 + 1_000;
    const whole = await play(given, rows, []);
    const { recorder, outcomes, ends } = await play(given, rows, [lost(atNs)]);
    expect(outcomes).toEqual(rows.map(() => Outcome.completed));
    expect(ends).toContain('load n0 from ssd failed');
    expect(recorder.column(Mark.ssdTokens)[2]).toBe(0);
    const tokens = ['dramTokens', 'peerTokens'] as const;
    const cached = tokens.reduce((sum, name) => sum + recorder.column(Mark[name])[2], 0);
    const computed = 6 * BLOCK_TOKENS - cached;
    const late = recorder.column(Mark.computeNs)[2] - whole.recorder.column(Mark.computeNs)[2];
    expect(late).toBe(computed * 1_000);
  });
});

describe('an SSD that a peer reads from', () => {
  const topology = tinyTopology({ prefill: 3, decode: 1, dramBlocks: 8, ssdBlocks: 100 });
  const given: TinyPlan = { topology, policies: { tiering: 'write-through' } };
  // Two nodes have the prompt, one of them on SSD alone; a third computes it.
  const rows: TraceRow[] = [
    { atNs: 0, blocks: range(0, 6), outputTokens: 2 },
    { atNs: 0, blocks: range(0, 6), outputTokens: 2 },
    { atNs: 1e6, blocks: range(10, 17), outputTokens: 2 },
    { atNs: 2e6, blocks: range(0, 6), outputTokens: 2 },
  ];
  const steer = [{}, { instance: 1 }, {}, { instance: 2, sourceNode: 0, sourceBlocks: 6 }];
  // The lease takes a round trip; then 768 ns of 6 blocks, of which two have come.
  const atNs = 2e6 + 4 * topology.controlDelayNs + 300;
  const lost: ScenarioEvent = { kind: 'ssd', atNs, node: 0, rate: 0, forNs: EVER };

  it('sends the reader to another replica', async () => {
    const { ends, outcomes, recorder } = await play(given, rows, [lost], steer);
    expect(outcomes).toEqual(rows.map(() => Outcome.completed));
    expect(ends.filter((end) => end.startsWith('fetch'))).toEqual([
      'fetch n0>n2 from ssd failed',
      'fetch n1>n2 ok',
    ]);
    expect(recorder.column(Mark.peerTokens)[3]).toBe(6 * BLOCK_TOKENS - 1);
  });

  it('leaves the rest to be computed where there is none', async () => {
    const [one, , more, last] = rows;
    const [, , , fetching] = steer;
    const run = await play(given, [one, more, last], [lost], [{}, {}, fetching]);
    expect(run.outcomes).toEqual([0, 1, 2].map(() => Outcome.completed));
    expect(run.ends.filter((end) => end.startsWith('fetch'))).toEqual([
      'fetch n0>n2 from ssd failed',
    ]);
    expect(run.recorder.column(Mark.staleTokens)[2]).toBeGreaterThan(0);
  });
});

describe('a node that leaves', () => {
  const topology = tinyTopology({ prefill: 3, decode: 1 });
  const policies = { placement: 'free-ratio-first', prefill: 'least-loaded' };
  // The first request decodes for 20 ms.
  const rows = [
    { atNs: 0, blocks: range(1000, 1050), outputTokens: 900 },
    ...range(1, 40).map((i) => ({
      atNs: 1e6 + i * 0.4e6,
      blocks: range(10 * i, 10 * i + 4),
      outputTokens: 2,
    })),
  ];
  const leave = (node: number): ScenarioEvent => ({ kind: 'leave', atNs: 1e6, node });

  it.each(policyNames('placement').filter((name) => name !== 'local'))(
    '%s places nothing on it while it drains, a successor of the conductor too',
    async (placement) => {
      // Node 3 decodes until long after; failover loses what the conductor was told.
      const events: ScenarioEvent[] = [
        leave(3),
        { kind: 'failover', atNs: 5e6, downNs: 0.2e6 },
        { kind: 'failover', atNs: 9e6, downNs: 0.2e6 },
      ];
      const given = { topology: tinyTopology({ prefill: 3, decode: 2 }), policies };
      const placed: [number, number][] = [];
      const watch = {
        onSend(_from: number, _to: number, message: Message, atNs: number) {
          if (message.kind !== 'dispatch') return;
          for (const node of message.nodes) placed.push([node, atNs]);
        },
      };
      const named = { ...given, policies: { ...policies, placement } };
      const { outcomes } = await play(named, rows, events, null, watch);
      expect(outcomes).toEqual(rows.map(() => Outcome.completed));
      const late = placed.filter(([, atNs]) => atNs > 1e6 + topology.controlDelayNs);
      expect(late.length).toBeGreaterThan(100);
      expect(late.filter(([node]) => node === 3)).toEqual([]);
      expect(new Set(late.map(([node]) => node))).toEqual(new Set([0, 1, 2, 4]));
    },
  );

  it('stays when it is given roles again', async () => {
    const roles: ScenarioEvent = { kind: 'roles', atNs: 1.001e6, instance: 0, roles: ['prefill'] };
    const { simulation, addresses } = await play({ topology, policies }, rows, [leave(0), roles]);
    expect(simulation.isDead(addresses.store(0))).toBe(false);
    const gone = await play({ topology, policies }, rows, [leave(0)]);
    expect(gone.simulation.isDead(gone.addresses.store(0))).toBe(true);
  });
});

describe('a node whose rails all fail', () => {
  const topology = tinyTopology({ prefill: 2, decode: 2, rails: 2 });
  const rows = range(0, 30).map((i) => ({
    atNs: i * 4e6,
    blocks: [100, 101, 10 * i, 10 * i + 1],
    outputTokens: 3,
  }));
  const dead = (node: number, forNs: number): ScenarioEvent[] =>
    [0, 1].map((rail) => ({ kind: 'rail', atNs: 10e6, node, rail, rate: 0, forNs }));

  it.each([0, 1, 2, 3])(
    'node %i, for a while: all requests end, and it works again',
    async (node) => {
      const { outcomes, ends, simulation } = await play({ topology }, rows, dead(node, 30e6));
      const fine = [Outcome.completed, Outcome.failed] as number[];
      expect(outcomes.every((outcome) => fine.includes(outcome))).toBe(true);
      expect(outcomes.slice(-10)).toEqual(range(0, 10).map(() => Outcome.completed));
      expect(simulation.nowNs).toBeLessThan(1e9);
      expect(ends.length).toBeGreaterThan(0);
    },
  );
});
