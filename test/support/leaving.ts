/** A conductor that was told that a node is going gives it nothing new, while another is there. */
import type { Fact, Message } from '../../src/core/messages.ts';
import type { Observer } from '../../src/core/observer.ts';
import {
  type Address,
  type AddressBook,
  CONDUCTOR,
  type Topology,
} from '../../src/core/topology.ts';

export class Leaving implements Observer {
  /** Nodes that were told to go, and blocks placed elsewhere for that. */
  drained = 0;
  private readonly topology: Topology;
  private readonly addresses: AddressBook;
  private readonly leaving = new Set<number>();
  private readonly dead = new Set<number>();
  /** Dispatches to each instance so far. */
  private readonly decided = new Map<Address, number>();

  constructor(topology: Topology, addresses: AddressBook) {
    this.topology = topology;
    this.addresses = addresses;
  }

  /** A successor has to be told. */
  onCrash(address: Address): void {
    if (address !== CONDUCTOR) return;
    this.leaving.clear();
    this.decided.clear();
  }

  onFact(to: Address, { body }: Fact): void {
    if (to !== CONDUCTOR) return;
    const { addresses, topology } = this;
    if (body.kind === 'drain' && !this.dead.has(body.node)) {
      this.leaving.add(body.node);
      this.drained++;
    } else if (body.kind === 'setRoles' && body.roles.length > 0) {
      this.leaving.delete(topology.instances[body.instance].node);
    } else if (body.kind === 'peerGone' && addresses.isStore(body.peer)) {
      this.leaving.delete(addresses.storeNode(body.peer));
      this.dead.add(addresses.storeNode(body.peer));
    } else if (body.kind === 'blockInventory') this.dead.delete(body.node);
  }

  onSend(from: Address, to: Address, message: Message): void {
    if (from !== CONDUCTOR) return;
    const node = this.addresses.nodeOf[to];
    if (message.kind === 'replicate' && this.leaving.has(node)) {
      throw new Error(`a copy is made on node ${node}, which is going`);
    }
    if (message.kind !== 'dispatch') return;
    // What was decided before is sent again as it was.
    const before = this.decided.get(to) ?? 0;
    if (message.sequence <= before) return;
    this.decided.set(to, message.sequence);
    for (const place of message.nodes) {
      if (this.leaving.has(place)) throw new Error(`a block is placed on ${place}, which is going`);
    }
  }
}
