/**
 * HBM for the working blocks of one instance: who holds how much, and who waits. Space goes out
 * first come, first served, so that a large request is not passed for ever by small ones.
 */
import { assert } from './errors.ts';
import type { Acquire, Reserve } from './messages.ts';
import { attemptKey } from './request.ts';
import type { Address } from './topology.ts';

/** Space held by one request. */
export interface Holding {
  readonly attempt: number;
  hbmBytes: number;
  /** DRAM where its KV is parked, bytes. */
  parkedBytes: number;
  /** Loads, saves and parkings under way; the space is free when it is released and these ended. */
  moves: number;
  released: boolean;
  /** An unclaimed reservation dies at this time; Infinity once claimed. */
  expiresNs: number;
}

export interface Waiting {
  readonly from: Address;
  readonly ask: Acquire | Reserve;
  readonly bytes: number;
}

interface Attempt {
  readonly request: number;
  readonly attempt: number;
}

export class WorkingMemory {
  readonly instance: number;
  readonly capacityBytes: number;
  readonly waiting: Waiting[] = [];
  /** Of the waiting, those that reserve for decode. */
  waitingReserves = 0;
  /** A wake for the next expiry is on its way. */
  wakes = false;
  private usedBytes = 0;
  private readonly holdings = new Map<number, Holding>();

  constructor(instance: number, capacityBytes: number) {
    this.instance = instance;
    this.capacityBytes = capacityBytes;
  }

  fits(bytes: number): boolean {
    return this.usedBytes + bytes <= this.capacityBytes;
  }

  hold(request: number, attempt: number, hbmBytes: number, expiresNs: number): Holding {
    assert(this.of(request, attempt) === undefined, 'a request holds working memory twice');
    const holding = { attempt, hbmBytes, parkedBytes: 0, moves: 0, released: false, expiresNs };
    this.usedBytes += hbmBytes;
    this.holdings.set(attemptKey(request, attempt), holding);
    return holding;
  }

  /** The holding of this attempt, or undefined when it is gone. */
  of(request: number, attempt: number): Holding | undefined {
    return this.holdings.get(attemptKey(request, attempt));
  }

  freeHbm(holding: Holding): void {
    this.usedBytes -= holding.hbmBytes;
    holding.hbmBytes = 0;
  }

  drop(request: number, holding: Holding): void {
    this.freeHbm(holding);
    this.holdings.delete(attemptKey(request, holding.attempt));
  }

  wait(waiting: Waiting): void {
    this.waiting.push(waiting);
    if (waiting.ask.kind === 'reserve') this.waitingReserves++;
  }

  /** Takes the first of those who wait, if it fits. */
  nextServed(): Waiting | undefined {
    if (this.waiting.length === 0 || !this.fits(this.waiting[0].bytes)) return undefined;
    const next = this.waiting.shift()!;
    if (next.ask.kind === 'reserve') this.waitingReserves--;
    return next;
  }

  /** Place of a reservation among those who wait, or -1. */
  findReserve(of: Attempt): number {
    return this.waiting.findIndex(
      ({ ask }) =>
        ask.kind === 'reserve' && ask.request === of.request && ask.attempt === of.attempt,
    );
  }

  stopWaiting(of: Attempt): void {
    const at = this.findReserve(of);
    if (at < 0) return;
    this.waiting.splice(at, 1);
    this.waitingReserves--;
  }

  /** When the next unclaimed reservation runs out; Infinity when none does. */
  firstExpiryNs(): number {
    let firstNs = Number.POSITIVE_INFINITY;
    for (const { expiresNs } of this.holdings.values()) firstNs = Math.min(firstNs, expiresNs);
    return firstNs;
  }

  /** Drops reservations whose ttl ran out. */
  dropExpired(nowNs: number): void {
    for (const [key, holding] of this.holdings) {
      if (holding.expiresNs > nowNs) continue;
      this.freeHbm(holding);
      this.holdings.delete(key);
    }
  }

  /** No one holds or waits for anything. */
  get isIdle(): boolean {
    return this.holdings.size === 0 && this.waiting.length === 0;
  }

  check(): void {
    let used = 0;
    for (const holding of this.holdings.values()) used += holding.hbmBytes;
    assert(used === this.usedBytes, 'HBM in use disagrees with its holders');
    assert(used <= this.capacityBytes, 'more HBM in use than there is');
  }
}
