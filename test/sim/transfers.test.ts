/** Transfers over the resources of a cluster: how long they take alone, and who shares what. */
import { describe, expect, it } from 'vitest';
import type { Transfer, TransferKind } from '../../src/core/host.ts';
import { AddressBook, Tier, type Topology } from '../../src/core/topology.ts';
import { FluidNetwork } from '../../src/sim/fluid.ts';
import { railPolicies } from '../../src/sim/rails.ts';
import { type Moving, RAIL_TIMEOUT_NS, Transfers } from '../../src/sim/transfers.ts';
import { tinyPlan, tinyTopology } from '../support/tiny.ts';

interface End {
  readonly node: number;
  readonly tier: Tier;
}

let ids = 0;

function transfer(kind: TransferKind, source: End, target: End, bytes: number): Transfer {
  const place = ({ node, tier }: End) => {
    const instance = tier === Tier.hbm ? node : -1;
    return { node, tier, instance, slots: null };
  };
  return {
    id: ++ids,
    kind,
    request: 0,
    source: place(source),
    target: place(target),
    tokens: bytes,
    bytes,
    blocks: 0,
    afterStep: 0,
    weight: 1,
  };
}

interface World {
  readonly network: FluidNetwork;
  readonly transfers: Transfers;
}

async function world(topology: Topology, rail?: string): Promise<World> {
  const network = new FluidNetwork();
  if (rail === undefined) return { network, transfers: new Transfers(topology, network) };
  const plan = await tinyPlan({ topology, policies: { rail } });
  return { network, transfers: new Transfers(topology, network, railPolicies(plan, true)) };
}

/** Starts all at 0, initiated by the target's store. */
function start({ transfers }: World, topology: Topology, moves: readonly Transfer[]): Moving[] {
  const addresses = new AddressBook(topology);
  return moves.map((m) => transfers.start(0, addresses.store(m.target.node), m, 0)!);
}

/** Runs to the end; when each ends, latency included. */
function finish({ transfers }: World, moving: readonly Moving[]): number[] {
  const endNs = new Map<Moving, number>();
  for (let atNs = transfers.nextEndNs(); atNs < Infinity; atNs = transfers.nextEndNs()) {
    for (let m = transfers.popEnded(atNs); m !== null; m = transfers.popEnded(atNs)) {
      endNs.set(m, atNs + m.latencyNs);
    }
  }
  return moving.map((m) => endNs.get(m)!);
}

async function ends(
  topology: Topology,
  moves: readonly Transfer[],
  rail?: string,
): Promise<number[]> {
  const on = await world(topology, rail);
  return finish(on, start(on, topology, moves));
}

const dram = (node: number): End => ({ node, tier: Tier.dram });
const ssd = (node: number): End => ({ node, tier: Tier.ssd });
const hbm = (node: number): End => ({ node, tier: Tier.hbm });

describe('SSD', () => {
  // Reads at 0.5 B/ns, writes at 0.25, 2 us to start; rails at 1 B/ns, 1 us; the bus at 2, 500 ns.
  const topology = tinyTopology({ ssdBlocks: 64 });

  it('reads into DRAM, writes from it', async () => {
    expect(await ends(topology, [transfer('load', ssd(0), dram(0), 1_000)])).toEqual([4_000]);
    expect(await ends(topology, [transfer('save', dram(0), ssd(0), 1_000)])).toEqual([6_000]);
  });

  it('goes on into HBM and to other nodes at the slowest pace, start-ups added', async () => {
    expect(await ends(topology, [transfer('load', ssd(0), hbm(0), 1_000)])).toEqual([4_500]);
    expect(await ends(topology, [transfer('fetch', ssd(0), dram(1), 1_000)])).toEqual([5_000]);
    expect(await ends(topology, [transfer('save', hbm(0), ssd(0), 1_000)])).toEqual([6_500]);
  });

  it('is shared by its readers and not with its writers', async () => {
    const moves = [
      transfer('load', ssd(0), dram(0), 1_000),
      transfer('fetch', ssd(0), dram(1), 1_000),
      transfer('save', dram(0), ssd(0), 1_000),
    ];
    expect(await ends(topology, moves)).toEqual([6_000, 7_000, 6_000]);
  });
});

describe('rails apart', () => {
  // Two rails of 0.5 B/ns, one at each socket; 0.5 B/ns between the sockets; slices of 64 bytes.
  const topology = tinyTopology({ prefill: 3, rails: 2 });
  const fetch = (from: number, to: number, bytes: number, request = 0) => ({
    ...transfer('fetch', dram(from), dram(to), bytes),
    request,
  });

  it('give a lone transfer what one resource would', async () => {
    for (const rail of ['even', 'round-robin', 'least-queued']) {
      expect(await ends(topology, [fetch(0, 1, 6_400)], rail), rail).toEqual([7_400]);
    }
    expect(await ends(topology, [fetch(0, 1, 6_400)])).toEqual([7_400]);
  });

  it('nearest: half of the rails, and what lies at the other socket goes beside it', async () => {
    expect(await ends(topology, [fetch(0, 1, 6_400)], 'nearest')).toEqual([13_800]);
    const both = [fetch(0, 1, 6_400, 0), fetch(0, 1, 6_400, 1)];
    expect(await ends(topology, both, 'nearest')).toEqual([13_800, 13_800]);
    expect(await ends(topology, both, 'even')).toEqual([13_800, 13_800]);
  });

  it('share the link between the sockets', async () => {
    const narrow = {
      ...topology,
      nodes: topology.nodes.map((node) => ({ ...node, socketBytesPerNs: 0.1 })),
    };
    // Half of the bytes cross at both ends: 3,200 at 0.1 B/ns.
    expect(await ends(narrow, [fetch(0, 1, 6_400)], 'even')).toEqual([33_000]);
    expect(await ends(narrow, [fetch(0, 1, 6_400)], 'nearest')).toEqual([13_800]);
  });

  it('spray: learns that a rail is slow', async () => {
    const on = await world(topology, 'spray');
    on.transfers.setRail(0, 0, 1, 0.1);
    let sent = 0;
    const addresses = new AddressBook(topology);
    const took: number[] = [];
    for (let atNs = 0; sent < 30; sent++) {
      const move = fetch(0, 1, 64_000);
      const moving = on.transfers.start(atNs, addresses.store(1), move, 0)!;
      const [endNs] = finish(on, [moving]);
      took.push(endNs - atNs);
      atNs = endNs;
    }
    // First a quarter, as it is far: 320 us. Best: 64,000 bytes at 0.55 B/ns, 116 us.
    expect(took[0]).toBeGreaterThan(300_000);
    expect(took.at(-1)).toBeLessThan(130_000);
  });

  it('send over the others what a dead rail had left, and nothing more over it', async () => {
    const on = await world(topology, 'even');
    const [moving] = start(on, topology, [fetch(0, 1, 6_400)]);
    expect(on.transfers.setRail(3_200, 1, 0, 0)).toEqual([]);
    // Each rail has moved 1,600 bytes; 3,200 are left for one rail at 0.5 B/ns: 6,400 ns more.
    const [endNs] = finish(on, [moving]);
    const lateNs = endNs - (3_200 + 6_400 + 1_000 + RAIL_TIMEOUT_NS);
    expect(Math.abs(lateNs)).toBeLessThanOrEqual(1);
    const names = Array.from({ length: on.network.resourceCount }, (_, r) => r);
    const moved = (name: string) =>
      on.network.bytesMoved(names.find((r) => on.network.resourceName(r) === name)!, 1e8);
    expect([moved('n1/r0-in'), moved('n1/r1-in')]).toEqual([1_600, 4_800]);
    expect(moved('n0/r0-out') + moved('n0/r1-out')).toBe(6_400);
    on.transfers.setRail(1e8, 1, 0, 1);
    const again = on.transfers.start(
      1e8,
      new AddressBook(topology).store(1),
      fetch(0, 1, 6_400),
      0,
    );
    expect(finish(on, [again!])).toEqual([1e8 + 7_400]);
  });

  it('fail a transfer that has no rail left, and do not start one', async () => {
    const on = await world(topology, 'nearest');
    const [moving] = start(on, topology, [fetch(0, 1, 6_400)]);
    expect(on.transfers.setRail(100, 0, 1, 0)).toEqual([]);
    expect(on.transfers.setRail(100, 0, 0, 0)).toEqual([moving]);
    expect(on.transfers.stop(100, moving)).toBe(0);
    expect(on.transfers.start(100, new AddressBook(topology).store(1), fetch(0, 1, 64), 0)).toBe(
      null,
    );
  });

  it('leave a rack over its uplink alone', async () => {
    // Racks of two: 0 and 1, 2 and 3. Uplinks of half of two nodes' rails: 1 B/ns.
    const racks = tinyTopology({ prefill: 4, racks: 2 });
    const within = [fetch(0, 1, 1_000), fetch(1, 0, 1_000)];
    const out = [fetch(0, 2, 1_000), fetch(1, 3, 1_000)];
    expect(await ends(racks, within)).toEqual([2_000, 2_000]);
    expect(await ends(racks, out)).toEqual([3_000, 3_000]);
    expect(await ends(racks, out, 'nearest')).toEqual([3_000, 3_000]);
  });
});
