/**
 * Selective: a block is written to SSD once it was used k times, the first being its storing; what
 * was used less is dropped when DRAM is full, which spares the SSD the blocks that nobody asks for
 * again. Counts are a sketch's, halved every `halflife` uses per DRAM slot. SGLang HiCache's
 * `write_through_selective` (k = 2 there).
 */
import {
  CopyDown,
  defineTiering,
  FrequencySketch,
  Promotion,
  type TieringContext,
  type TieringPolicy,
} from '../../core/policy-kit.ts';

/** Counters per DRAM slot. */
const COUNTERS = 64;

class Selective implements TieringPolicy {
  readonly heartbeatNs = 0;
  private readonly touches: number;
  private readonly sketch: FrequencySketch;
  private readonly period: number;
  private uses = 0;

  constructor({ dramSlots }: TieringContext, touches: number, halflife: number) {
    this.touches = touches;
    this.sketch = new FrequencySketch(Math.max(256, COUNTERS * dramSlots));
    this.period = Math.max(1, halflife * dramSlots);
  }

  onStored(block: number): CopyDown {
    return this.use(block);
  }

  onHit(block: number): CopyDown {
    return this.use(block);
  }

  onEvict(): boolean {
    return false;
  }

  onSsdHit(block: number): Promotion {
    this.use(block);
    return Promotion.copy;
  }

  private use(block: number): CopyDown {
    if (++this.uses >= this.period) {
      this.uses = 0;
      this.sketch.halve();
    }
    return this.sketch.add(block) + 1 >= this.touches ? CopyDown.now : CopyDown.none;
  }
}

export default defineTiering({
  source: 'SGLang HiCache write_through_selective',
  params: {
    touches: { type: 'integer', default: 2, min: 1, max: 60_000, doc: 'uses before it is written' },
    halflife: { type: 'number', default: 8, min: 1, doc: 'uses per DRAM slot that halve counts' },
  },
  create: (context, { touches, halflife }) => new Selective(context, touches, halflife),
});
