/**
 * The slots of one tier: which block lies where, who reads it, what may go. The pool owns bytes,
 * states, leases and pins; its eviction policy owns the order alone.
 */
import { assert, PolicyError } from './errors.ts';
import { type EvictionPolicy, type Pinned, REFUSE } from './policy.ts';
import { Pin } from './topology.ts';

/** Life of a slot. Evicting is unpublish, drain, free: `leaving` waits for its last reader. */
export const SlotState = { free: 0, filling: 1, ready: 2, leaving: 3, quarantined: 4 } as const;
export type SlotState = (typeof SlotState)[keyof typeof SlotState];

const NONE = -1;

/** What the pool tells its store: a block stopped being readable. */
export interface PoolWatcher {
  blockGone(block: number): void;
}

/** Who may take a block down to another tier before it goes. */
export interface Demoter {
  /**
   * A block is about to be evicted. A lease on its slot keeps it until the bytes are away; with
   * `urgent` the slot is needed at once, and no lease may be taken.
   */
  evicting(slot: number, urgent: boolean): void;
}

export class TierPool {
  /** Who owns the pool: not part of its state. */
  readonly world: { readonly demoter: Demoter | null };
  readonly capacitySlots: number;
  /** Grows with every reuse of a slot: a stale read is known by it. */
  readonly generations: Int32Array;
  readonly checksums: Int32Array;
  evictions = 0;

  private readonly policy: EvictionPolicy;
  private readonly watcher: PoolWatcher;
  /** Slots whose block was evicted or invalidated and that are still read. */
  private leavingSlots = 0;
  private readonly states: Uint8Array;
  private readonly blocks: Int32Array;
  /** Of each slot: the preceding block of its chain or -1, and the place in that chain. */
  private readonly parents: Int32Array;
  private readonly depths: Int32Array;
  private readonly readers: Int32Array;
  private readonly pins: Uint8Array;
  private softPins = 0;
  /** Leased, filling and pinned slots. */
  private readonly pinned: { count: number; readonly flags: Uint8Array };
  /** Entry i: a free slot less capacitySlots - 1 - i, so that zeros are all slots, 0 on top. */
  private readonly freeSlots: Int32Array;
  private freeCount: number;
  /** Slot of each block, plus one; 0 when it is not here. Grows with the block ids. */
  private slotOf: Int32Array;

  constructor(
    capacitySlots: number,
    blocks: number,
    policy: EvictionPolicy,
    watcher: PoolWatcher,
    demoter: Demoter | null = null,
  ) {
    this.capacitySlots = capacitySlots;
    this.watcher = watcher;
    this.world = { demoter };
    this.parents = new Int32Array(capacitySlots);
    this.depths = new Int32Array(capacitySlots);
    this.generations = new Int32Array(capacitySlots);
    this.checksums = new Int32Array(capacitySlots);
    this.states = new Uint8Array(capacitySlots);
    this.blocks = new Int32Array(capacitySlots).fill(NONE);
    this.readers = new Int32Array(capacitySlots);
    this.pins = new Uint8Array(capacitySlots);
    this.pinned = { count: 0, flags: new Uint8Array(capacitySlots) };
    this.policy = policy;
    this.freeSlots = new Int32Array(capacitySlots);
    this.freeCount = capacitySlots;
    this.slotOf = new Int32Array(Math.max(1, blocks));
  }

  /** Slots in use, quarantined ones included. */
  get usedSlots(): number {
    return this.capacitySlots - this.freeCount;
  }

  /** Of them, those whose block has gone and that are still read. */
  get leaving(): number {
    return this.leavingSlots;
  }

  /** Slots that must not go now: leased, filling or pinned. */
  get pinnedSlots(): number {
    return this.pinned.count;
  }

  /** Slot of a block in any state, or -1. */
  find(block: number): number {
    return block < this.slotOf.length ? this.slotOf[block] - 1 : NONE;
  }

  /** Slot of a readable block, or -1. */
  findReady(block: number): number {
    const slot = this.find(block);
    return slot !== NONE && this.states[slot] === SlotState.ready ? slot : NONE;
  }

  isReady(slot: number): boolean {
    return this.states[slot] === SlotState.ready;
  }

  state(slot: number): SlotState {
    return this.states[slot] as SlotState;
  }

  block(slot: number): number {
    return this.blocks[slot];
  }

  /** The block before a slot's own in its chain, or -1. */
  parentBlock(slot: number): number {
    return this.parents[slot];
  }

  depth(slot: number): number {
    return this.depths[slot];
  }

  pinOf(slot: number): Pin {
    return this.pins[slot] as Pin;
  }

  isLeased(slot: number): boolean {
    return this.readers[slot] > 0;
  }

  touch(slot: number): void {
    this.policy.onHit(slot);
  }

  /** Lets the policy give up what should go although there is room: whenever a request comes. */
  keepHouse(): void {
    this.evictAll(this.policy.reclaim?.(0, this.pinned), false);
  }

  /**
   * Evicts ahead of need until at most `slots` are used, those that leave already not counted; soft
   * pins hold here.
   */
  shrinkTo(slots: number): void {
    while (this.usedSlots - this.leavingSlots > slots) {
      const slot = this.policy.victim(NONE, this.pinned);
      if (slot === REFUSE) return;
      this.evict(slot, false);
    }
  }

  /**
   * A slot for a block that is not here, in state `filling`; -1 when nothing can go. Making room
   * for it may evict its own parent.
   */
  allocate(block: number, parentSlot: number, depth: number): number {
    const parent = parentSlot === NONE ? NONE : this.blocks[parentSlot];
    this.policy.onMiss?.(block);
    const full = this.freeCount === 0;
    this.evictAll(this.policy.reclaim?.(full ? 1 : 0, this.pinned), full);
    if (this.freeCount === 0 && !this.makeRoom(block)) return NONE;
    if (parent !== NONE && this.blocks[parentSlot] !== parent) parentSlot = NONE;
    const top = --this.freeCount;
    const slot = this.freeSlots[top] + this.capacitySlots - 1 - top;
    this.generations[slot]++;
    this.blocks[slot] = block;
    this.parents[slot] = parent;
    this.depths[slot] = depth;
    this.states[slot] = SlotState.filling;
    if (block >= this.slotOf.length) this.growBlocks(block);
    this.slotOf[block] = slot + 1;
    this.policy.onInsert(slot, block, parentSlot, depth);
    this.updatePin(slot);
    return slot;
  }

  /**
   * Gives up one block, for room that no block of this tier will take; false when all are pinned.
   * Where the policy answers REFUSE although a block may go, the first one that may goes.
   */
  evictOne(): boolean {
    if (this.makeRoom(NONE)) return true;
    const { flags } = this.pinned;
    const slot = this.states.findIndex((state, i) => state === SlotState.ready && flags[i] === 0);
    if (slot < 0) return false;
    this.evict(slot, true);
    return true;
  }

  /** All bytes are there: readers may come. */
  publish(slot: number, checksum: number): void {
    assert(this.states[slot] === SlotState.filling, 'publish of a slot that is not filling');
    this.checksums[slot] = checksum;
    this.states[slot] = SlotState.ready;
    this.updatePin(slot);
  }

  /** The fill failed. A quarantined slot counts as used until `releaseQuarantine`. */
  abandon(slot: number, quarantine: boolean): void {
    assert(this.states[slot] === SlotState.filling, 'abandon of a slot that is not filling');
    this.policy.onRemove(slot, 'invalidate');
    this.forget(slot);
    if (quarantine) this.states[slot] = SlotState.quarantined;
    else this.retire(slot);
    this.updatePin(slot);
  }

  releaseQuarantine(slot: number): void {
    if (this.states[slot] === SlotState.quarantined) this.retire(slot);
  }

  lease(slot: number): void {
    if (this.readers[slot]++ === 0) this.updatePin(slot);
  }

  unlease(slot: number): void {
    assert(this.readers[slot] > 0, 'more leases returned than given');
    if (--this.readers[slot] > 0) return;
    if (this.states[slot] === SlotState.leaving) {
      this.leavingSlots--;
      this.free(slot);
    } else this.updatePin(slot);
  }

  /** Holds a readable block in the tier, until it is pinned otherwise or invalidated. */
  pin(slot: number, pin: Pin): void {
    if (this.pins[slot] === Pin.soft) this.softPins--;
    if (pin === Pin.soft) this.softPins++;
    this.pins[slot] = pin;
    this.updatePin(slot);
  }

  /** Take a block out of service; its slot is free when its last reader is done. */
  invalidate(slot: number): void {
    assert(this.states[slot] === SlotState.ready, 'invalidate of a slot that is not ready');
    this.policy.onRemove(slot, 'invalidate');
    this.watcher.blockGone(this.blocks[slot]);
    this.forget(slot);
    this.retire(slot);
  }

  /**
   * What held the blocks has failed: none is readable any more. Slots that are read are free when
   * their readers are done, those that are filled stay in quarantine until the fill has ended.
   */
  lose(): void {
    for (let slot = 0; slot < this.capacitySlots; slot++) {
      if (this.states[slot] === SlotState.ready) this.invalidate(slot);
      else if (this.states[slot] === SlotState.filling) this.abandon(slot, true);
    }
  }

  /** A readable block is found to be unreadable; a later generation of the slot is another one. */
  loseSlot(slot: number, generation: number): void {
    const same = this.generations[slot] === generation;
    if (same && this.states[slot] === SlotState.ready) this.invalidate(slot);
  }

  /** Readable blocks, by slot. */
  readyBlocks(): number[] {
    const ready: number[] = [];
    for (let slot = 0; slot < this.capacitySlots; slot++) {
      if (this.states[slot] === SlotState.ready) ready.push(this.blocks[slot]);
    }
    return ready;
  }

  /** Checks the pool against itself and its policy; for tests and invariant runs. */
  check(): void {
    let used = 0;
    let ordered = 0;
    let pins = 0;
    let leaving = 0;
    for (let slot = 0; slot < this.capacitySlots; slot++) {
      const state = this.states[slot];
      if (state !== SlotState.free) used++;
      if (state === SlotState.leaving) leaving++;
      if (state === SlotState.filling || state === SlotState.ready) {
        ordered++;
        assert(this.find(this.blocks[slot]) === slot, 'a block and its slot disagree');
      }
      pins += this.pinned.flags[slot];
    }
    assert(used === this.usedSlots, 'used slots disagree with the free list');
    assert(ordered === this.policy.size(), 'the policy orders other slots than the resident ones');
    assert(pins === this.pinned.count, 'the number of pins is off');
    assert(leaving === this.leavingSlots, 'the number of leaving slots is off');
  }

  /** No slot is read, filled or waited for; for tests. */
  checkIdle(): void {
    for (let slot = 0; slot < this.capacitySlots; slot++) {
      const state = this.states[slot];
      const rests = state === SlotState.free || state === SlotState.ready;
      assert(rests && this.readers[slot] === 0, `slot ${slot} is leased, filling or leaving`);
    }
  }

  private makeRoom(incoming: number): boolean {
    let slot = this.policy.victim(incoming, this.pinned);
    if (slot === REFUSE && this.softPins > 0) {
      slot = this.policy.victim(incoming, this.withoutSoftPins());
    }
    if (slot === REFUSE) return false;
    this.evict(slot, true);
    return true;
  }

  private evictAll(slots: readonly number[] | undefined, urgent: boolean): void {
    if (slots === undefined) return;
    for (const slot of slots) this.evict(slot, urgent);
  }

  private evict(slot: number, urgent: boolean): void {
    const legal =
      Number.isInteger(slot) &&
      slot >= 0 &&
      slot < this.capacitySlots &&
      this.states[slot] === SlotState.ready &&
      this.readers[slot] === 0 &&
      this.pins[slot] !== Pin.hard;
    if (!legal) throw new PolicyError(`the eviction policy chose slot ${slot}: pinned or empty`);
    this.evictions++;
    this.world.demoter?.evicting(slot, urgent);
    this.policy.onRemove(slot, 'evict');
    this.watcher.blockGone(this.blocks[slot]);
    this.forget(slot);
    this.retire(slot);
  }

  /** Free now, or when the last reader is done. */
  private retire(slot: number): void {
    if (this.readers[slot] === 0) this.free(slot);
    else {
      this.states[slot] = SlotState.leaving;
      this.leavingSlots++;
    }
  }

  private forget(slot: number): void {
    this.slotOf[this.blocks[slot]] = 0;
    if (this.pins[slot] !== Pin.none) this.pin(slot, Pin.none);
  }

  private free(slot: number): void {
    this.blocks[slot] = NONE;
    this.states[slot] = SlotState.free;
    this.freeSlots[this.freeCount] = slot - this.capacitySlots + 1 + this.freeCount;
    this.freeCount++;
    if (this.pinned.flags[slot] !== 0) this.updatePin(slot);
  }

  private updatePin(slot: number): void {
    const { pinned } = this;
    const flag = this.isUsed(slot) || this.pins[slot] !== Pin.none ? 1 : 0;
    pinned.count += flag - pinned.flags[slot];
    pinned.flags[slot] = flag;
  }

  private isUsed(slot: number): boolean {
    return this.states[slot] === SlotState.filling || this.readers[slot] > 0;
  }

  /** For the second pass: slots that are only soft-pinned may go. */
  private withoutSoftPins(): Pinned {
    const flags = this.pinned.flags.slice();
    let { count } = this.pinned;
    for (let slot = 0; slot < flags.length; slot++) {
      if (this.pins[slot] !== Pin.soft || this.isUsed(slot)) continue;
      flags[slot] = 0;
      count--;
    }
    return { count, flags };
  }

  private growBlocks(block: number): void {
    const grown = new Int32Array(Math.max(block + 1, 2 * this.slotOf.length));
    grown.set(this.slotOf);
    this.slotOf = grown;
  }
}
