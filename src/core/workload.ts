/**
 * Workload: plays a trace into the cluster. Requests with a parent wait for its end and their think
 * time, so that closed loops need nothing else. It owns each request until its terminal fact.
 */
import { Count, type Host, type Machine, Mark } from './host.ts';
import type * as M from './messages.ts';
import { BlockSpan, Outcome, type Request } from './request.ts';
import type { WorkloadSettings } from './settings.ts';
import { Restorable } from './snapshot.ts';
import { CONDUCTOR } from './topology.ts';
import type { TraceColumns } from './trace-columns.ts';

/** What a workload is given; not part of its state. */
export interface WorkloadWorld {
  readonly host: Host;
  readonly trace: TraceColumns;
  readonly settings: WorkloadSettings;
}

const NOT_YET = -1;

export class Workload extends Restorable implements Machine {
  readonly world: WorkloadWorld;
  /** Time of the first wake: the trace begins then. */
  private startNs = NOT_YET;
  /** Next row of the trace to look at for open arrivals. */
  private next = 0;
  private ended = 0;
  private readonly outcomes: Uint8Array;
  private readonly sentNs: Float64Array;
  /** Attempt of each request that counts. */
  private readonly attempts: Uint8Array;
  /** Children by parent: the first, and the next of the same parent. */
  private readonly firstChild: Int32Array;
  private readonly nextSibling: Int32Array;

  constructor(world: WorkloadWorld) {
    super();
    this.world = world;
    const { requests, parent } = world.trace;
    this.outcomes = new Uint8Array(requests);
    this.attempts = new Uint8Array(requests);
    this.sentNs = new Float64Array(requests).fill(NOT_YET);
    this.firstChild = new Int32Array(parent === null ? 0 : requests).fill(-1);
    this.nextSibling = new Int32Array(parent === null ? 0 : requests).fill(-1);
    if (parent === null) return;
    for (let row = requests - 1; row >= 0; row--) {
      if (parent[row] < 0) continue;
      this.nextSibling[row] = this.firstChild[parent[row]];
      this.firstChild[parent[row]] = row;
    }
  }

  /** Requests that have had their end. */
  get endedRequests(): number {
    return this.ended;
  }

  /** Every request has had its end. */
  get done(): boolean {
    return this.ended === this.world.trace.requests;
  }

  handle(fact: M.Fact): void {
    const { body } = fact;
    switch (body.kind) {
      case 'wake':
        if (body.token < 0) this.sendDue(fact.atNs);
        else this.send(body.token, fact.atNs);
        return;
      case 'terminal':
        return this.onTerminal(fact, body);
      case 'peerReset':
        return this.resend();
      default:
        throw new Error(`a workload does not take ${body.kind}`);
    }
  }

  /** Sends the open arrivals that are due and sleeps until the next. */
  private sendDue(nowNs: number): void {
    const { trace, host } = this.world;
    const { arrivalNs, parent, requests } = trace;
    if (this.startNs === NOT_YET) this.startNs = nowNs;
    const { startNs } = this;
    while (this.next < requests) {
      const row = this.next;
      if (parent !== null && parent[row] >= 0) {
        this.next++;
        continue;
      }
      const dueNs = startNs + arrivalNs[row];
      if (dueNs > nowNs) {
        host.wakeAt(dueNs, -1);
        return;
      }
      this.next++;
      this.send(row, nowNs);
    }
  }

  private send(row: number, nowNs: number): void {
    const { host } = this.world;
    this.sentNs[row] = nowNs;
    host.mark(row, Mark.arrivedNs, nowNs);
    host.send(CONDUCTOR, { kind: 'arrive', request: this.request(row) });
  }

  private request(row: number): Request {
    const { decoded } = this.world.trace;
    const request = this.promptOf(row);
    if (decoded === undefined) return request;
    const { start, blocks } = decoded;
    return { ...request, decoded: new BlockSpan(blocks, start[row], start[row + 1]) };
  }

  private promptOf(row: number): Request {
    const { trace } = this.world;
    return {
      id: row,
      attempt: this.attempts[row],
      tenant: trace.tenant === null ? 0 : trace.tenant[row],
      priority: trace.priority === null ? 0 : trace.priority[row],
      sloClass: trace.sloClass === null ? 0 : trace.sloClass[row],
      session: trace.session === null ? -1 : trace.session[row],
      parent: trace.parent === null ? -1 : trace.parent[row],
      namespace: trace.namespace === null ? 0 : trace.namespace[row],
      blocks: new BlockSpan(trace.blocks, trace.blockStart[row], trace.blockStart[row + 1]),
      inputTokens: trace.inputTokens[row],
      outputTokens: trace.outputTokens[row],
      arrivalNs: this.sentNs[row],
    };
  }

  private onTerminal(fact: M.Fact, body: M.Terminal): void {
    const row = body.request;
    if (this.outcomes[row] !== Outcome.inFlight || body.attempt !== this.attempts[row]) {
      this.world.host.count(Count.lateFact, 1);
      return;
    }
    if (body.outcome >= Outcome.failed && body.attempt + 1 < this.world.settings.attempts) {
      this.tryAgain(row);
      return;
    }
    this.outcomes[row] = body.outcome;
    this.ended++;
    if (body.attempt > 0) {
      // Instances that lost it may have noted an end of their own.
      this.world.host.mark(row, Mark.outcome, body.outcome);
    }
    if (this.firstChild.length === 0) return;
    const { thinkNs } = this.world.trace;
    for (let child = this.firstChild[row]; child >= 0; child = this.nextSibling[child]) {
      this.world.host.wakeAt(fact.atNs + (thinkNs === null ? 0 : thinkNs[child]), child);
    }
  }

  private tryAgain(row: number): void {
    const { host } = this.world;
    this.attempts[row]++;
    host.mark(row, Mark.attempts, this.attempts[row] + 1);
    host.send(CONDUCTOR, { kind: 'arrive', request: this.request(row) });
  }

  /** The attempt of a request that counts now, from 0. */
  attemptOf(row: number): number {
    return this.attempts[row];
  }

  /** What may be lost is asked again; the conductor knows what it has. */
  private resend(): void {
    for (let row = 0; row < this.sentNs.length; row++) {
      const open = this.sentNs[row] !== NOT_YET && this.outcomes[row] === Outcome.inFlight;
      if (open) this.world.host.send(CONDUCTOR, { kind: 'arrive', request: this.request(row) });
    }
  }
}
