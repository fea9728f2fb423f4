/** Transfers over the resources of a cluster: how long they take alone, and who shares what. */
import { describe, expect, it } from 'vitest';
import type { Transfer, TransferKind } from '../../src/core/host.ts';
import { Tier, type Topology } from '../../src/core/topology.ts';
import { FluidNetwork } from '../../src/sim/fluid.ts';
import { Transfers } from '../../src/sim/transfers.ts';
import { tinyTopology } from '../support/tiny.ts';

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

/** When each ends, latency included, if all start at 0. */
function ends(topology: Topology, moves: readonly Transfer[]): number[] {
  const network = new FluidNetwork();
  const transfers = new Transfers(topology, network);
  const moving = moves.map((move) => transfers.start(0, 0, move, 0));
  const endNs = new Map<number, number>();
  for (let atNs = transfers.nextEndNs(); atNs < Infinity; atNs = transfers.nextEndNs()) {
    for (let m = transfers.popEnded(atNs); m !== null; m = transfers.popEnded(atNs)) {
      endNs.set(m.transfer.id, atNs + m.path.latencyNs);
    }
  }
  return moving.map((m) => endNs.get(m.transfer.id)!);
}

const dram = (node: number): End => ({ node, tier: Tier.dram });
const ssd = (node: number): End => ({ node, tier: Tier.ssd });
const hbm = (node: number): End => ({ node, tier: Tier.hbm });

describe('SSD', () => {
  // Reads at 0.5 B/ns, writes at 0.25, 2 us to start; rails at 1 B/ns, 1 us; the bus at 2, 500 ns.
  const topology = tinyTopology({ ssdBlocks: 64 });

  it('reads into DRAM, writes from it', () => {
    expect(ends(topology, [transfer('load', ssd(0), dram(0), 1_000)])).toEqual([4_000]);
    expect(ends(topology, [transfer('save', dram(0), ssd(0), 1_000)])).toEqual([6_000]);
  });

  it('goes on into HBM and to another node, at the pace of the slowest and start-ups added', () => {
    expect(ends(topology, [transfer('load', ssd(0), hbm(0), 1_000)])).toEqual([4_500]);
    expect(ends(topology, [transfer('fetch', ssd(0), dram(1), 1_000)])).toEqual([5_000]);
    expect(ends(topology, [transfer('save', hbm(0), ssd(0), 1_000)])).toEqual([6_500]);
  });

  it('is shared by its readers and not with its writers', () => {
    const moves = [
      transfer('load', ssd(0), dram(0), 1_000),
      transfer('fetch', ssd(0), dram(1), 1_000),
      transfer('save', dram(0), ssd(0), 1_000),
    ];
    expect(ends(topology, moves)).toEqual([6_000, 7_000, 6_000]);
  });
});
