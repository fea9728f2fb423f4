/**
 * The prefix directory: which nodes hold which blocks, as one bit per node, and the longest cached
 * prefix on every node from one walk down a request's blocks. A hint: the stores are the truth.
 */
import type { BlockSpan } from './request.ts';
import { Tier } from './topology.ts';

const BITS = 32;
/** Tiers that a node shares with its peers. */
const SHARED_TIERS = [Tier.dram, Tier.ssd];

/** Blocks up to `until`, from where the run before ends, lie on `node`. */
export interface PooledRun {
  readonly node: number;
  readonly until: number;
}

export class Directory {
  /** After `match`: leading cached blocks on each node. */
  readonly matched: Int32Array;
  /** After `match`: the longest run, and the least node that has it (-1 when no node has any). */
  bestBlocks = 0;
  bestNode = -1;

  private readonly nodes: number;
  /** 32-bit words per block. */
  private readonly words: number;
  /** Per tier: bit n of word w of a block is set when node 32 w + n holds it. */
  private masks: Int32Array[];
  private readonly alive: Int32Array;
  /** Blocks in each instance's HBM; empty while no instance keeps any. */
  private readonly hbm = new Map<number, Set<number>>();

  constructor(nodes: number, blocks: number) {
    this.nodes = nodes;
    this.words = Math.ceil(nodes / BITS);
    this.masks = SHARED_TIERS.map(() => new Int32Array(Math.max(1, blocks) * this.words));
    this.matched = new Int32Array(nodes);
    this.alive = new Int32Array(this.words);
  }

  add(node: number, tier: Tier, block: number): void {
    this.reserve(block);
    this.masks[tier - 1][block * this.words + (node >>> 5)] |= 1 << (node & 31);
  }

  remove(node: number, tier: Tier, block: number): void {
    this.reserve(block);
    this.masks[tier - 1][block * this.words + (node >>> 5)] &= ~(1 << (node & 31));
  }

  /** Forget what a node's tier held: before an inventory, or when the node is gone. */
  clear(node: number, tier: Tier): void {
    const mask = this.masks[tier - 1];
    const keep = ~(1 << (node & 31));
    for (let i = node >>> 5; i < mask.length; i += this.words) mask[i] &= keep;
  }

  /** All blocks that a node's tier holds. */
  blocksOf(node: number, tier: Tier): number[] {
    const mask = this.masks[tier - 1];
    const bit = 1 << (node & 31);
    const blocks: number[] = [];
    for (let i = node >>> 5; i < mask.length; i += this.words) {
      if ((mask[i] & bit) !== 0) blocks.push(Math.floor(i / this.words));
    }
    return blocks;
  }

  /** The blocks that an instance keeps in its HBM: for it alone, not for its peers. */
  hbmOf(instance: number): Set<number> {
    let blocks = this.hbm.get(instance);
    if (blocks === undefined) {
      blocks = new Set();
      this.hbm.set(instance, blocks);
    }
    return blocks;
  }

  isInHbm(instance: number, block: number): boolean {
    return this.hbm.get(instance)?.has(block) === true;
  }

  /** Leading blocks that an instance of `node` has at hand: in its HBM or its node's tiers. */
  localBlocks(instance: number, node: number, blocks: BlockSpan): number {
    const hbm = this.hbm.get(instance);
    if (hbm === undefined) return this.matched[node];
    let depth = 0;
    while (depth < blocks.length) {
      const block = blocks.at(depth);
      if (!hbm.has(block) && !this.has(node, block)) break;
      depth++;
    }
    return depth;
  }

  /** Leading blocks that some node holds, one here and one there. */
  pooledBlocks(blocks: BlockSpan): number {
    let depth = 0;
    for (; depth < blocks.length; depth++) {
      let any = 0;
      for (let word = 0; word < this.words; word++) any |= this.holders(blocks.at(depth), word);
      if (any === 0) break;
    }
    return depth;
  }

  /**
   * Where `target` can get the leading blocks that it has not: runs, each from the node with the
   * longest at that place (the least id among equals).
   */
  runsFor(target: number, blocks: BlockSpan, toBlock: number): PooledRun[] {
    const runs: PooledRun[] = [];
    let depth = 0;
    while (depth < toBlock) {
      if (this.has(target, blocks.at(depth))) {
        depth++;
        continue;
      }
      let best: PooledRun = { node: -1, until: depth };
      for (let node = 0; node < this.nodes; node++) {
        let until = depth;
        while (until < toBlock && this.has(node, blocks.at(until))) until++;
        if (until > best.until) best = { node, until };
      }
      if (best.node < 0) break;
      runs.push(best);
      depth = best.until;
    }
    return runs;
  }

  has(node: number, block: number): boolean {
    return (this.holders(block, node >>> 5) & (1 << (node & 31))) !== 0;
  }

  hasIn(node: number, tier: Tier, block: number): boolean {
    const mask = this.masks[tier - 1];
    const index = block * this.words + (node >>> 5);
    return index < mask.length && (mask[index] & (1 << (node & 31))) !== 0;
  }

  /** Number of nodes that hold a block in any shared tier. */
  replicas(block: number): number {
    let count = 0;
    for (let word = 0; word < this.words; word++) count += bitCount(this.holders(block, word));
    return count;
  }

  /** Fills `matched`, `bestBlocks` and `bestNode`. */
  match(blocks: BlockSpan): void {
    const { matched, alive, words, nodes } = this;
    matched.fill(0);
    for (let w = 0; w < words; w++) alive[w] = -1;
    if ((nodes & 31) !== 0) alive[words - 1] = (1 << (nodes & 31)) - 1;
    const length = blocks.length;
    let depth = 0;
    for (let any = -1; depth < length && any !== 0; depth++) {
      const block = blocks.at(depth);
      any = 0;
      for (let w = 0; w < words; w++) {
        const before = alive[w];
        const after = before & this.holders(block, w);
        if (after !== before) this.settle(w, before & ~after, depth);
        alive[w] = after;
        any |= after;
      }
    }
    for (let w = 0; w < words; w++) this.settle(w, alive[w], length);
    this.findBest();
  }

  /** The nodes of these bits match `depth` blocks. */
  private settle(word: number, bits: number, depth: number): void {
    while (bits !== 0) {
      const lowest = bits & -bits;
      this.matched[(word << 5) + (31 - Math.clz32(lowest))] = depth;
      bits ^= lowest;
    }
  }

  private findBest(): void {
    this.bestBlocks = 0;
    this.bestNode = -1;
    for (let node = 0; node < this.nodes; node++) {
      if (this.matched[node] > this.bestBlocks) {
        this.bestBlocks = this.matched[node];
        this.bestNode = node;
      }
    }
  }

  private holders(block: number, word: number): number {
    const index = block * this.words + word;
    return index < this.masks[0].length ? this.masks[0][index] | this.masks[1][index] : 0;
  }

  private reserve(block: number): void {
    const needed = (block + 1) * this.words;
    if (needed <= this.masks[0].length) return;
    this.masks = this.masks.map((mask) => {
      const grown = new Int32Array(Math.max(needed, 2 * mask.length));
      grown.set(mask);
      return grown;
    });
  }
}

function bitCount(bits: number): number {
  bits -= (bits >>> 1) & 0x55555555;
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
