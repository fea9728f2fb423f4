/** Replication: what is copied where, by hand; and that a copy arrives. */
import { describe, expect, it } from 'vitest';
import type { PolicyContext, ReplicationView } from '../../src/core/policy.ts';
import heat from '../../src/policy/replication/heat-threshold.ts';
import copies from '../../src/policy/replication/k-copies.ts';
import { simulate } from '../support/simulate.ts';
import { ended, requestOf, tellers } from '../support/teller.ts';
import { randomTrace, tinyPlan, tinyTopology } from '../support/tiny.ts';

const CONTEXT = {} as PolicyContext;
const HEAT = { gets: 3, window: 10, replicas: 2, below: 0.85, cooldown: 30 };

/** Nodes 0 to 2; `held[node]` are its blocks, `used[node]` its use. */
function view(nowNs: number, held: readonly number[][], used = [0.5, 0.4, 0.3]): ReplicationView {
  return {
    nowNs,
    nodes: [0, 1, 2],
    usedRatio: (node) => used[node],
    replicas: (block) => held.filter((blocks) => blocks.includes(block)).length,
    holds: (node, block) => held[node].includes(block),
  };
}

describe('heat-threshold', () => {
  const request = requestOf(1, [7, 8, 9]);
  const held = [[7, 8], [], []];

  it('copies what is hot to the emptiest node, and rests', () => {
    const policy = heat.create(CONTEXT, HEAT);
    const ask = (nowNs: number) => policy.onRequest(request, view(nowNs, held));
    expect([ask(0), ask(1)]).toEqual([[], []]);
    expect(ask(2)).toEqual([{ source: 0, target: 2, blocks: 2 }]);
    expect(ask(3)).toEqual([]);
  });

  it('forgets gets of another window, and leaves full nodes and replicated blocks alone', () => {
    const policy = heat.create(CONTEXT, HEAT);
    for (const nowNs of [0, 1, 10e9]) policy.onRequest(request, view(nowNs, held));
    expect(policy.onRequest(request, view(11e9, held))).toEqual([]);
    expect(policy.onRequest(request, view(12e9, held, [0.9, 0.9, 0.9]))).toEqual([]);
    expect(policy.onRequest(request, view(12e9, [[7, 8], [7, 8], []]))).toEqual([]);
    expect(policy.onRequest(request, view(12e9, held))).toHaveLength(1);
  });
});

describe('k-copies', () => {
  it('copies to the emptiest nodes until k have the prompt', () => {
    const policy = copies.create(CONTEXT, { copies: 3 });
    const request = requestOf(1, [7, 8]);
    const none = view(0, [[], [], []]);
    expect(policy.onComputed(request, 0, none)).toEqual([
      { source: 0, target: 2, blocks: 2 },
      { source: 0, target: 1, blocks: 2 },
    ]);
    const two = view(0, [[7, 8], [], [7, 8]]);
    expect(policy.onComputed(request, 0, two)).toEqual([{ source: 0, target: 1, blocks: 2 }]);
  });
});

describe('a replica', () => {
  it('is fetched by its store for nobody in particular', async () => {
    const cluster = tellers(await tinyPlan({ topology: tinyTopology() }));
    const [store] = cluster.stores;
    const request = requestOf(1, [7, 8, 9]);
    const asked = store.tell({ kind: 'replicate', request, source: 1, blocks: 2 }, 1);
    const [{ lease, blocks }] = asked.messages('leaseRequest');
    expect(blocks).toEqual([7, 8]);
    const slots = [4, 5];
    const range = { segment: 1, slots, generations: slots, checksums: slots };
    const grant = { kind: 'leaseGrant', lease, tier: 1, more: false, ttlNs: 10e6, range } as const;
    const [move] = store.tell(grant, cluster.addresses.store(1)).transfers;
    const done = store.tell(ended(move));
    expect(done.messages('fetched')).toEqual([]);
    expect(store.machine.dram.findReady(8)).toBeGreaterThanOrEqual(0);
    store.machine.checkIdle(0);
  });

  it('is made of every prompt under k-copies', async () => {
    const topology = tinyTopology({ prefill: 3, dramBlocks: 200 });
    const plan = await tinyPlan({ topology, policies: { replication: 'k-copies' } });
    const run = simulate({ plan, trace: randomTrace(3) });
    expect(run.cluster.conductor.directory.replicas(0)).toBeGreaterThanOrEqual(2);
    for (const store of run.cluster.stores) store.checkIdle(0);
  });

  it('between nodes that are none is stopped at the port', async () => {
    const planned = await tinyPlan({ topology: tinyTopology() });
    const replication = {
      name: 'mine',
      create: () => ({
        keepsFetched: true,
        watches: true,
        onRequest: () => [{ source: 0, target: 99, blocks: 1 }],
        onComputed: () => [],
      }),
    };
    const plan = { ...planned, policies: { ...planned.policies, replication } };
    expect(() => simulate({ plan, trace: randomTrace(3) })).toThrow(
      'the replication policy wants 1 blocks from 0 to 99',
    );
  });
});
