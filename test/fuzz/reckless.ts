/** Policies that make things happen: legal answers, drawn without thought. */
import type { MadePolicies } from '../../src/config/wire.ts';
import {
  type ClusterView,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  type PolicyContext,
  type PrefillChoice,
  type PrefillPolicy,
  type PrefixMatch,
  REFUSE,
  type Request,
  SlotSampler,
} from '../../src/core/policy-kit.ts';

/** Any instance, and a fetch from the best node or from any other, of more than it has. */
class RecklessPrefill implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const instance = this.one(view.prefillInstances);
    const guess = view.nodeOf(this.one([...view.prefillInstances, ...view.decodeInstances]));
    const best = match.bestNode >= 0 && this.context.random() < 0.7;
    const sourceNode = best ? match.bestNode : guess;
    const most = best ? match.bestBlocks : request.blocks.length;
    const sourceBlocks = Math.ceil(this.context.random() * most);
    const own = sourceNode === view.nodeOf(instance);
    if (own) return { instance, sourceNode: -1, sourceBlocks: 0, ttftNs: 0 };
    return { instance, sourceNode, sourceBlocks, ttftNs: 0 };
  }

  private one(from: readonly number[]): number {
    return from[Math.floor(this.context.random() * from.length)];
  }
}

/** Evicts at random and sometimes declines. */
class RecklessEviction implements EvictionPolicy {
  private readonly context: EvictionContext;
  private readonly residents: SlotSampler;

  constructor(context: EvictionContext) {
    this.context = context;
    this.residents = new SlotSampler(context.capacitySlots, () => context.random());
  }

  onInsert(slot: number): void {
    this.residents.add(slot);
  }

  onHit(): void {}

  onRemove(slot: number): void {
    this.residents.remove(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    return this.context.random() < 0.2 ? REFUSE : this.residents.drawClear(pinned.flags);
  }

  size(): number {
    return this.residents.size;
  }
}

export const RECKLESS: Pick<MadePolicies, 'prefill' | 'eviction'> = {
  prefill: { name: 'reckless', create: (context) => new RecklessPrefill(context) },
  eviction: { name: 'reckless', create: (context) => new RecklessEviction(context) },
};
