/** How full the nodes' DRAM is, as the conductor believes from what the stores report. */
import type { PlacementView } from './policy.ts';
import { Tier, type Topology } from './topology.ts';

export class Occupancy implements PlacementView {
  readonly nodes: readonly number[];
  private readonly capacity: Float64Array;
  private readonly used: Float64Array;

  constructor({ nodes, kv }: Topology) {
    const blockBytes = kv.blockTokens * kv.bytesPerToken[Tier.dram];
    this.capacity = Float64Array.from(nodes, (node) =>
      Math.floor(node.dramCapacityBytes / blockBytes),
    );
    this.used = new Float64Array(nodes.length);
    this.nodes = nodes.filter(({ id }) => this.capacity[id] > 0).map(({ id }) => id);
  }

  slots(node: number): number {
    return this.capacity[node];
  }

  usedRatio(node: number): number {
    return this.used[node] / this.capacity[node];
  }

  add(node: number, blocks: number): void {
    this.used[node] += blocks;
  }

  set(node: number, blocks: number): void {
    this.used[node] = blocks;
  }
}
