/**
 * The machines of one process in real time: a clock, timers, and facts one at a time, in the order
 * in which they are due. What lies beyond the process comes in through `deliver`.
 */

import type { Machine } from '../core/host.ts';
import { EventQueue } from '../core/kit/event-queue.ts';
import type { Body, Fact } from '../core/messages.ts';
import type { Observer } from '../core/observer.ts';
import type { Address } from '../core/topology.ts';

/** Order of what is due at one instant: what ends, what is said, who wakes. */
export const Rank = { end: 0, message: 1, wake: 2 } as const;

/** Timers are late by up to a millisecond or two: what is due sooner is waited for awake. */
const TIMER_SLACK_NS = 2e6;
/** Longest that machines keep the event loop in one turn. */
const TURN_NS = 1_000_000n;

interface NearMessage {
  readonly to: Address;
  readonly from: Address;
  readonly body: Body;
}

export interface RealTimeOptions {
  readonly observers: readonly Observer[];
  /** `hrtime` at which the clock shows 0; null: when `start` is called. */
  readonly originNs: bigint | null;
  /** The clock runs so many times as fast as the world's. */
  readonly speed: number;
  /** Wait awake for what is due within 2 ms, to be on time: costs a core. */
  readonly spin: boolean;
  /** What a machine throws; the clock has stopped. */
  readonly onError: (error: unknown) => void;
  /** Nothing is due, now or later; null: nobody asks. */
  readonly onIdle: (() => void) | null;
  /** What was due has been handled; what it sent to other processes has not left yet. */
  readonly onTurn?: (() => void) | undefined;
}

export class RealTime {
  /** Time of the fact that is being handled; never decreases. */
  nowNs = 0;
  private readonly options: RealTimeOptions;
  private originNs: bigint;
  private readonly queue = new EventQueue();
  /** What the queue's payloads stand for. */
  private readonly due: ((() => void) | null)[] = [];
  private readonly freeRows: number[] = [];
  private readonly machines = new Map<Address, Machine>();
  private near: NearMessage[] = [];
  private readonly fact: Fact = { atNs: 0, from: 0, body: { kind: 'wake', token: 0 } };
  private timer: NodeJS.Timeout | NodeJS.Immediate | null = null;
  private timerNs = Number.POSITIVE_INFINITY;
  private stopped = false;
  private handling = false;

  constructor(options: RealTimeOptions) {
    this.options = options;
    this.originNs = options.originNs ?? process.hrtime.bigint();
  }

  /** The clock shows 0 now, or at that `hrtime`. */
  start(originNs: bigint = process.hrtime.bigint()): void {
    this.originNs = originNs;
  }

  setMachine(address: Address, machine: Machine): void {
    this.machines.set(address, machine);
  }

  hosts(address: Address): boolean {
    return this.machines.has(address);
  }

  /** Now, in ns of the clock. */
  clockNs(): number {
    return Math.floor(Number(process.hrtime.bigint() - this.originNs) * this.options.speed);
  }

  /** Does something at `timeNs`, or at once if that has passed. */
  at(timeNs: number, rank: number, action: () => void): void {
    if (this.stopped) return;
    const row = this.freeRows.pop() ?? this.due.length;
    this.due[row] = action;
    this.queue.push(Math.max(this.nowNs, Math.ceil(timeNs)), rank, row);
    if (!this.handling) this.schedule();
  }

  /** From outside: as soon as what is due before it has been handled. */
  post(rank: number, action: () => void): void {
    this.at(this.clockNs(), rank, action);
  }

  /** Hands a fact to its machine, then whatever that sent within the process's nodes. */
  deliver(to: Address, from: Address, body: Body): void {
    this.handleOne(to, from, body);
    while (this.near.length > 0) {
      const near = this.near;
      this.near = [];
      for (const message of near) this.handleOne(message.to, message.from, message.body);
    }
  }

  /** Within a node: after the fact that is being handled, before anything else. */
  sendNear(to: Address, from: Address, body: Body): void {
    this.near.push({ to, from, body });
  }

  /** Nothing is due, now or later. */
  get isIdle(): boolean {
    return this.queue.size === 0;
  }

  stop(): void {
    this.stopped = true;
    this.unschedule();
  }

  private handleOne(to: Address, from: Address, body: Body): void {
    const machine = this.machines.get(to);
    if (machine === undefined) return;
    const { fact } = this;
    fact.atNs = this.nowNs;
    fact.from = from;
    fact.body = body;
    for (const observer of this.options.observers) observer.onFact?.(to, fact);
    machine.handle(fact);
  }

  private handleDue(): void {
    const { queue, due } = this;
    this.handling = true;
    const untilNs = process.hrtime.bigint() + TURN_NS;
    try {
      while (!this.stopped) {
        this.nowNs = Math.max(this.nowNs, this.clockNs());
        // Channels and leases have their turn too, however much is due.
        if (queue.peekTimeNs() > this.nowNs || process.hrtime.bigint() > untilNs) break;
        const row = queue.pop();
        const action = due[row];
        due[row] = null;
        this.freeRows.push(row);
        action?.();
      }
    } catch (error) {
      this.stop();
      this.options.onError(error);
    } finally {
      this.handling = false;
      this.options.onTurn?.();
    }
  }

  private schedule(): void {
    const nextNs = this.queue.peekTimeNs();
    if (this.stopped || nextNs >= this.timerNs) return;
    this.unschedule();
    if (nextNs === Number.POSITIVE_INFINITY) return;
    this.timerNs = nextNs;
    const waitNs = (nextNs - this.clockNs()) / this.options.speed;
    const awake = waitNs <= 0 || (this.options.spin && waitNs < TIMER_SLACK_NS);
    const slackNs = this.options.spin ? TIMER_SLACK_NS : 0;
    if (awake) this.timer = setImmediate(() => this.wake());
    else this.timer = setTimeout(() => this.wake(), Math.max(0, (waitNs - slackNs) / 1e6));
  }

  private wake(): void {
    this.timer = null;
    this.timerNs = Number.POSITIVE_INFINITY;
    this.handleDue();
    if (this.isIdle) this.options.onIdle?.();
    this.schedule();
  }

  private unschedule(): void {
    if (this.timer !== null) {
      clearTimeout(this.timer as NodeJS.Timeout);
      clearImmediate(this.timer as NodeJS.Immediate);
    }
    this.timer = null;
    this.timerNs = Number.POSITIVE_INFINITY;
  }
}
