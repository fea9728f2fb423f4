/**
 * Mooncake's store, as its code has it (kvcache-ai/Mooncake, 2026): blocks that were written since
 * the last heartbeat of a client, 10 s, are offloaded to its SSD at the next; eviction from DRAM
 * writes nothing. A block read from SSD is promoted when a sketch has counted two reads of it,
 * DRAM is used below 0.90, and no other promotion was made since the last heartbeat.
 *
 * Departs: one promotion is one block here and one object there; the sketch is ours and is halved
 * every 8 reads per DRAM slot.
 */
import {
  CopyDown,
  defineTiering,
  FrequencySketch,
  Promotion,
  type TieringContext,
  type TieringPolicy,
} from '../../core/policy-kit.ts';

const NS_PER_S = 1e9;
/** Counters per DRAM slot, and reads per slot that halve them. */
const COUNTERS = 64;
const HALF_LIFE = 8;

interface MooncakeTieringParams {
  readonly heartbeat: number;
  readonly touches: number;
  readonly below: number;
  readonly promotions: number;
}

class MooncakeStore implements TieringPolicy {
  readonly heartbeatNs: number;
  private readonly context: TieringContext;
  private readonly params: MooncakeTieringParams;
  private readonly sketch: FrequencySketch;
  private readonly period: number;
  private reads = 0;
  /** Heartbeat that the promotions below were made in. */
  private beat = -1;
  private promoted = 0;

  constructor(context: TieringContext, params: MooncakeTieringParams) {
    this.context = context;
    this.params = params;
    this.heartbeatNs = params.heartbeat * NS_PER_S;
    this.sketch = new FrequencySketch(Math.max(256, COUNTERS * context.dramSlots));
    this.period = Math.max(1, HALF_LIFE * context.dramSlots);
  }

  onStored(): CopyDown {
    return CopyDown.later;
  }

  onHit(): CopyDown {
    return CopyDown.none;
  }

  onEvict(): boolean {
    return false;
  }

  onSsdHit(block: number, dramUsedRatio: number): Promotion {
    if (++this.reads >= this.period) {
      this.reads = 0;
      this.sketch.halve();
    }
    const { touches, below, promotions } = this.params;
    if (this.sketch.add(block) + 1 < touches || dramUsedRatio >= below) return Promotion.none;
    const beat = Math.floor(this.context.nowNs / this.heartbeatNs);
    if (beat !== this.beat) this.promoted = 0;
    this.beat = beat;
    if (this.promoted >= promotions) return Promotion.none;
    this.promoted++;
    return Promotion.copy;
  }
}

export default defineTiering({
  source: 'kvcache-ai/Mooncake mooncake-store, 2026',
  params: {
    heartbeat: { type: 'number', default: 10, min: 0.000_001, doc: 'seconds between offloads' },
    touches: { type: 'integer', default: 2, min: 1, max: 60_000, doc: 'reads before promotion' },
    below: { type: 'number', default: 0.9, min: 0, max: 1, doc: 'DRAM use that stops promotion' },
    promotions: { type: 'integer', default: 1, min: 0, doc: 'promotions per heartbeat' },
  },
  create: (context, params) => new MooncakeStore(context, params),
});
