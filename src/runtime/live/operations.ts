/**
 * What operators want of nodes, carried out by whoever leads. The wishes stand in the registry, so
 * that they outlive a leader: roles, a node that drains, a node that is to leave.
 */
import type { Role } from '../../core/topology.ts';
import type { Registry, Snapshot } from '../registry/registry.ts';
import type { Machines } from './machines.ts';
import type { Membership } from './membership.ts';
import { WANTED, type Wanted } from './spec.ts';

/** How often a leader looks whether a node has drained that is to leave. */
const LOOK_MS = 500;

export interface OperationsWorld {
  readonly registry: Registry;
  readonly membership: Membership;
  /** Those of now. */
  readonly machines: () => Machines | null;
  /** Tells an agent to go. */
  readonly depart: (name: string) => void;
}

export class Operations {
  private readonly world: OperationsWorld;
  private wanted = new Map<number, Wanted>();
  private timer: NodeJS.Timeout | null = null;

  constructor(world: OperationsWorld) {
    this.world = world;
  }

  async start(): Promise<void> {
    await this.world.registry.watch(WANTED, (entries) => {
      const before = this.wanted;
      this.wanted = readWanted(entries);
      const changed = [...this.wanted].filter(
        ([node, wanted]) => JSON.stringify(before.get(node)) !== JSON.stringify(wanted),
      );
      this.apply(changed.map(([node]) => node));
    });
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
  }

  /** The conductor here leads from now on. */
  lead(): void {
    this.apply([...this.wanted.keys()]);
  }

  /** Tells the conductor what is wanted of these nodes, if it leads. */
  apply(nodes: readonly number[]): void {
    const machines = this.world.machines();
    for (const node of nodes) {
      const wanted = this.wanted.get(node);
      if (wanted !== undefined) machines?.setRoles(node, rolesOf(wanted));
    }
    const leaving = [...this.wanted.values()].some(({ state }) => state === 'out');
    if (leaving) this.timer ??= setInterval(() => this.look(), LOOK_MS).unref();
    else this.stop();
  }

  private look(): void {
    const { membership, machines, depart } = this.world;
    for (const { name, role, node } of membership.now) {
      const leaves = role === 'agent' && this.wanted.get(node)?.state === 'out';
      if (leaves && machines()?.isDrained(node) === true) depart(name);
    }
  }
}

/** Null: as configured. */
function rolesOf({ state, roles }: Wanted): readonly Role[] | null {
  return state === 'in' ? roles : [];
}

/** Null for what is no wish. */
function wantedOf(value: string): Wanted | null {
  try {
    const { state, roles } = JSON.parse(value) as Wanted;
    const isState = ['in', 'drained', 'out'].includes(state);
    const isRole = (role: unknown) => role === 'prefill' || role === 'decode';
    const isRoles = roles === null || (Array.isArray(roles) && roles.every(isRole));
    return isState && isRoles ? { state, roles } : null;
  } catch {
    return null;
  }
}

export function readWanted(entries: Snapshot): Map<number, Wanted> {
  const found = new Map<number, Wanted>();
  for (const { key, value } of entries.values()) {
    const wanted = wantedOf(value);
    if (wanted !== null) found.set(Number(key.slice(WANTED.length)), wanted);
  }
  return found;
}
