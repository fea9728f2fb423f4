/**
 * How requests end at an instance: their working memory is released, the conductor is told, and the
 * end is kept for a conductor that lost it.
 */
import { Mark } from './host.ts';
import { type InstanceWorld, ownStore } from './instance-world.ts';
import type { EndedRequest } from './messages.ts';
import { Recent } from './recent.ts';
import { attemptKey, attemptOf, type Outcome, type Request, requestOf } from './request.ts';
import { CONDUCTOR } from './topology.ts';

/** Ended requests that an inventory can still report. */
export const RECENT_ENDED = 4096;

export class RequestEnds {
  readonly world: InstanceWorld;
  /** Outcomes by attempt. */
  private readonly ended = new Recent(RECENT_ENDED);

  constructor(world: InstanceWorld) {
    this.world = world;
  }

  has(key: number): boolean {
    return this.ended.has(key);
  }

  outcomeOf(key: number): Outcome | undefined {
    return this.ended.get(key) as Outcome | undefined;
  }

  values(): EndedRequest[] {
    const ended: EndedRequest[] = [];
    this.ended.visit((key, value) => {
      const outcome = value as Outcome;
      ended.push({ request: requestOf(key), attempt: attemptOf(key), outcome });
    });
    return ended;
  }

  /** How it ended is said again, if it did: who sends it here anew has not heard. */
  sayAgain({ id, attempt }: Request): void {
    const outcome = this.outcomeOf(attemptKey(id, attempt));
    if (outcome === undefined) return;
    this.world.host.send(CONDUCTOR, { kind: 'finished', request: id, attempt, outcome });
  }

  release(request: Request): void {
    const { host, spec } = this.world;
    const { id, attempt } = request;
    host.send(ownStore(this.world), { kind: 'release', request: id, attempt, instance: spec.id });
  }

  report(request: Request, outcome: Outcome, nowNs: number): void {
    const { id, attempt } = request;
    const { host } = this.world;
    host.mark(id, Mark.finishedNs, nowNs);
    host.mark(id, Mark.outcome, outcome);
    this.ended.set(attemptKey(id, attempt), outcome);
    host.send(CONDUCTOR, { kind: 'finished', request: id, attempt, outcome });
  }
}
