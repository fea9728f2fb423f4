/**
 * Who belongs to the cluster, as one process knows it from the registry: who is a member, who
 * leads, and which process hosts which machine.
 */
import { type Address, type AddressBook, CONDUCTOR, WORKLOAD } from '../../core/topology.ts';
import type { Snapshot } from '../registry/registry.ts';
import { LEADER_KEY, type Member, memberOf } from './spec.ts';

export interface Leader {
  readonly name: string;
  /** Revision of its election: another one is another leader, whatever its name. */
  readonly term: number;
}

/** What changed in a view of the members. */
export interface Change {
  /** Members that went, or whose life is over. */
  readonly gone: readonly Member[];
  /** Members that are new, or that began anew. */
  readonly came: readonly Member[];
}

export class Membership {
  leader: Leader | null = null;
  private members: ReadonlyMap<string, Member> = new Map();
  /** The last that was heard of everybody, members or not. */
  private readonly known = new Map<string, Member>();
  private nodes: readonly (string | undefined)[] = [];
  private ingress: string | null = null;
  private waiting: (() => void)[] = [];

  get now(): readonly Member[] {
    return [...this.members.values()];
  }

  get(name: string): Member | undefined {
    return this.members.get(name);
  }

  /** Takes in what the registry says of the members. */
  update(entries: Snapshot): Change {
    const before = this.members;
    const found = [...entries.values()].map(({ value }) => memberOf(value));
    const members = found.filter((member) => member !== null);
    const now = new Map(members.map((member) => [member.name, member]));
    this.members = now;
    const nodes: string[] = [];
    this.ingress = null;
    for (const member of members) {
      this.known.set(member.name, member);
      if (member.role === 'agent') nodes[member.node] = member.name;
      else if (member.role === 'ingress') this.ingress = member.name;
    }
    this.nodes = nodes;
    this.wake();
    const gone = [...before.values()].filter(
      ({ name, incarnation }) => now.get(name)?.incarnation !== incarnation,
    );
    const came = members.filter(
      ({ name, incarnation }) => before.get(name)?.incarnation !== incarnation,
    );
    return { gone, came };
  }

  /** Answers whether somebody else leads now. */
  updateLeader(entries: Snapshot): boolean {
    const entry = entries.get(LEADER_KEY);
    const term = entry?.revision ?? 0;
    if (term === (this.leader?.term ?? 0)) return false;
    this.leader = entry === undefined ? null : { name: entry.value, term };
    this.wake();
    return true;
  }

  /** Resolves once `holds` does, looked at after every change. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  /** Nodes whose agents are members. */
  get agents(): readonly number[] {
    return this.now.filter(({ role }) => role === 'agent').map(({ node }) => node);
  }

  /** Name of the process that hosts a machine; null while nobody does. */
  processOf(addresses: AddressBook, address: Address): string | null {
    if (address === CONDUCTOR) return this.leader?.name ?? null;
    if (address === WORKLOAD) return this.ingress;
    return this.nodes[addresses.nodeOf[address]] ?? null;
  }

  /** Machines that a process hosts, or did when it was last heard of. */
  addressesOf(addresses: AddressBook, name: string): Address[] {
    const member = this.known.get(name);
    const found: Address[] = name === this.leader?.name ? [CONDUCTOR] : [];
    if (member?.role === 'ingress') found.push(WORKLOAD);
    if (member?.role === 'agent') found.push(...addressesOn(addresses, member.node));
    return found;
  }

  private wake(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }
}

/** The machines of a node. */
export function addressesOn(addresses: AddressBook, node: number): Address[] {
  const all = Array.from({ length: addresses.count }, (_, address) => address);
  return all.filter((address) => addresses.nodeOf[address] === node);
}
