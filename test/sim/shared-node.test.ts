/** Several engines on one node share its host bus and its rails. */
import { describe, expect, it } from 'vitest';
import type { Host, Machine, TransferKind } from '../../src/core/host.ts';
import { AddressBook, Tier } from '../../src/core/topology.ts';
import { Simulation } from '../../src/sim/simulation.ts';
import { tinyCosts, tinyTopology } from '../support/tiny.ts';

/** Nodes 0 and 1, each with two engines: 0 and 1, 2 and 3. */
const topology = tinyTopology({ prefill: 0, decode: 0, mixed: 2 });
const addresses = new AddressBook(topology);
const BYTES = 8_000;

interface Move {
  readonly kind: TransferKind;
  readonly from: number;
  readonly to: number;
  /** Engine at the hbm end or ends. */
  readonly source: number;
  readonly target: number;
}

/** When each of these ended that began together. */
function ends(moves: readonly Move[]): number[] {
  const simulation = new Simulation({
    topology,
    costs: tinyCosts(topology),
    loadOverlap: 'layerwise',
    observers: [],
    disturbance: null,
    rails: null,
  });
  const atNs: number[] = [];
  const host: Host = simulation.host(addresses.store(0));
  const machine: Machine = {
    handle(fact) {
      if (fact.body.kind === 'transferEnded') atNs[fact.body.transfer - 1] = fact.atNs;
    },
  };
  const idle: Machine = { handle: () => {} };
  const own = addresses.store(0);
  simulation.setMachines(
    Array.from({ length: addresses.count }, (_, at) => (at === own ? machine : idle)),
  );
  for (const [at, { kind, from, to, source, target }] of moves.entries()) {
    const place = (node: number, instance: number) => ({
      node,
      tier: instance < 0 ? Tier.dram : Tier.hbm,
      instance,
      slots: null,
    });
    host.startTransfer({
      id: at + 1,
      kind,
      request: at,
      source: place(from, source),
      target: place(to, target),
      tokens: BYTES / 4,
      bytes: BYTES,
      blocks: 0,
      afterStep: 0,
      weight: 1,
    });
  }
  simulation.run();
  return atNs;
}

const load = (node: number, engine: number): Move => ({
  kind: 'load',
  from: node,
  to: node,
  source: -1,
  target: engine,
});
const stream = (source: number, target: number): Move => ({
  kind: 'stream',
  from: 0,
  to: 1,
  source,
  target,
});

describe('two engines of one node', () => {
  // 8,000 B at 2 B/ns and 500 ns of latency.
  it('load at half the rate each', () => {
    expect(ends([load(0, 0)])).toEqual([4_500]);
    expect(ends([load(0, 0), load(0, 1)])).toEqual([8_500, 8_500]);
  });

  it('do not disturb those of another node', () => {
    expect(ends([load(0, 0), load(1, 2)])).toEqual([4_500, 4_500]);
  });

  // 8,000 B at 1 B/ns and 1 us of latency.
  it('send over the same rails', () => {
    expect(ends([stream(0, 2)])).toEqual([9_000]);
    expect(ends([stream(0, 2), stream(1, 3)])).toEqual([17_000, 17_000]);
  });
});
