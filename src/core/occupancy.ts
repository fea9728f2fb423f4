/** How full the nodes' DRAM is, as the conductor believes from what the stores report. */
import type { Directory } from './directory.ts';
import type { ReplicationView } from './policy.ts';
import { Tier, type Topology } from './topology.ts';

export class Occupancy implements ReplicationView {
  nowNs = 0;
  private readonly directory: Directory | null;
  /** Another array when nodes come or go. */
  nodes: readonly number[];
  private readonly dead = new Set<number>();
  private readonly leaving = new Set<number>();
  private readonly capacity: Float64Array;
  private readonly used: Float64Array;

  constructor({ nodes, kv }: Topology, directory: Directory | null = null) {
    this.directory = directory;
    const blockBytes = kv.blockTokens * kv.bytesPerToken[Tier.dram];
    this.capacity = Float64Array.from(nodes, (node) =>
      Math.floor(node.dramCapacityBytes / blockBytes),
    );
    this.used = new Float64Array(nodes.length);
    this.nodes = this.usable();
  }

  slots(node: number): number {
    return this.capacity[node];
  }

  usedRatio(node: number): number {
    return this.used[node] / this.capacity[node];
  }

  replicas(block: number): number {
    return this.directory?.replicas(block) ?? 0;
  }

  holds(node: number, block: number): boolean {
    return this.directory?.has(node, block) === true;
  }

  add(node: number, blocks: number): void {
    this.used[node] += blocks;
  }

  /** Its store died, with what it held, or began anew. */
  setAlive(node: number, alive: boolean): void {
    if (this.dead.has(node) !== alive) return;
    if (alive) this.dead.delete(node);
    else {
      this.dead.add(node);
      this.leaving.delete(node);
    }
    this.used[node] = 0;
    this.nodes = this.usable();
  }

  /** It is going, or stays after all: one that goes is given nothing more. */
  setLeaving(node: number, leaving: boolean): void {
    if (this.dead.has(node) || this.leaving.has(node) === leaving) return;
    if (leaving) this.leaving.add(node);
    else this.leaving.delete(node);
    this.nodes = this.usable();
  }

  private usable(): number[] {
    const nodes: number[] = [];
    for (let node = 0; node < this.capacity.length; node++) {
      const offered = this.capacity[node] > 0 && !this.dead.has(node);
      if (offered && !this.leaving.has(node)) nodes.push(node);
    }
    return nodes;
  }

  set(node: number, blocks: number): void {
    this.used[node] = blocks;
  }
}
