/** Copies of blocks that the replication policy wants, ordered of the stores to have them. */
import type { ConductorWorld } from './conductor.ts';
import { PolicyError } from './errors.ts';
import type { Occupancy } from './occupancy.ts';
import type { Replica, ReplicationPolicy } from './policy.ts';
import type { Request } from './request.ts';

export class Replicas {
  readonly world: ConductorWorld;
  private readonly policy: ReplicationPolicy;
  private readonly occupancy: Occupancy;

  constructor(world: ConductorWorld, policy: ReplicationPolicy, occupancy: Occupancy) {
    this.world = world;
    this.policy = policy;
    this.occupancy = occupancy;
  }

  /** A request has been dispatched. */
  onRequest(request: Request, nowNs: number): void {
    const { policy, occupancy } = this;
    if (!policy.watches) return;
    occupancy.nowNs = nowNs;
    this.order(request, policy.onRequest(request, occupancy));
  }

  /** A node has computed a prompt. */
  onComputed(request: Request, node: number, nowNs: number): void {
    const { policy, occupancy } = this;
    if (!policy.watches || !occupancy.nodes.includes(node)) return;
    occupancy.nowNs = nowNs;
    this.order(request, policy.onComputed(request, node, occupancy));
  }

  private order(request: Request, replicas: readonly Replica[]): void {
    const { host, addresses } = this.world;
    const { nodes } = this.occupancy;
    for (const { source, target, blocks } of replicas) {
      const known = nodes.includes(source) && nodes.includes(target) && source !== target;
      if (!known || !(blocks > 0 && blocks <= request.blocks.length)) {
        throw new PolicyError(
          `the replication policy wants ${blocks} blocks from ${source} to ${target}, expected ` +
            `up to ${request.blocks.length} between two nodes with DRAM for blocks`,
        );
      }
      host.send(addresses.store(target), { kind: 'replicate', request, source, blocks });
    }
  }
}
