/**
 * Keeps what is dearest to recompute for the time that its slot is taken. Our own. Among sampled
 * leaves of the prefix tree (a block goes only after its resident children) the one with the least
 * value goes: expected uses per access of slot time x time to recompute the block at its depth.
 *
 * Uses to come are learnt as hazards over age (src/core/kit/reuse-model.ts), as in LHD, but per
 * class of what tells KV blocks apart: how often the block was used, whether it ever had a child
 * (the last, mostly partial, block of a prompt hardly ever comes back), and whether it was added
 * to a chain that had come back before. A bounded ring remembers what went, so that reuse beyond
 * the own capacity is seen too. Blocks whose parent is not there serve nobody and go first.
 *
 * Needs insertion from the root on; where children come before their parents all are such orphans.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  REFUSE,
  ReuseModel,
  SlotSampler,
} from '../../core/policy-kit.ts';

const NONE = -1;
/** Uses are told apart up to this count. */
const USES_MAX = 6;
const CLASSES = USES_MAX * 4;
/** A parent used so often is a prompt that sessions share: its children start sessions. */
const SHARED_USES = 100;
/** Accesses between two rounds of learning; at least half of the slots. */
const LEARN_EVERY_MIN = 2048;
const LESS_THAN_ANY = -1;

interface PrefixCostParams {
  readonly samples: number;
  readonly ghosts: number;
  readonly prior: number;
  readonly decay: number;
  readonly cost: boolean;
}

class PrefixCost implements EvictionPolicy {
  private readonly context: EvictionContext;
  private readonly samples: number;
  private readonly byCost: boolean;
  private readonly model: ReuseModel;
  private readonly learnEvery: number;
  private untilLearn: number;
  /** Accesses so far; wraps, so only differences count. */
  private clock = 0;
  private residents = 0;
  private readonly leaves: SlotSampler;
  private readonly resident: Uint8Array;
  private readonly blockOf: Int32Array;
  private readonly usedAt: Int32Array;
  private readonly uses: Uint8Array;
  private readonly cost: Float64Array;
  private readonly children: Int32Array;
  private readonly hadChild: Uint8Array;
  private readonly isFollowUp: Uint8Array;
  private readonly isOrphan: Uint8Array;
  private readonly parentOf: Int32Array;
  /** Lives of a slot; a link to a parent holds for the life that it was made in. */
  private readonly life: Int32Array;
  private readonly parentLife: Int32Array;
  /** A ring of what went: block (or -1), its class and its last use. */
  private readonly ghostBlock: Int32Array;
  private readonly ghostClass: Uint8Array;
  private readonly ghostUsedAt: Int32Array;
  private ghostNext = 0;
  /** Place of a block in the ring plus one; 0 when it is not there. Grows with the ids. */
  private ghostAt = new Int32Array(64);

  constructor(context: EvictionContext, params: PrefixCostParams) {
    const slots = context.capacitySlots;
    const ghosts = Math.ceil(slots * params.ghosts) + 1;
    this.context = context;
    this.samples = params.samples;
    this.byCost = params.cost;
    this.model = new ReuseModel(CLASSES, params.prior, params.decay);
    this.learnEvery = Math.max(LEARN_EVERY_MIN, slots >> 1);
    this.untilLearn = this.learnEvery;
    this.leaves = new SlotSampler(slots, () => context.random());
    this.resident = new Uint8Array(slots);
    this.blockOf = new Int32Array(slots);
    this.usedAt = new Int32Array(slots);
    this.uses = new Uint8Array(slots);
    this.cost = new Float64Array(slots);
    this.children = new Int32Array(slots);
    this.hadChild = new Uint8Array(slots);
    this.isFollowUp = new Uint8Array(slots);
    this.isOrphan = new Uint8Array(slots);
    this.parentOf = new Int32Array(slots);
    this.life = new Int32Array(slots);
    this.parentLife = new Int32Array(slots);
    this.ghostBlock = new Int32Array(ghosts).fill(NONE);
    this.ghostClass = new Uint8Array(ghosts);
    this.ghostUsedAt = new Int32Array(ghosts);
  }

  onMiss(block: number): void {
    const at = block < this.ghostAt.length ? this.ghostAt[block] - 1 : NONE;
    if (at === NONE) return;
    this.model.addReuse(this.ghostClass[at], this.age(this.ghostUsedAt[at]));
    this.ghostBlock[at] = NONE;
    this.ghostAt[block] = 0;
  }

  onInsert(slot: number, block: number, parentSlot: number, depth: number): void {
    this.onMiss(block);
    this.residents++;
    this.resident[slot] = 1;
    this.blockOf[slot] = block;
    this.usedAt[slot] = this.clock;
    this.uses[slot] = 1;
    this.cost[slot] = this.byCost ? this.context.recomputeNs(depth) : 1;
    this.children[slot] = 0;
    this.hadChild[slot] = 0;
    this.isFollowUp[slot] = 0;
    this.isOrphan[slot] = depth > 0 && parentSlot === NONE ? 1 : 0;
    this.parentOf[slot] = parentSlot;
    if (parentSlot !== NONE) this.hang(slot, parentSlot);
    this.leaves.add(slot);
    this.tick();
  }

  onHit(slot: number): void {
    this.model.addReuse(this.classOf(slot), this.age(this.usedAt[slot]));
    if (this.uses[slot] < SHARED_USES) this.uses[slot]++;
    this.usedAt[slot] = this.clock;
    this.tick();
  }

  onRemove(slot: number): void {
    this.residents--;
    this.resident[slot] = 0;
    this.life[slot]++;
    if (this.children[slot] === 0) this.leaves.remove(slot);
    const parent = this.parentOf[slot];
    if (parent !== NONE && this.life[parent] === this.parentLife[slot]) {
      this.children[parent]--;
      if (this.children[parent] === 0) this.leaves.add(parent);
    }
    this.remember(slot);
  }

  victim(_incoming: number, pinned: Pinned): number {
    const { leaves, samples } = this;
    const all = leaves.size <= samples;
    const draws = all ? leaves.size : samples;
    let victim = REFUSE;
    let least = Number.POSITIVE_INFINITY;
    let oldest = NONE;
    for (let i = 0; i < draws; i++) {
      let slot: number;
      if (all) slot = leaves.at(i);
      else if (pinned.count === 0) slot = leaves.draw();
      else slot = leaves.drawClear(pinned.flags);
      if (slot === REFUSE || pinned.flags[slot] !== 0) continue;
      const age = this.age(this.usedAt[slot]);
      const value = this.isOrphan[slot] === 1 ? LESS_THAN_ANY : this.value(slot, age);
      if (value < least || (value === least && age > oldest)) {
        least = value;
        oldest = age;
        victim = slot;
      }
    }
    return victim;
  }

  size(): number {
    return this.residents;
  }

  private value(slot: number, age: number): number {
    return this.model.value(this.classOf(slot), age) * this.cost[slot];
  }

  private classOf(slot: number): number {
    const uses = Math.min(this.uses[slot], USES_MAX) - 1;
    return uses * 4 + this.hadChild[slot] * 2 + this.isFollowUp[slot];
  }

  private age(usedAt: number): number {
    return (this.clock - usedAt) & 0x7fffffff;
  }

  /** Make a new slot a child of its parent. */
  private hang(slot: number, parent: number): void {
    this.parentLife[slot] = this.life[parent];
    this.isOrphan[slot] = this.isOrphan[parent];
    const parentUses = this.uses[parent];
    if (parentUses === 1) this.isFollowUp[slot] = this.isFollowUp[parent];
    else if (parentUses < SHARED_USES) this.isFollowUp[slot] = 1;
    if (this.children[parent] === 0) this.leaves.remove(parent);
    this.children[parent]++;
    this.hadChild[parent] = 1;
  }

  /** Watch a block that goes for its return; the oldest such watch ends. */
  private remember(slot: number): void {
    const block = this.blockOf[slot];
    const at = this.ghostNext;
    const old = this.ghostBlock[at];
    if (old !== NONE) {
      this.model.addEnd(this.ghostClass[at], this.age(this.ghostUsedAt[at]));
      this.ghostAt[old] = 0;
    }
    if (block >= this.ghostAt.length) this.growGhosts(block);
    this.ghostBlock[at] = block;
    this.ghostClass[at] = this.classOf(slot);
    this.ghostUsedAt[at] = this.usedAt[slot];
    this.ghostAt[block] = at + 1;
    this.ghostNext = at + 1 === this.ghostBlock.length ? 0 : at + 1;
  }

  private tick(): void {
    this.clock = (this.clock + 1) & 0x7fffffff;
    this.untilLearn--;
    if (this.untilLearn > 0) return;
    this.untilLearn = this.learnEvery;
    for (let at = 0; at < this.ghostBlock.length; at++) {
      if (this.ghostBlock[at] === NONE) continue;
      this.model.addPresent(this.ghostClass[at], this.age(this.ghostUsedAt[at]));
    }
    for (let slot = 0; slot < this.resident.length; slot++) {
      if (this.resident[slot] === 0) continue;
      this.model.addPresent(this.classOf(slot), this.age(this.usedAt[slot]));
    }
    this.model.learn();
  }

  private growGhosts(block: number): void {
    const grown = new Int32Array(Math.max(block + 1, 2 * this.ghostAt.length));
    grown.set(this.ghostAt);
    this.ghostAt = grown;
  }
}

export default defineEviction({
  source: 'own; hazards by age as in Beckmann, Chen and Cidon (LHD), NSDI 2018',
  params: {
    samples: {
      type: 'integer',
      default: 64,
      min: 1,
      max: 4096,
      doc: 'leaves looked at per victim',
    },
    ghosts: { type: 'number', default: 8, min: 0, max: 100, doc: 'blocks remembered per slot' },
    prior: {
      type: 'number',
      default: 20,
      min: 1,
      max: 1e6,
      doc: 'observations that the mean over all classes counts for',
    },
    decay: {
      type: 'number',
      default: 0.98,
      min: 0,
      max: 1,
      doc: 'what is left of the counts after a round of learning',
    },
    cost: { type: 'boolean', default: true, doc: 'weigh blocks by the time to recompute them' },
  },
  create: (context, params) => new PrefixCost(context, params),
});
