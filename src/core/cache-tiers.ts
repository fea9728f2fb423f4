/**
 * The tiers that a node shares with its peers, DRAM and SSD, and what moves between them: copies
 * down as the tiering policy wants them, promotions and prefetches up. A block may lie in both.
 *
 * SSD is read straight into HBM (through buffers of the host that no tier counts); a promotion is a
 * read of its own, as in Mooncake's store. What leaves DRAM above the watermark is taken down
 * first and keeps its slot until it is there; what must go at once is dropped. Without an SSD none
 * of this runs.
 */
import { assert, PolicyError } from './errors.ts';
import { Count, type Host } from './host.ts';
import type { TransferEnded } from './messages.ts';
import { CopyDown, Promotion, type TieringPolicy } from './policy.ts';
import type { BlockSpan, Request } from './request.ts';
import { SharedTier, type TierWorld } from './shared-tier.ts';
import { type Demoter, SlotState } from './tier-pool.ts';
import { Pin, Tier } from './topology.ts';
import type { Moving, TransferBook } from './transfer-book.ts';

/** Blocks of one move between tiers: their slots are free, or readable, move by move. */
const MOVE_BLOCKS = 16;

export interface TiersWorld extends TierWorld {
  readonly host: Host;
  readonly clock: { readonly nowNs: number };
  /** Only a node with an SSD asks. */
  readonly tiering: (dramSlots: number, ssdSlots: number) => TieringPolicy;
}

/** The longest leading run of a prompt, leased. */
export interface LeasedPrefix {
  /** Leading blocks of the prompt, those before the run included. */
  readonly hitBlocks: number;
  readonly dram: readonly number[];
  readonly ssd: readonly number[];
  /** The last block of the run lies on SSD alone. */
  readonly endsOnSsd: boolean;
}

/** Slots of moves that start when the fact has been handled. */
interface Batch {
  readonly kind: 'demote' | 'promote' | 'prefetch';
  readonly exclusive: boolean;
  readonly request: number;
  readonly from: number[];
  readonly to: number[];
}

export class CacheTiers implements Demoter {
  readonly world: TiersWorld;
  readonly dram: SharedTier;
  /** Null on a node without SSD, as is the policy. */
  readonly ssd: SharedTier | null;
  private readonly policy: TieringPolicy | null;
  private readonly book: TransferBook;
  private batches: Batch[] = [];
  /** Blocks whose copies wait for the heartbeat; nothing twice. */
  private readonly putOff = new Set<number>();
  private heartbeats = false;
  /** The drives have failed: nothing is written to them until they are back, empty. */
  private ssdLost = false;

  constructor(world: TiersWorld, blocks: number, book: TransferBook) {
    const { node } = world;
    const hasSsd = node.ssdCapacityBytes > 0;
    this.world = world;
    this.book = book;
    const demoter = hasSsd ? this : null;
    this.dram = new SharedTier(world, Tier.dram, node.dramCapacityBytes, blocks, demoter);
    this.ssd = hasSsd ? new SharedTier(world, Tier.ssd, node.ssdCapacityBytes, blocks, null) : null;
    const dramSlots = this.dram.pool.capacitySlots;
    const ssdSlots = this.ssd?.pool.capacitySlots ?? 0;
    this.policy = hasSsd ? world.tiering(dramSlots, ssdSlots) : null;
  }

  at(tier: Tier): SharedTier {
    if (tier === Tier.dram) return this.dram;
    assert(tier === Tier.ssd && this.ssd !== null, 'a tier that this node does not have');
    return this.ssd;
  }

  /** The fastest tier where a block is readable; DRAM when it is nowhere. */
  tierOf(block: number): SharedTier {
    const { dram, ssd } = this;
    if (ssd === null || dram.pool.findReady(block) >= 0) return dram;
    return ssd.pool.findReady(block) >= 0 ? ssd : dram;
  }

  isReady(block: number): boolean {
    return this.tierOf(block).pool.findReady(block) >= 0;
  }

  /** The drives fail, or are back. Moves under way from and to them end by themselves. */
  setSsdLost(lost: boolean): void {
    assert(this.ssd !== null, 'an SSD failed that this node does not have');
    this.ssdLost = lost;
    if (lost) this.ssd.pool.lose();
  }

  check(): void {
    this.dram.pool.check();
    this.ssd?.pool.check();
  }

  checkIdle(): void {
    this.dram.pool.checkIdle();
    this.ssd?.pool.checkIdle();
    assert(this.batches.length === 0, 'moves between tiers were not started');
  }

  // --- reading --------------------------------------------------------------------------------

  /** Lets the policies give up what should go although there is room. */
  keepHouse(): void {
    this.dram.pool.keepHouse();
    this.ssd?.pool.keepHouse();
  }

  /** Leases the longest run that begins at block `from`. */
  leasePrefix(blocks: BlockSpan, from: number): LeasedPrefix {
    const { pool } = this.dram;
    const dram: number[] = [];
    const ssd: number[] = [];
    let i = from;
    let endsOnSsd = false;
    for (; i < blocks.length; i++) {
      const slot = pool.findReady(blocks.at(i));
      if (slot >= 0) {
        pool.touch(slot);
        pool.lease(slot);
        dram.push(slot);
        endsOnSsd = false;
      } else if (this.leaseOnSsd(blocks.at(i), ssd)) endsOnSsd = true;
      else break;
    }
    return { hitBlocks: i, dram, ssd, endsOnSsd };
  }

  /** Leases a block on SSD, if it is readable there, and adds its slot. */
  leaseOnSsd(block: number, slots: number[]): boolean {
    if (this.ssd === null) return false;
    const { pool } = this.ssd;
    const slot = pool.findReady(block);
    if (slot < 0) return false;
    pool.touch(slot);
    pool.lease(slot);
    slots.push(slot);
    return true;
  }

  /** Tells the policy what was read, and does what it wants of it. */
  noteReads({ dram, ssd }: LeasedPrefix): void {
    const { policy } = this;
    if (policy === null) return;
    for (const slot of dram) this.copyDown(slot, policy.onHit(this.dram.pool.block(slot)));
    for (const slot of ssd) this.promote(slot);
  }

  unlease(tier: Tier, slots: readonly number[]): void {
    const { pool } = this.at(tier);
    for (const slot of slots) pool.unlease(slot);
  }

  // --- filling DRAM ---------------------------------------------------------------------------

  /** Blocks that arrived in DRAM become readable, the others go. Answers how many arrived. */
  settle(slots: readonly number[], ended: TransferEnded): number {
    const { policy, dram } = this;
    const done = this.book.settle(dram, slots, ended);
    if (policy === null) return done;
    for (let i = 0; i < done; i++) {
      this.copyDown(slots[i], policy.onStored(dram.pool.block(slots[i])));
    }
    return done;
  }

  // --- down -----------------------------------------------------------------------------------

  evicting(slot: number, urgent: boolean): void {
    const { policy, ssd, dram } = this;
    const block = dram.pool.block(slot);
    this.putOff.delete(block);
    if (policy === null || ssd === null || ssd.pool.find(block) >= 0) return;
    if (!policy.onEvict(block)) return;
    if (urgent) this.world.host.count(Count.droppedDemotion, 1);
    else this.write(slot);
  }

  private copyDown(slot: number, what: CopyDown): void {
    if (what === CopyDown.none) return;
    if (what === CopyDown.now) this.write(slot);
    else if (what === CopyDown.later) this.putOffCopy(this.dram.pool.block(slot));
    else throw new PolicyError(`the tiering policy answered ${what}, expected a CopyDown`);
  }

  /** Starts the copy of a readable block, unless it is on SSD or on its way there. */
  private write(slot: number): void {
    const { dram, ssd } = this;
    assert(ssd !== null, 'a copy down without SSD');
    const block = dram.pool.block(slot);
    if (ssd.pool.find(block) >= 0) return;
    const parent = dram.pool.parentBlock(slot);
    const parentSlot = parent < 0 ? -1 : ssd.pool.find(parent);
    const target = this.ssdLost ? -1 : ssd.pool.allocate(block, parentSlot, dram.pool.depth(slot));
    if (target < 0) {
      this.world.host.count(Count.droppedDemotion, 1);
      return;
    }
    dram.pool.lease(slot);
    const pin = dram.pool.pinOf(slot);
    if (pin !== Pin.none) ssd.pool.pin(target, pin);
    this.add('demote', false, -1, slot, target);
  }

  private putOffCopy(block: number): void {
    const { policy, putOff, world } = this;
    putOff.add(block);
    if (this.heartbeats || policy === null) return;
    const { heartbeatNs } = policy;
    if (!(heartbeatNs > 0)) {
      throw new PolicyError('the tiering policy puts copies off and has no heartbeatNs above 0');
    }
    this.heartbeats = true;
    const { nowNs } = world.clock;
    world.host.wakeAt(nowNs + heartbeatNs - (nowNs % heartbeatNs), HEARTBEAT);
  }

  /** Makes the copies that were put off. */
  heartbeat(): void {
    const { pool } = this.dram;
    this.heartbeats = false;
    for (const block of this.putOff) {
      const slot = pool.findReady(block);
      if (slot >= 0) this.write(slot);
    }
    this.putOff.clear();
  }

  // --- up -------------------------------------------------------------------------------------

  private promote(slot: number): void {
    const { policy, dram, ssd } = this;
    if (policy === null || ssd === null) return;
    const { usedSlots, capacitySlots } = dram.pool;
    const usedRatio = capacitySlots === 0 ? 1 : usedSlots / capacitySlots;
    const what = policy.onSsdHit(ssd.pool.block(slot), usedRatio);
    if (what === Promotion.none) return;
    if (what !== Promotion.copy && what !== Promotion.move) {
      throw new PolicyError(`the tiering policy answered ${what}, expected a Promotion`);
    }
    this.read('promote', what === Promotion.move, -1, slot);
  }

  /** Brings what lies on SSD of a prompt's cached prefix into free slots of DRAM. */
  prefetch({ id, blocks }: Request): void {
    const { dram, ssd } = this;
    if (ssd === null) return;
    for (let i = 0; i < blocks.length && dram.pool.usedSlots < dram.pool.capacitySlots; i++) {
      if (dram.pool.find(blocks.at(i)) >= 0) continue;
      const slot = ssd.pool.findReady(blocks.at(i));
      if (slot < 0) return;
      this.read('prefetch', false, id, slot);
    }
  }

  /** Brings a block up whose reader waits. False: it is not on SSD, or nothing can make room. */
  raise(block: number): boolean {
    const slot = this.ssd?.pool.findReady(block) ?? -1;
    if (slot < 0) return false;
    this.read('promote', false, -1, slot);
    return this.dram.pool.find(block) >= 0;
  }

  /** Starts to copy a block from SSD into DRAM, unless it is there or on its way. */
  private read(kind: Batch['kind'], exclusive: boolean, request: number, slot: number): void {
    const { dram, ssd } = this;
    assert(ssd !== null, 'a read of an SSD that is not there');
    const block = ssd.pool.block(slot);
    if (dram.pool.find(block) >= 0) return;
    const parent = ssd.pool.parentBlock(slot);
    const parentSlot = parent < 0 ? -1 : dram.pool.find(parent);
    const target = dram.pool.allocate(block, parentSlot, ssd.pool.depth(slot));
    if (target < 0) return;
    ssd.pool.lease(slot);
    const pin = ssd.pool.pinOf(slot);
    if (pin !== Pin.none) dram.pool.pin(target, pin);
    this.add(kind, exclusive, request, slot, target);
  }

  // --- moves between tiers --------------------------------------------------------------------

  private add(
    kind: Batch['kind'],
    exclusive: boolean,
    request: number,
    from: number,
    to: number,
  ): void {
    let batch = this.batches.at(-1);
    const joins = batch?.kind === kind && batch.exclusive === exclusive;
    if (batch === undefined || !joins || batch.from.length === MOVE_BLOCKS) {
      batch = { kind, exclusive, request, from: [], to: [] };
      this.batches.push(batch);
    }
    batch.from.push(from);
    batch.to.push(to);
  }

  /** After every fact: holds the watermarks and starts the moves that were decided. */
  flush(): void {
    if (this.ssd === null) return;
    const { settings } = this.world;
    trim(this.dram, settings.watermark, settings.lowWatermark);
    trim(this.ssd, settings.ssdWatermark, settings.ssdLowWatermark);
    if (this.batches.length === 0) return;
    const { batches } = this;
    this.batches = [];
    for (const batch of batches) this.start(batch);
  }

  private start({ kind, exclusive, request, from, to }: Batch): void {
    const { book } = this;
    const [tier, target] = kind === 'demote' ? [Tier.dram, Tier.ssd] : [Tier.ssd, Tier.dram];
    book.start(
      {
        kind,
        request,
        attempt: 0,
        instance: -1,
        slots: to,
        sources: from,
        tier,
        exclusive,
        write: 0,
      },
      {
        source: book.place(tier, from),
        target: book.place(target, to),
        tokens: from.length * this.world.kv.blockTokens,
        blocks: from.length,
        afterStep: 0,
      },
    );
  }

  /** A move between tiers has ended. */
  moved({ kind, tier, slots, sources, exclusive }: Moving, ended: TransferEnded): void {
    const { host } = this.world;
    const source = this.at(tier).pool;
    const down = kind === 'demote';
    const target = this.at(down ? Tier.ssd : Tier.dram);
    const voided = down && target.pool.state(slots[0]) === SlotState.quarantined;
    // The drive failed under it; all slots of a move are in one state.
    if (voided) for (const slot of slots) target.pool.releaseQuarantine(slot);
    const done = voided ? 0 : this.book.settle(target, slots, ended);
    for (let i = 0; i < sources.length; i++) {
      const slot = sources[i];
      const arrived = i < done && exclusive;
      // The source may have left meanwhile, with its lease as its last.
      if (arrived && source.isReady(slot)) source.invalidate(slot);
      source.unlease(slot);
    }
    if (!ended.ok) host.count(Count.transferFailed, 1);
    if (done === 0) return;
    const what = down ? Count.demoted : kind === 'promote' ? Count.promoted : Count.prefetched;
    host.count(what, done);
  }
}

/** Token of the wake-up for the heartbeat; others are ids of instances. */
export const HEARTBEAT = -1;

/** Evicts ahead of need, from the high watermark down to the low one. */
function trim({ pool }: SharedTier, high: number, low: number): void {
  if (pool.usedSlots - pool.leaving <= high * pool.capacitySlots) return;
  pool.shrinkTo(Math.floor(low * pool.capacitySlots));
}
