/** What the directory answers for one request, as policies see it. */
import type { Directory } from './directory.ts';
import type { ClusterView, PrefixMatch } from './policy.ts';
import { BlockSpan, type Request } from './request.ts';
import { Tier, type Topology } from './topology.ts';

const NO_BLOCKS = new BlockSpan(new Int32Array(0), 0, 0);

/** The directory's answer on the blocks of one request, as policies see it. */
export class DirectoryMatch implements PrefixMatch {
  private readonly directory: Directory;
  private readonly nodeOf: Int32Array;
  /** What an instance may get from other nodes: nothing, runs that one holds, or single blocks. */
  private readonly reach: 'local' | 'whole' | 'spread';
  private blocks: BlockSpan = NO_BLOCKS;
  private pooledBlocks = 0;

  /** Best node by load, or -1 where load is not looked at. */
  private preferred = -1;

  constructor(directory: Directory, topology: Topology, reach: DirectoryMatch['reach']) {
    this.directory = directory;
    this.reach = reach;
    this.nodeOf = Int32Array.from(topology.instances, (spec) => spec.node);
  }

  of(blocks: BlockSpan): void {
    this.blocks = blocks;
    this.preferred = -1;
    this.directory.match(blocks);
    if (this.reach === 'spread') this.pooledBlocks = this.directory.pooledBlocks(blocks);
  }

  get bestBlocks(): number {
    if (this.reach === 'spread') return this.pooledBlocks;
    return this.reach === 'whole' ? this.directory.bestBlocks : 0;
  }

  get bestNode(): number {
    if (this.bestBlocks === 0) return -1;
    return this.preferred < 0 ? this.directory.bestNode : this.preferred;
  }

  /** Of the nodes with the longest run, names the one that has least to send. */
  preferIdle(view: ClusterView): void {
    const { matched, bestBlocks, bestNode } = this.directory;
    this.preferred = bestNode;
    for (let node = bestNode + 1; bestBlocks > 0 && node < matched.length; node++) {
      const idler = view.sendingNs(node) < view.sendingNs(this.preferred);
      if (matched[node] === bestBlocks && idler) this.preferred = node;
    }
  }

  localBlocks(instance: number): number {
    return this.directory.localBlocks(instance, this.nodeOf[instance], this.blocks);
  }

  tierBlocks({ blocks }: Request, instance: number, tier: Tier): number {
    const matched = this.localBlocks(instance);
    let count = 0;
    for (let depth = 0; depth < matched; depth++) {
      if (this.fastestTier(instance, blocks.at(depth)) === tier) count++;
    }
    return count;
  }

  private fastestTier(instance: number, block: number): Tier {
    const { directory } = this;
    if (directory.isInHbm(instance, block)) return Tier.hbm;
    return directory.hasIn(this.nodeOf[instance], Tier.dram, block) ? Tier.dram : Tier.ssd;
  }
}
