/** Every prompt that was computed is copied to the emptiest nodes until k have it. */
import {
  defineReplication,
  type Replica,
  type ReplicationView,
  type Request,
} from '../../core/policy-kit.ts';

class KCopies {
  readonly keepsFetched = true;
  readonly watches = true;
  private readonly copies: number;

  constructor(copies: number) {
    this.copies = copies;
  }

  onRequest(): readonly Replica[] {
    return [];
  }

  onComputed({ blocks }: Request, node: number, view: ReplicationView): readonly Replica[] {
    const last = blocks.at(blocks.length - 1);
    const missing = this.copies - Math.max(1, view.replicas(last));
    const targets = view.nodes.filter((other) => other !== node && !view.holds(other, last));
    targets.sort((a, b) => view.usedRatio(a) - view.usedRatio(b) || a - b);
    return targets
      .slice(0, Math.max(0, missing))
      .map((target) => ({ source: node, target, blocks: blocks.length }));
  }
}

export default defineReplication({
  source: 'textbook',
  params: {
    copies: { type: 'integer', default: 2, min: 1, doc: 'nodes that are to have a block' },
  },
  create: (_context, { copies }) => new KCopies(copies),
});
