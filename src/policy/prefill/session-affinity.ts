/**
 * A session stays on its instance, found by rendezvous hashing: the highest hash of (session,
 * instance) wins, so that an instance that comes or goes moves only its own share of sessions.
 * Requests without a session go to the instance whose queue is predicted to be done first.
 */
import {
  type ClusterView,
  definePrefill,
  leastBy,
  localChoice,
  type PolicyContext,
  type PrefillChoice,
  type PrefillPolicy,
  type PrefixMatch,
  type Request,
} from '../../core/policy-kit.ts';

class SessionAffinity implements PrefillPolicy {
  private readonly context: PolicyContext;

  constructor(context: PolicyContext) {
    this.context = context;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { session } = request;
    const score = (of: number) => (session < 0 ? view.queueNs(of) : -hash(session, of));
    const instance = leastBy(view.prefillInstances, score);
    return localChoice(this.context, request, instance, match, view);
  }
}

/** 32 bits of two, by the finaliser of MurmurHash3. */
function hash(session: number, instance: number): number {
  let h = Math.imul(session, 0x9e3779b1) ^ Math.imul(instance + 1, 0x85ebca77);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export default definePrefill({
  source: 'Sticky sessions; Thaler and Ravishankar, "Name-based mappings" (rendezvous), 1998',
  params: {},
  create: (context) => new SessionAffinity(context),
});
