/**
 * Of a few nodes drawn at random, the one with the largest share of free DRAM. Mooncake Store's
 * `free_ratio_first`. The shares lag behind by the control delay, and the draw keeps all from
 * running to one node meanwhile; the number drawn is a parameter here.
 */
import {
  definePlacement,
  type PlacementContext,
  type PlacementPolicy,
  type PlacementView,
} from '../../core/policy-kit.ts';

class FreeRatioFirst implements PlacementPolicy {
  readonly spreads = true;
  private readonly context: PlacementContext;
  private readonly candidates: number;

  constructor(context: PlacementContext, candidates: number) {
    this.context = context;
    this.candidates = candidates;
  }

  place(_block: number, _ownNode: number, view: PlacementView): number {
    const { nodes } = view;
    let best = -1;
    for (let i = 0; i < this.candidates; i++) {
      const node = nodes[Math.floor(this.context.random() * nodes.length)];
      if (best < 0 || view.usedRatio(node) < view.usedRatio(best)) best = node;
    }
    return best;
  }
}

export default definePlacement({
  source: 'kvcache-ai/Mooncake mooncake-store allocation_strategy free_ratio_first, 2026',
  params: {
    candidates: { type: 'integer', default: 6, min: 1, doc: 'nodes drawn for each block' },
  },
  create: (context, { candidates }) => new FreeRatioFirst(context, candidates),
});
