/** Evicts a slot at random: the policy that any other has to beat. */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  SlotSampler,
} from '../../core/policy-kit.ts';

class RandomEviction implements EvictionPolicy {
  private readonly residents: SlotSampler;

  constructor(context: EvictionContext) {
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
    return pinned.count === 0 ? this.residents.draw() : this.residents.drawClear(pinned.flags);
  }

  size(): number {
    return this.residents.size;
  }
}

export default defineEviction({
  source: 'textbook',
  params: {},
  create: (context) => new RandomEviction(context),
});
