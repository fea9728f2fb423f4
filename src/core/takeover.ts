/**
 * What a conductor does that takes over from another: it asks everybody what is there, decides
 * nothing until all have answered or a second is over, and keeps what runs where it runs.
 */
import type { Arrive, Cancel, RequestInventory } from './messages.ts';
import { attemptKey, Phase } from './request.ts';
import type { Address } from './topology.ts';

/** Longest wait for inventories, ns. */
export const GATHER_NS = 1e9;

/** Where a request runs that an earlier conductor sent off. */
export interface Found {
  prefillInstance: number;
  decodeInstance: number;
  phase: Phase;
}

export class Takeover {
  /** Decisions wait. */
  gathering: boolean;
  private asked = false;
  private readonly awaited: Set<Address>;
  private readonly held: (Arrive | Cancel)[] = [];
  private readonly found = new Map<number, Found>();

  /** @param peers who have an inventory; none for the first conductor, which has nothing to ask */
  constructor(peers: readonly Address[]) {
    this.awaited = new Set(peers);
    this.gathering = peers.length > 0;
  }

  /** The first fact of a successor: answers whether a timer is to be set. */
  begins(): boolean {
    if (!this.gathering || this.asked) return false;
    this.asked = true;
    return true;
  }

  hold(body: Arrive | Cancel): void {
    this.held.push(body);
  }

  /** An inventory came, or will never come. Answers whether it was the last one. */
  heard(peer: Address): boolean {
    return this.awaited.delete(peer) && this.awaited.size === 0;
  }

  /** Ends the gathering; what was held, in order. */
  end(): readonly (Arrive | Cancel)[] {
    this.gathering = false;
    this.awaited.clear();
    return this.held.splice(0);
  }

  /** Notes what runs on an instance. Of two that have it, one decodes. */
  learn({ instance, live }: RequestInventory): void {
    for (const { request, attempt, phase, decodeInstance } of live) {
      const key = attemptKey(request, attempt);
      const known = this.found.get(key);
      if (known === undefined) {
        this.found.set(key, { prefillInstance: instance, decodeInstance, phase });
      } else if (phase === Phase.decode) {
        known.decodeInstance = instance;
        known.phase = phase;
      } else known.prefillInstance = instance;
    }
  }

  /** Whether the end of a request counts that nobody has asked for yet. */
  knows(key: number): boolean {
    return this.gathering || this.found.has(key);
  }

  /** Where a request was found to run, once. */
  take(key: number): Found | undefined {
    const found = this.found.get(key);
    this.found.delete(key);
    return found;
  }

  /** The instance died: answers what was found there, which is nowhere. */
  lose(instance: number): (Found & { readonly key: number })[] {
    const lost: (Found & { readonly key: number })[] = [];
    for (const [key, found] of this.found) {
      const { prefillInstance, decodeInstance, phase } = found;
      const at = phase === Phase.decode ? decodeInstance : prefillInstance;
      if (at !== instance && decodeInstance !== instance) continue;
      this.found.delete(key);
      lost.push({ key, ...found });
    }
    return lost;
  }
}
