/** How full the nodes' DRAM is, as the conductor believes from what the stores report. */
import type { Directory } from './directory.ts';
import type { ReplicationView } from './policy.ts';
import { Tier, type Topology } from './topology.ts';

export class Occupancy implements ReplicationView {
  nowNs = 0;
  private readonly directory: Directory | null;
  readonly nodes: readonly number[];
  private readonly capacity: Float64Array;
  private readonly used: Float64Array;

  constructor({ nodes, kv }: Topology, directory: Directory | null = null) {
    this.directory = directory;
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

  replicas(block: number): number {
    return this.directory?.replicas(block) ?? 0;
  }

  holds(node: number, block: number): boolean {
    return this.directory?.has(node, block) === true;
  }

  add(node: number, blocks: number): void {
    this.used[node] += blocks;
  }

  set(node: number, blocks: number): void {
    this.used[node] = blocks;
  }
}
