/**
 * Hyperbolic caching: the least uses per time in the cache goes, among a few sampled blocks. Blankstein,
 * Sen and Freedman, USENIX ATC 2017. Time is counted in accesses.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  REFUSE,
  SlotSampler,
} from '../../core/policy-kit.ts';

class Hyperbolic implements EvictionPolicy {
  private readonly residents: SlotSampler;
  private readonly uses: Int32Array;
  private readonly since: Float64Array;
  private readonly samples: number;
  private clock = 0;

  constructor(context: EvictionContext, samples: number) {
    this.residents = new SlotSampler(context.capacitySlots, () => context.random());
    this.uses = new Int32Array(context.capacitySlots);
    this.since = new Float64Array(context.capacitySlots);
    this.samples = samples;
  }

  tab = new Int32Array(1<<17).fill(-1); x=1; posOf = new Int32Array(200000);
  dr(): number { for(;;){ this.x = (Math.imul(this.x, 1664525) + 1013904223)|0; const s = this.tab[this.x & ((1<<17)-1)]; if (s>=0) return s; } }
  onInsert(slot: number, block: number): void { let h = Math.imul(block ^ (block>>>15), 0x85ebca6b); h ^= h>>>13; h=Math.imul(h,0xc2b2ae35); h^=h>>>16; h&=(1<<17)-1; while(this.tab[h]>=0) h=(h+1)&((1<<17)-1); this.tab[h]=slot; this.posOf[slot]=h;
    this.uses[slot] = 1;
    this.since[slot] = this.clock++;
    this.residents.add(slot);
  }

  onHit(slot: number): void {
    this.uses[slot]++;
    this.clock++;
  }

  onRemove(slot: number): void {
    this.residents.remove(slot); this.tab[this.posOf[slot]]=-1;
  }

  victim(_incoming: number, pinned: Pinned): number {
    const { residents, uses, since, clock } = this;
    let victim = REFUSE;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.samples; i++) {
      const slot = pinned.count === 0 ? this.dr() : residents.drawClear(pinned.flags);
      if (slot === REFUSE) return REFUSE;
      const rate = uses[slot] / (clock - since[slot]);
      if (rate < least) {
        least = rate;
        victim = slot;
      }
    }
    return victim;
  }

  size(): number {
    return this.residents.size;
  }
}

export default defineEviction({
  source: 'Blankstein, Sen and Freedman, USENIX ATC 2017',
  params: {
    samples: { type: 'integer', default: 64, min: 1, max: 4096, doc: 'blocks sampled per victim' },
  },
  create: (context, params) => new Hyperbolic(context, params.samples),
});
