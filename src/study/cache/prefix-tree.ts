/** The shape of a trace's prefix tree: each distinct block under the block before it. */
import type { TraceColumns } from '../../core/trace-columns.ts';
import { DoublingHistogram, type HistogramBin } from './histogram.ts';

export interface PrefixTree {
  /** Blocks that no block comes before. */
  readonly roots: number;
  /** Blocks that no block follows, and blocks that several follow. */
  readonly leaves: number;
  readonly forks: number;
  /** Blocks by the number of blocks that follow them. */
  readonly blocksByChildren: readonly HistogramBin[];
  readonly childrenMax: number;
  /** Distinct blocks at each depth, in doubling ranges of depth (0 is a root). */
  readonly blocksByDepth: readonly HistogramBin[];
  readonly depthMax: number;
  /** Requests by the number of leading blocks that some earlier request had. */
  readonly requestsBySharedDepth: readonly HistogramBin[];
  /**
   * Blocks that were seen after two different blocks or at two depths. Above 0 the ids are not
   * hashes of whole prefixes, and prefix semantics overstates what can be reused.
   */
  readonly ambiguousBlocks: number;
}

const UNSEEN = -2;
const ROOT = -1;

export function analysePrefixTree(trace: TraceColumns): PrefixTree {
  const { requests, blockStart, blocks, distinctBlocks } = trace;
  const parentOf = new Int32Array(distinctBlocks).fill(UNSEEN);
  const depthOf = new Int32Array(distinctBlocks);
  const children = new Int32Array(distinctBlocks);
  const ambiguous = new Uint8Array(distinctBlocks);
  const shared = new DoublingHistogram();
  let roots = 0;
  for (let r = 0; r < requests; r++) {
    const from = blockStart[r];
    let known = 0;
    for (let i = from; i < blockStart[r + 1]; i++) {
      const block = blocks[i];
      const parent = i === from ? ROOT : blocks[i - 1];
      if (parentOf[block] === UNSEEN) {
        parentOf[block] = parent;
        depthOf[block] = i - from;
        if (parent === ROOT) roots++;
        else children[parent]++;
      } else {
        if (parentOf[block] !== parent || depthOf[block] !== i - from) ambiguous[block] = 1;
        if (known === i - from) known++;
      }
    }
    shared.add(known);
  }
  return { roots, ...shapeOf(children, depthOf, ambiguous), requestsBySharedDepth: shared.bins() };
}

function shapeOf(children: Int32Array, depthOf: Int32Array, ambiguous: Uint8Array) {
  const byChildren = new DoublingHistogram();
  const byDepth = new DoublingHistogram();
  let leaves = 0;
  let forks = 0;
  let childrenMax = 0;
  let depthMax = 0;
  let ambiguousBlocks = 0;
  for (let block = 0; block < children.length; block++) {
    byChildren.add(children[block]);
    byDepth.add(depthOf[block]);
    if (children[block] === 0) leaves++;
    if (children[block] > 1) forks++;
    childrenMax = Math.max(childrenMax, children[block]);
    depthMax = Math.max(depthMax, depthOf[block]);
    ambiguousBlocks += ambiguous[block];
  }
  return {
    leaves,
    forks,
    blocksByChildren: byChildren.bins(),
    childrenMax,
    blocksByDepth: byDepth.bins(),
    depthMax,
    ambiguousBlocks,
  };
}
