/**
 * Changes of one tier on their way to the directory, coalesced: a block stored and removed before
 * the conductor hears of it cancels out. Too many changes become one inventory.
 */
import type { BlockInventory, Delta } from './messages.ts';
import type { PoolWatcher } from './tier-pool.ts';
import type { Tier } from './topology.ts';

const NONE: readonly number[] = [];

export class DeltaBuffer implements PoolWatcher {
  /** Send everything instead of the changes. */
  resync = false;
  private readonly node: number;
  private readonly tier: Tier;
  private readonly instance: number;
  private readonly limitBlocks: number;
  private sequence = 0;
  private stored: number[] = [];
  private removed: number[] = [];

  /** `instance` is the owner of an hbm tier, else -1. */
  constructor(node: number, tier: Tier, instance: number, limitBlocks: number) {
    this.node = node;
    this.tier = tier;
    this.instance = instance;
    this.limitBlocks = limitBlocks;
  }

  get pending(): boolean {
    return this.resync || this.stored.length > 0 || this.removed.length > 0;
  }

  blockStored(block: number): void {
    if (this.removed.length === 0 || !cancel(this.removed, block)) this.stored.push(block);
    this.checkLimit();
  }

  blockGone(block: number): void {
    if (this.stored.length === 0 || !cancel(this.stored, block)) this.removed.push(block);
    this.checkLimit();
  }

  take(): Delta {
    const { node, tier, instance } = this;
    // The message takes the lists along.
    const stored = this.stored.length === 0 ? NONE : this.stored;
    const removed = this.removed.length === 0 ? NONE : this.removed;
    this.clear();
    return { kind: 'delta', node, tier, instance, sequence: ++this.sequence, stored, removed };
  }

  takeInventory(incarnation: number, blocks: readonly number[]): BlockInventory {
    const { node, tier, instance } = this;
    this.clear();
    const sequence = ++this.sequence;
    return { kind: 'blockInventory', node, tier, instance, incarnation, sequence, blocks };
  }

  private checkLimit(): void {
    if (this.stored.length + this.removed.length > this.limitBlocks) this.resync = true;
  }

  private clear(): void {
    if (this.stored.length > 0) this.stored = [];
    if (this.removed.length > 0) this.removed = [];
    this.resync = false;
  }
}

/** Takes `block` out of a list; false when it is not in it. */
function cancel(list: number[], block: number): boolean {
  const at = list.lastIndexOf(block);
  if (at < 0) return false;
  list[at] = list[list.length - 1];
  list.pop();
  return true;
}
