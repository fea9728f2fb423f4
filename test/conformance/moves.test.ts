/** Blocks follow their homes on every host: all of a node that drains, its share when it stays. */
import { expect, it } from 'vitest';
import { bucketOf } from '../../src/core/bucket-map.ts';
import { Count, Mark } from '../../src/core/host.ts';
import type { LoggedMachine } from '../../src/core/log.ts';
import type { Fact, Message } from '../../src/core/messages.ts';
import type { Observer } from '../../src/core/observer.ts';
import { Outcome } from '../../src/core/request.ts';
import { type Address, AddressBook, CONDUCTOR } from '../../src/core/topology.ts';
import { checkAtRest, clusterOn, describeHosts } from '../support/hosts.ts';
import { MovesSeen } from '../support/moving.ts';
import { expectReplays } from '../support/replays.ts';
import { type TraceRow, tinyPlan, tinyTopology, traceOf } from '../support/tiny.ts';

const PROMPTS = 8;
const BLOCKS = 5;
const LEAVES = 1;

/** Says something to the conductor when so many requests have ended. */
class Orders implements Observer {
  private ended = 0;
  private readonly orders: ReadonlyMap<number, Message>;
  private readonly say: (message: Message) => void;

  constructor(orders: ReadonlyMap<number, Message>, say: (message: Message) => void) {
    this.orders = orders;
    this.say = say;
  }

  onFact(_to: Address, { body }: Fact): void {
    if (body.kind !== 'terminal') return;
    const order = this.orders.get(++this.ended);
    if (order !== undefined) this.say(order);
  }
}

describeHosts('blocks that follow their homes on %s', (kind) => {
  async function play(orders: ReadonlyMap<number, Message>, rate: number) {
    const topology = tinyTopology({ prefill: 3, decode: 1, dramBlocks: 80 });
    const moves = {
      bytesPerNs: rate,
      railShare: 0,
      inFlight: 2,
      batchBlocks: 3,
      lingerNs: 300_000,
    };
    const plan = await tinyPlan({
      topology,
      policies: { placement: 'bucket-map:buckets=64', replication: 'none' },
      settings: { store: { moves, leaseTtlNs: 1e9, guardNs: 1e8 }, conductor: { moves: true } },
    });
    // Each prompt after the one before: twice all of them.
    const rows = Array.from({ length: 2 * PROMPTS }, (_, row): TraceRow => {
      const from = (row % PROMPTS) * BLOCKS;
      const blocks = Array.from({ length: BLOCKS }, (__, i) => from + i);
      return { atNs: 0, blocks, outputTokens: 2, ...(row > 0 ? { parent: row - 1 } : {}) };
    });
    const trace = traceOf(rows);
    const seen = new MovesSeen(new AddressBook(topology));
    const observer = new Orders(orders, (message) => run.ingress.send(CONDUCTOR, message));
    const run = clusterOn(kind, { plan, trace, observers: [seen, observer], segmentFacts: 80 });
    await run.run();
    expect([...run.recorder.column(Mark.outcome)]).toEqual(rows.map(() => Outcome.completed));
    expect(run.recorder.counts[Count.staleMiss]).toBe(0);
    expect(run.recorder.counts[Count.droppedMove]).toBe(0);
    expect(seen.inFlightMost).toBeLessThanOrEqual(moves.inFlight);
    const machines = run.cluster.machines as readonly LoggedMachine[];
    expect(expectReplays(run.plan, trace, run.logs, machines)).toBeGreaterThan(run.logs.length);
    checkAtRest(run, trace.distinctBlocks);
    return { run, seen };
  }

  const drain: Message = { kind: 'drain', node: LEAVES };
  const blocks = Array.from({ length: PROMPTS * BLOCKS }, (_, block) => block);

  it('all that a node has that drains is elsewhere, and no prompt misses it', async () => {
    const { run, seen } = await play(new Map([[PROMPTS, drain]]), 0.01);
    const homes = seen.maps.at(-1)!;
    expect(homes).not.toContain(LEAVES);
    const { stores } = run.cluster;
    expect(run.cluster.conductor.isSettled(LEAVES)).toBe(true);
    expect(stores[LEAVES].moves).toMatchObject({ remaining: 0, stuck: 0 });
    expect(stores[LEAVES].moves.movedBlocks).toBeGreaterThan(0);
    for (const block of blocks) {
      const holders = stores.map((_, node) => node).filter((n) => stores[n].tiers.isReady(block));
      expect([block, holders]).toEqual([block, [homes[bucketOf(block, homes.length)]]]);
    }
    for (let row = PROMPTS; row < 2 * PROMPTS; row++) {
      const tokens = [Mark.dramTokens, Mark.peerTokens].map(
        (mark) => run.recorder.column(mark)[row] || 0,
      );
      expect(tokens[0] + tokens[1]).toBe(BLOCKS * 16 - 1);
    }
  });

  it('a node that stays after all gets its share back, in the midst of moves', async () => {
    const stays: Message = { kind: 'setRoles', term: 0, instance: LEAVES, roles: ['prefill'] };
    const orders = new Map<number, Message>([
      [PROMPTS, drain],
      [PROMPTS + 1, stays],
    ]);
    const { run, seen } = await play(orders, 0.002);
    const homes = seen.maps.at(-1)!;
    expect(homes).toContain(LEAVES);
    for (const block of blocks) {
      const home = homes[bucketOf(block, homes.length)];
      expect([block, run.cluster.stores[home].tiers.isReady(block)]).toEqual([block, true]);
    }
  });
});
