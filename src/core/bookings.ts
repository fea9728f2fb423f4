/**
 * Bookings: the requests that run, each from its dispatch to its end, of which its ingress is told
 * once; and how those ended that ran a while ago.
 */
import type { InstanceViews } from './cluster-view.ts';
import type { ConductorWorld } from './conductor.ts';
import type { Dispatches } from './dispatches.ts';
import { assert } from './errors.ts';
import { Count, Mark } from './host.ts';
import type { Cancel, Dispatch, RequestInventory } from './messages.ts';
import { Recent } from './recent.ts';
import { attemptKey, Outcome, Phase, type Request } from './request.ts';
import { WORKLOAD } from './topology.ts';

/** A request that runs. */
export interface Booked {
  readonly request: Request;
  readonly prefillInstance: number;
  readonly decodeInstance: number;
  /** Null when an earlier conductor sent it off. */
  readonly dispatch: Dispatch | null;
  prefilled: boolean;
  /** Who computed its prompt is dead: its decode instance is asked whether it was handed over. */
  orphaned: boolean;
  cancelled: boolean;
  /** Why the conductor itself cancelled it, or inFlight. */
  withdrawn: Outcome;
}

/** Ended requests that are remembered for an ingress that asks again. */
const RECENT_ENDED = 65_536;

export class Bookings {
  readonly world: ConductorWorld;
  private readonly views: InstanceViews;
  private readonly live = new Map<number, Booked>();
  /** Outcomes by attempt. */
  private readonly ended = new Recent(RECENT_ENDED);

  constructor(world: ConductorWorld, views: InstanceViews) {
    this.world = world;
    this.views = views;
  }

  get size(): number {
    return this.live.size;
  }

  get(key: number): Booked | undefined {
    return this.live.get(key);
  }

  /** How an attempt ended, if that is remembered. */
  endOf(key: number): Outcome | undefined {
    return this.ended.get(key) as Outcome | undefined;
  }

  remember(key: number, outcome: Outcome): void {
    this.ended.set(key, outcome);
  }

  add(
    key: number,
    request: Request,
    prefillInstance: number,
    decodeInstance: number,
    dispatch: Dispatch | null,
  ): Booked {
    const booked: Booked = {
      request,
      prefillInstance,
      decodeInstance,
      dispatch,
      prefilled: false,
      orphaned: false,
      cancelled: false,
      withdrawn: Outcome.inFlight,
    };
    this.live.set(key, booked);
    return booked;
  }

  /** Its prompt is done: decode comes next. */
  toDecode(key: number, booked: Booked): void {
    const { request, prefillInstance, decodeInstance } = booked;
    booked.prefilled = true;
    this.views.dequeue(prefillInstance, key);
    this.views.startDecode(decodeInstance, key, request.inputTokens + request.outputTokens);
  }

  // --- ends -----------------------------------------------------------------------------------

  /** It never runs. */
  reject(request: Request, outcome: Outcome): void {
    const { id, attempt } = request;
    this.world.host.mark(id, Mark.finishedNs, this.views.nowNs);
    this.world.host.mark(id, Mark.outcome, outcome);
    this.ended.set(attemptKey(id, attempt), outcome);
    this.tellIngress(id, attempt, outcome);
  }

  /** An instance says that it ended. It knows a cancel; the conductor knows why. */
  finish(request: number, attempt: number, outcome: Outcome, nowNs: number): void {
    const withdrawn = this.live.get(attemptKey(request, attempt))?.withdrawn ?? Outcome.inFlight;
    if (outcome !== Outcome.cancelled || withdrawn === Outcome.inFlight) {
      this.end(request, attempt, outcome);
      return;
    }
    this.markEnd(request, withdrawn, nowNs);
    this.end(request, attempt, withdrawn);
  }

  cancel(booked: Booked): void {
    booked.cancelled = true;
    this.passCancel(booked);
  }

  /** Takes a request back that is under way. */
  withdraw(booked: Booked, outcome: Outcome): void {
    booked.withdrawn = outcome;
    this.cancel(booked);
  }

  /** A request whose instance died ends here; what it has elsewhere is given up. */
  lose(booked: Booked, dead: number): void {
    const { request, decodeInstance, cancelled, withdrawn } = booked;
    const { id, attempt } = request;
    const { host, addresses } = this.world;
    this.passCancel(booked);
    if (decodeInstance !== dead) {
      const store = addresses.store(this.views.nodeOf(decodeInstance));
      host.send(store, { kind: 'unreserve', request: id, attempt, instance: decodeInstance });
    }
    const withdrawal = withdrawn === Outcome.inFlight ? Outcome.cancelled : withdrawn;
    const outcome = cancelled ? withdrawal : Outcome.lost;
    this.markEnd(id, outcome, this.views.nowNs);
    this.end(id, attempt, outcome);
  }

  tellIngress(request: number, attempt: number, outcome: Outcome): void {
    this.world.host.send(WORKLOAD, { kind: 'terminal', request, attempt, outcome });
  }

  // --- instances that die or come back ------------------------------------------------------

  /** What ran on a dead instance is lost, unless a live one decodes it already. */
  loseInstance(instance: number): void {
    for (const booked of [...this.live.values()]) {
      const { prefillInstance, decodeInstance, prefilled } = booked;
      if (decodeInstance === instance || (prefillInstance === instance && !prefilled)) {
        this.lose(booked, instance);
      } else if (prefillInstance === instance) {
        booked.orphaned = true;
        this.probe(booked);
      }
    }
  }

  /** After a reset: sends again what an instance never got, and asks again what it was asked. */
  resume(body: RequestInventory, dispatches: Dispatches): void {
    const { instance, term, live, dispatchSequence } = body;
    const sequence = term === this.world.settings.term ? dispatchSequence : 0;
    const known = new Map(live.map((one) => [attemptKey(one.request, one.attempt), one]));
    dispatches.reach(instance, sequence);
    for (const [key, booked] of this.live) {
      const { dispatch, prefillInstance, prefilled } = booked;
      if (prefillInstance === instance && !prefilled) {
        const found = known.get(key);
        // Bookings are in order of their dispatches.
        if (dispatch !== null && dispatch.sequence > sequence) {
          dispatches.repeat(instance, dispatch);
        } else if (found === undefined || found.phase >= Phase.handoff) {
          this.toDecode(key, booked);
        }
      }
      if (booked.orphaned && booked.decodeInstance === instance) this.probe(booked);
      if (booked.cancelled) this.passCancel(booked);
    }
  }

  /** Nothing is believed to run; for tests. */
  checkIdle(): void {
    assert(this.live.size === 0, 'a request is booked');
  }

  private probe({ request, decodeInstance }: Booked): void {
    const { host, addresses } = this.world;
    const { id, attempt } = request;
    host.send(addresses.instance(decodeInstance), { kind: 'probe', request: id, attempt });
  }

  private passCancel({ request, prefillInstance, decodeInstance }: Booked): void {
    const { host, addresses } = this.world;
    const cancel: Cancel = { kind: 'cancel', request: request.id, attempt: request.attempt };
    host.send(addresses.instance(prefillInstance), cancel);
    if (decodeInstance !== prefillInstance) {
      host.send(addresses.instance(decodeInstance), cancel);
    }
  }

  private markEnd(request: number, outcome: Outcome, nowNs: number): void {
    const { host } = this.world;
    host.mark(request, Mark.outcome, outcome);
    host.mark(request, Mark.finishedNs, nowNs);
  }

  private end(request: number, attempt: number, outcome: Outcome): void {
    const key = attemptKey(request, attempt);
    const booked = this.live.get(key);
    if (booked === undefined) {
      this.world.host.count(Count.lateFact, 1);
      return;
    }
    const { inputTokens, outputTokens } = booked.request;
    this.live.delete(key);
    this.views.dequeue(booked.prefillInstance, key);
    this.views.unbindDecode(booked.decodeInstance, inputTokens + outputTokens);
    this.views.endDecode(booked.decodeInstance, key, outcome === Outcome.completed);
    this.ended.set(key, outcome);
    this.tellIngress(request, attempt, outcome);
  }
}
