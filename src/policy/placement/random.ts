/** Each block goes to a node drawn at random. Mooncake Store's `random` allocation. */
import {
  definePlacement,
  type PlacementContext,
  type PlacementPolicy,
  type PlacementView,
} from '../../core/policy-kit.ts';

class Random implements PlacementPolicy {
  readonly spreads = true;
  private readonly context: PlacementContext;

  constructor(context: PlacementContext) {
    this.context = context;
  }

  place(_block: number, _ownNode: number, { nodes }: PlacementView): number {
    return nodes[Math.floor(this.context.random() * nodes.length)];
  }
}

export default definePlacement({
  source: 'kvcache-ai/Mooncake mooncake-store allocation_strategy random, 2026',
  params: {},
  create: (context) => new Random(context),
});
