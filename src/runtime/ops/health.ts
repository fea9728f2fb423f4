/**
 * How each node of the cluster is: a member is ok; one whose channel broke is suspect for as long
 * as its lease may still stand after its death; who is no member is gone.
 */
export type Health = 'ok' | 'suspect' | 'gone';

export interface NodeState {
  readonly node: number;
  readonly health: Health;
  /** Of the member that hosts it, or hosted it last. */
  readonly name: string | null;
  readonly incarnation: number;
  /** Since it is so, ms. */
  readonly sinceMs: number;
  readonly why: string;
}

interface Tracked {
  name: string | null;
  incarnation: number;
  isMember: boolean;
  memberSinceMs: number;
  resetMs: number;
  resetWhy: string;
}

export class NodeHealth {
  private readonly nodes: Tracked[];
  /** Time that a member's lease lasts after it was last heard of. */
  private readonly ttlMs: number;

  constructor(nodes: number, ttlMs: number, nowMs: number) {
    this.ttlMs = ttlMs;
    this.nodes = Array.from({ length: nodes }, () => ({
      name: null,
      incarnation: -1,
      isMember: false,
      memberSinceMs: nowMs,
      resetMs: Number.NEGATIVE_INFINITY,
      resetWhy: '',
    }));
  }

  /** Who is a member now: node, name and incarnation of each agent. */
  members(
    agents: readonly {
      readonly node: number;
      readonly name: string;
      readonly incarnation: number;
    }[],
    nowMs: number,
  ): void {
    const found = new Map(agents.map((agent) => [agent.node, agent]));
    this.nodes.forEach((tracked, node) => {
      const agent = found.get(node);
      const began = agent !== undefined && agent.incarnation !== tracked.incarnation;
      if ((agent !== undefined) !== tracked.isMember || began) tracked.memberSinceMs = nowMs;
      tracked.isMember = agent !== undefined;
      if (agent === undefined) return;
      if (began) tracked.resetMs = Number.NEGATIVE_INFINITY;
      tracked.name = agent.name;
      tracked.incarnation = agent.incarnation;
    });
  }

  /** The channel to the member of this name broke. */
  reset(name: string, why: string, nowMs: number): void {
    for (const tracked of this.nodes) {
      if (tracked.name !== name) continue;
      tracked.resetMs = nowMs;
      tracked.resetWhy = why;
    }
  }

  states(nowMs: number): NodeState[] {
    return this.nodes.map((tracked, node) => {
      const { name, incarnation, isMember, memberSinceMs, resetMs, resetWhy } = tracked;
      const state = (health: Health, sinceMs: number, why: string): NodeState => ({
        node,
        health,
        name,
        incarnation,
        sinceMs: Math.round(nowMs - sinceMs),
        why,
      });
      if (!isMember) return state('gone', memberSinceMs, name === null ? 'never seen' : 'left');
      const isLate = nowMs - resetMs <= this.ttlMs;
      if (isLate) return state('suspect', resetMs, resetWhy);
      return state('ok', memberSinceMs, '');
    });
  }
}
