/**
 * What can go wrong between machines, drawn from a seeded stream: jitter, duplicates, resets that
 * lose what is under way, and transfers that break off. For fuzz; an ordinary run has none.
 */
import type { Transfer } from '../core/host.ts';
import type { Address } from '../core/topology.ts';

export interface DisturbanceRates {
  /** Most extra delay of a message, ns. */
  readonly jitterNs: number;
  /** Chance that a message comes twice. */
  readonly duplicate: number;
  /** Chance that sending a message breaks its channel, and how long that then holds at least. */
  readonly reset: number;
  readonly resetPauseNs: number;
  /** Chance that a transfer between nodes breaks off, and within which time of its start. */
  readonly transferFailure: number;
  readonly transferFailureNs: number;
}

export interface MessageFate {
  /** Times of delivery, in order. */
  readonly deliverNs: readonly number[];
  /** The channel breaks at this time, or -1. */
  readonly resetNs: number;
}

export class Disturbance {
  private readonly rates: DisturbanceRates;
  private readonly random: () => number;
  /** Last delivery on each directed channel: channels are FIFO. */
  private readonly lastNs = new Map<string, number>();
  /** Resets of each pair so far. */
  private readonly epochs = new Map<string, number>();

  /** Of each pair that broke: it breaks again after this time. */
  private readonly wholeUntilNs = new Map<string, number>();

  constructor(rates: DisturbanceRates, random: () => number) {
    this.rates = rates;
    this.random = random;
  }

  onSend(from: Address, to: Address, nowNs: number, delayNs: number): MessageFate {
    const { jitterNs, duplicate, reset, resetPauseNs } = this.rates;
    const key = `${from}>${to}`;
    const earliestNs = nowNs + delayNs + Math.floor(this.random() * jitterNs);
    const firstNs = Math.max(earliestNs, this.lastNs.get(key) ?? 0);
    const deliverNs = [firstNs];
    if (this.random() < duplicate) deliverNs.push(firstNs + Math.floor(this.random() * jitterNs));
    this.lastNs.set(key, deliverNs[deliverNs.length - 1]);
    const breaks = this.random() < reset && nowNs >= (this.wholeUntilNs.get(pair(from, to)) ?? 0);
    if (!breaks) return { deliverNs, resetNs: -1 };
    const resetNs = nowNs + Math.floor(this.random() * 2 * delayNs);
    this.wholeUntilNs.set(pair(from, to), resetNs + resetPauseNs);
    return { deliverNs, resetNs };
  }

  epoch(a: Address, b: Address): number {
    return this.epochs.get(pair(a, b)) ?? 0;
  }

  /** The channel breaks: what was sent before is lost. */
  breakChannel(a: Address, b: Address): void {
    this.epochs.set(pair(a, b), this.epoch(a, b) + 1);
  }

  /** Ns after its start at which a transfer breaks off, or -1. */
  onTransfer(transfer: Transfer): number {
    const between = transfer.source.node !== transfer.target.node;
    if (!between || this.random() >= this.rates.transferFailure) return -1;
    return Math.floor(this.random() * this.rates.transferFailureNs);
  }
}

function pair(a: Address, b: Address): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`;
}
