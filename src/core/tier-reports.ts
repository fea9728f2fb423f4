/** What stores report of their tiers, on its way into the directory: news is taken, and once. */
import type { ConductorWorld } from './conductor.ts';
import type { Directory } from './directory.ts';
import type * as M from './messages.ts';
import type { Occupancy } from './occupancy.ts';
import { Tier } from './topology.ts';

/** Life of a machine that no inventory has told of. */
export const UNHEARD = -1;

export class TierReports {
  readonly world: ConductorWorld;
  private readonly directory: Directory;
  private readonly occupancy: Occupancy;
  /** By tiers' rows: deltas seen, and the life of the store that was heard last. */
  private readonly sequences: Float64Array;
  private readonly lives: Float64Array;

  constructor(world: ConductorWorld, directory: Directory, occupancy: Occupancy) {
    this.world = world;
    this.directory = directory;
    this.occupancy = occupancy;
    const { nodes, instances } = world.topology;
    this.sequences = new Float64Array(2 * nodes.length + instances.length);
    this.lives = new Float64Array(this.sequences.length).fill(UNHEARD);
  }

  /** What became readable and what went; false when it is no news. */
  takeDelta(body: M.Delta): boolean {
    const { node, tier, instance, stored, removed } = body;
    const { directory } = this;
    if (!this.isNews(body)) return false;
    if (tier === Tier.hbm) {
      const hbm = directory.hbmOf(instance);
      for (const block of removed) hbm.delete(block);
      for (const block of stored) hbm.add(block);
      return true;
    }
    if (tier === Tier.dram) this.occupancy.add(node, stored.length - removed.length);
    for (let i = 0; i < removed.length; i++) directory.remove(node, tier, removed[i]);
    for (let i = 0; i < stored.length; i++) directory.add(node, tier, stored[i]);
    return true;
  }

  /** Whether an inventory is news; a store that began anew counts from one. */
  meets(body: M.BlockInventory): boolean {
    const { node, tier, instance, incarnation } = body;
    const { lives } = this;
    const row = this.rowOf(node, tier, instance);
    if (incarnation > lives[row]) {
      if (lives[row] !== UNHEARD || incarnation > 0) this.sequences[row] = 0;
      lives[row] = incarnation;
    }
    return this.isNews(body);
  }

  /** All that a tier has. */
  takeInventory({ node, tier, instance, blocks }: M.BlockInventory): void {
    const { directory, occupancy } = this;
    if (tier === Tier.hbm) {
      const hbm = directory.hbmOf(instance);
      hbm.clear();
      for (const block of blocks) hbm.add(block);
      return;
    }
    if (tier === Tier.dram) {
      occupancy.setAlive(node, true);
      occupancy.set(node, blocks.length);
    }
    directory.clear(node, tier);
    for (let i = 0; i < blocks.length; i++) directory.add(node, tier, blocks[i]);
  }

  /** The node's store is gone, and what was in its tiers. */
  lose(node: number): void {
    const { directory } = this;
    this.occupancy.setAlive(node, false);
    for (const tier of [Tier.dram, Tier.ssd]) directory.clear(node, tier);
    for (const spec of this.world.topology.instances) {
      if (spec.node === node) directory.hbmOf(spec.id).clear();
    }
  }

  /** Whether a report on a tier is later than all that were heard of it. */
  private isNews({ node, tier, instance, sequence }: M.Delta | M.BlockInventory): boolean {
    const row = this.rowOf(node, tier, instance);
    if (sequence <= this.sequences[row]) return false;
    this.sequences[row] = sequence;
    return true;
  }

  private rowOf(node: number, tier: Tier, instance: number): number {
    const { nodes } = this.world.topology;
    return tier === Tier.hbm ? 2 * nodes.length + instance : 2 * node + tier - 1;
  }
}
