/**
 * LHD: the block with the least hit density goes, that is the expected hits per time that its slot
 * is still spent on it, learnt per class of blocks (by the ages at their last two hits) from the
 * ages of hits and evictions. Beckmann, Chen and Cidon, NSDI 2018, with the constants of the
 * authors' code (CMU-CORGI/LHD), which libCacheSim carries. Departs: one application, blocks of
 * one size. As there, densities start as if classes mattered little, and are first learnt after
 * 2^20 accesses.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  REFUSE,
  type RemovalCause,
  SlotSampler,
} from '../../core/policy-kit.ts';

const AGES = 20_000;
const CLASSES = 16;
const ACCESSES_PER_UPDATE = 1 << 20;
/** Share of the last update in the averages. */
const DECAY = 0.9;
/** A block becomes an explorer, kept to learn from, with probability 1 / this. */
const EXPLORE_INVERSE = 32;
/** Explorers hold at most this share of the slots, and only for so many updates. */
const EXPLORERS_SHARE = 0.01;
const EXPLORE_UPDATES = 50;
/** Ages are counted in steps such that a cache's worth of accesses takes 1 / this of the range. */
const COARSENING_TOLERANCE = 0.01;
/** Updates at which the step is chosen anew. */
const COARSEN_AT = [5, 25];
/** Recently admitted blocks that looked bad are candidates always. */
const ADMITTED = 8;
/** log2 of the first age step, accesses. */
const SHIFT_START = 10;
/** Fewer samples until this many updates: a short warm-up. */
const WARM_UP_UPDATES = 50;
const WARM_UP_SAMPLES = 8;
/**
 * First density of class c is (c + this) / (age + 1): c counts from application 1 of 16 classes.
 */
const CLASS_BASE = CLASSES + 1;

class Lhd implements EvictionPolicy {
  private readonly residents: SlotSampler;
  private readonly samples: number;
  private readonly usedAt: Float64Array;
  private readonly lastAge: Int32Array;
  private readonly classOf: Uint8Array;
  private readonly explorer: Uint8Array;
  /** Row per class, column per age. */
  private readonly hits = new Float32Array(CLASSES * AGES);
  private readonly evictions = new Float32Array(CLASSES * AGES);
  private readonly densities = new Float32Array(CLASSES * AGES);
  private readonly admitted = new Int32Array(ADMITTED).fill(REFUSE);
  private admittedNext = 0;
  private explorerBudget: number;
  private clock = 0;
  private updates = 0;
  /** An age step is 2^shift accesses. */
  private shift = SHIFT_START;
  private stepsPerAccess = 2 ** -SHIFT_START;
  private residentsMean = 0;
  private residentsMass = 0;
  /** Average density of victims. */
  private victimDensity = 0;

  constructor(context: EvictionContext, samples: number) {
    const slots = context.capacitySlots;
    this.residents = new SlotSampler(slots, () => context.random());
    this.samples = samples;
    this.usedAt = new Float64Array(slots);
    this.lastAge = new Int32Array(slots);
    this.classOf = new Uint8Array(slots);
    this.explorer = new Uint8Array(slots);
    this.explorerBudget = Math.floor(slots * EXPLORERS_SHARE);
    for (let c = 0; c < CLASSES; c++) {
      for (let age = 0; age < AGES; age++)
        this.densities[c * AGES + age] = (c + CLASS_BASE) / (age + 1);
    }
  }

  onInsert(slot: number): void {
    this.residents.add(slot);
    this.lastAge[slot] = 0;
    this.classOf[slot] = hitAgeClass(AGES);
    this.explorer[slot] = 0;
    const explores = this.use(slot);
    if (!explores && this.density(slot) < this.victimDensity) {
      this.admitted[this.admittedNext] = slot;
      this.admittedNext = (this.admittedNext + 1) % ADMITTED;
    }
    this.tick();
  }

  onHit(slot: number): void {
    const age = this.age(slot);
    this.hits[this.classOf[slot] * AGES + age]++;
    this.explorerBudget += this.explorer[slot];
    this.classOf[slot] = hitAgeClass(age + this.lastAge[slot]);
    this.lastAge[slot] = age;
    this.use(slot);
    this.tick();
  }

  onRemove(slot: number, cause: RemovalCause): void {
    if (cause === 'evict') this.evictions[this.classOf[slot] * AGES + this.age(slot)]++;
    this.explorerBudget += this.explorer[slot];
    this.residents.remove(slot);
    const at = this.admitted.indexOf(slot);
    if (at >= 0) this.admitted[at] = REFUSE;
  }

  victim(_incoming: number, pinned: Pinned): number {
    const samples =
      this.updates > WARM_UP_UPDATES ? this.samples : Math.min(this.samples, WARM_UP_SAMPLES);
    let victim = REFUSE;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < samples + ADMITTED; i++) {
      let slot: number;
      if (i >= samples) slot = this.admitted[i - samples];
      else if (pinned.count === 0) slot = this.residents.draw();
      else slot = this.residents.drawClear(pinned.flags);
      if (slot === REFUSE || pinned.flags[slot] !== 0) continue;
      const density = this.density(slot);
      if (density < least || victim === REFUSE) {
        least = density;
        victim = slot;
      }
    }
    if (victim !== REFUSE) {
      this.victimDensity = DECAY * this.victimDensity + (1 - DECAY) * Math.max(least, 0);
    }
    return victim;
  }

  size(): number {
    return this.residents.size;
  }

  /** The slot is used now; true when it explores. */
  private use(slot: number): boolean {
    this.usedAt[slot] = this.clock;
    const drawn = this.residents.uniform() * EXPLORE_INVERSE < 1;
    const explores = drawn && this.explorerBudget > 0 && this.updates < EXPLORE_UPDATES;
    this.explorer[slot] = explores ? 1 : 0;
    if (explores) this.explorerBudget--;
    return drawn;
  }

  private age(slot: number): number {
    const steps = (this.clock - this.usedAt[slot]) * this.stepsPerAccess;
    return Math.min(AGES - 1, Math.floor(steps));
  }

  private density(slot: number): number {
    const age = this.age(slot);
    if (age === AGES - 1) return -1;
    return this.densities[this.classOf[slot] * AGES + age] + this.explorer[slot];
  }

  private tick(): void {
    this.clock++;
    if (this.clock % ACCESSES_PER_UPDATE !== 0) return;
    for (let i = 0; i < this.hits.length; i++) {
      this.hits[i] *= DECAY;
      this.evictions[i] *= DECAY;
    }
    this.adaptShift();
    for (let c = 0; c < CLASSES; c++) this.model(c * AGES);
    this.updates++;
  }

  /**
   * Hit density of each age of a class: hits to come over the time to come, from the oldest age
   * on.
   */
  private model(row: number): void {
    const { hits, evictions, densities } = this;
    const last = row + AGES - 1;
    let hitsLater = hits[last];
    let eventsLater = hits[last] + evictions[last];
    let lifetime = eventsLater;
    for (let i = last - 1; i >= row; i--) {
      hitsLater += hits[i];
      eventsLater += hits[i] + evictions[i];
      lifetime += eventsLater;
      densities[i] = eventsLater > 1e-5 ? hitsLater / lifetime : 0;
    }
  }

  /** Choose the age step by the number of residents, and carry the histograms over. */
  private adaptShift(): void {
    this.residentsMean = this.residentsMean * DECAY + this.residents.size;
    this.residentsMass = this.residentsMass * DECAY + 1;
    if (!COARSEN_AT.includes(this.updates)) return;
    const step = this.residentsMean / this.residentsMass / (COARSENING_TOLERANCE * AGES);
    let shift = 1;
    while (2 ** shift < step) shift++;
    const factor = 2 ** (shift - this.shift);
    this.shift = shift;
    this.stepsPerAccess = 2 ** -shift;
    for (let c = 0; c < CLASSES; c++) {
      rescale(this.hits, c * AGES, factor);
      rescale(this.evictions, c * AGES, factor);
    }
  }
}

/** About the logarithm of the range over the age; 0 for the oldest. */
function hitAgeClass(age: number): number {
  if (age === 0) return CLASSES - 1;
  let level = 0;
  for (let reach = age; reach < AGES && level < CLASSES - 1; reach *= 2) level++;
  return level;
}

/** Read the AGES counts from `row` on as if ages had been `factor` times as coarse. */
function rescale(counts: Float32Array, row: number, factor: number): void {
  const old = counts.slice(row, row + AGES);
  counts.fill(0, row, row + AGES);
  for (let age = 0; age < AGES; age++) {
    if (factor >= 1) {
      // The last bin holds all that is older, on any scale.
      counts[row + (age === AGES - 1 ? age : Math.floor(age / factor))] += old[age];
    } else {
      const copies = 1 / factor;
      for (let i = 0; i < copies; i++) {
        counts[row + Math.min(AGES - 1, age * copies + i)] += old[age] / copies;
      }
    }
  }
}

export default defineEviction({
  source: 'Beckmann, Chen and Cidon, NSDI 2018; libCacheSim',
  params: {
    samples: { type: 'integer', default: 32, min: 1, max: 4096, doc: 'blocks sampled per victim' },
  },
  create: (context, params) => new Lhd(context, params.samples),
});
