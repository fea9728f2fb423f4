/** Observers for what a figure needs beyond the result. */
import type { Transfer } from '../../core/host.ts';
import type { BlockInventory, Delta, Fact, Message } from '../../core/messages.ts';
import type { Observer } from '../../core/observer.ts';
import { type Address, Tier, type Topology } from '../../core/topology.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import type { FetchTimes, ReplicaSeries } from './types.ts';

const NS_PER_S = 1e9;
/** Figure 11 samples every 30 s. */
const REPLICA_SAMPLE_NS = 30 * NS_PER_S;
const TOP = 10;
/** Ranks of popularity whose copies are counted; 1 is the most accessed block. */
export const RANKS = [...Array.from({ length: TOP }, (_, i) => i + 1), 100, 1000, 10_000];

/** Counts the nodes with a copy of some blocks over time, in DRAM or on SSD, as stores report. */
export class ReplicaWatch implements Observer {
  /** Row of a block among those that are counted, or -1. */
  private readonly rowOf: Int32Array;
  private readonly blockOf: readonly (number | undefined)[];
  /** Places that hold each of them: two for a node, one for each tier. */
  private readonly holders: readonly Set<number>[];
  private readonly samples: number[][] = RANKS.map(() => []);
  private nextNs = REPLICA_SAMPLE_NS;
  private readonly endNs: number;

  constructor(trace: TraceColumns) {
    const ranked = byPopularity(trace);
    this.blockOf = RANKS.map((rank) => ranked[rank - 1]);
    this.rowOf = new Int32Array(trace.distinctBlocks).fill(-1);
    this.blockOf.forEach((block, row) => {
      if (block !== undefined) this.rowOf[block] = row;
    });
    this.holders = RANKS.map(() => new Set());
    this.endNs = trace.arrivalNs.at(-1) ?? 0;
  }

  onFact(_to: Address, fact: Fact): void {
    while (fact.atNs >= this.nextNs && this.nextNs <= this.endNs) this.sample();
  }

  onSend(_from: Address, _to: Address, message: Message): void {
    if (message.kind === 'delta' && message.tier !== Tier.hbm) this.onDelta(message);
    else if (message.kind === 'blockInventory' && message.tier !== Tier.hbm) {
      this.onInventory(message);
    }
  }

  finish(): ReplicaSeries {
    while (this.nextNs <= this.endNs) this.sample();
    const ranks = Object.fromEntries(RANKS.map((rank, row) => [rank, this.samples[row]]));
    const topTen = this.holders.slice(0, TOP).map(nodesOf);
    return {
      sampleNs: REPLICA_SAMPLE_NS,
      samples: this.samples[0].length,
      ranks,
      fewestOfTopTen: Math.min(...topTen),
    };
  }

  private sample(): void {
    this.nextNs += REPLICA_SAMPLE_NS;
    this.holders.forEach((holders, row) => {
      this.samples[row].push(nodesOf(holders));
    });
  }

  private onDelta({ node, tier, stored, removed }: Delta): void {
    const place = placeOf(node, tier);
    for (const block of removed) this.holdersOf(block)?.delete(place);
    for (const block of stored) this.holdersOf(block)?.add(place);
  }

  private onInventory({ node, tier, blocks }: BlockInventory): void {
    const place = placeOf(node, tier);
    for (const holders of this.holders) holders.delete(place);
    for (const block of blocks) this.holdersOf(block)?.add(place);
  }

  private holdersOf(block: number): Set<number> | undefined {
    return this.holders[this.rowOf[block]];
  }
}

function placeOf(node: number, tier: Tier): number {
  return 2 * node + (tier === Tier.ssd ? 1 : 0);
}

/** Nodes of some places. */
function nodesOf(places: ReadonlySet<number>): number {
  return new Set(Array.from(places, (place) => place >> 1)).size;
}

/** Blocks by how many requests have them, most first; equal ones in order of appearance. */
function byPopularity({ blocks, distinctBlocks }: TraceColumns): number[] {
  const uses = new Int32Array(distinctBlocks);
  for (const block of blocks) uses[block]++;
  const order = Array.from(uses, (_, block) => block);
  return order.sort((a, b) => uses[b] - uses[a] || a - b);
}

/** Times the fetches of cached KV between nodes. */
export class FetchWatch implements Observer {
  private readonly started = new Map<number, { readonly atNs: number; readonly bytes: number }>();
  private bytesPerNs = 0;
  private fetches = 0;
  private totalNs = 0;
  private totalBytes = 0;

  begin({ nodes }: Topology): void {
    const [{ rails }] = nodes;
    this.bytesPerNs = rails.reduce((sum, rail) => sum + rail.bytesPerNs, 0);
  }

  onTransfer(from: Address, { id, kind, bytes }: Transfer, atNs: number): void {
    if (kind === 'fetch') this.started.set(keyOf(from, id), { atNs, bytes });
  }

  onFact(to: Address, { atNs, body }: Fact): void {
    if (body.kind !== 'transferEnded') return;
    const key = keyOf(to, body.transfer);
    const started = this.started.get(key);
    if (started === undefined) return;
    this.started.delete(key);
    if (!body.ok) return;
    this.fetches++;
    this.totalNs += atNs - started.atNs;
    this.totalBytes += started.bytes;
  }

  finish(): FetchTimes {
    const { fetches, totalNs, totalBytes, bytesPerNs } = this;
    const mean = (total: number) => (fetches === 0 ? 0 : total / fetches / NS_PER_S);
    return {
      fetches,
      meanSeconds: mean(totalNs),
      theorySeconds: mean(totalBytes / bytesPerNs),
    };
  }
}

/** Ids are unique to the machine that gives them; they carry a life of it above 2^32. */
function keyOf(machine: Address, id: number): number {
  return machine * 2 ** 42 + id;
}
