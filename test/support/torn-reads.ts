/**
 * A block that a peer fetched is torn when its owner reused the slot meanwhile. No torn block may
 * become readable.
 */
import type { Transfer } from '../../src/core/host.ts';
import type { Fact } from '../../src/core/messages.ts';
import type { Observer } from '../../src/core/observer.ts';
import type { StoreNode } from '../../src/core/store-node.ts';
import { SlotState } from '../../src/core/tier-pool.ts';
import type { Address, AddressBook } from '../../src/core/topology.ts';

export class TornReads implements Observer {
  private readonly addresses: AddressBook;
  private readonly stores: () => readonly StoreNode[];
  private readonly fetches = new Map<string, Transfer>();
  /** The fetch whose end is being handled, with torn blocks. */
  private torn: { store: StoreNode; slot: number }[] = [];

  constructor(addresses: AddressBook, stores: () => readonly StoreNode[]) {
    this.addresses = addresses;
    this.stores = stores;
  }

  onTransfer(from: Address, transfer: Transfer): void {
    const read = transfer.kind === 'fetch' || transfer.kind === 'move';
    if (read) this.fetches.set(`${from}/${transfer.id}`, transfer);
  }

  onFact(to: Address, { body, atNs }: Fact): void {
    for (const { store, slot } of this.torn) {
      if (store.dram.state(slot) !== SlotState.ready) continue;
      throw new Error(`at ${atNs} ns: slot ${slot} of ${store.world.node.name} is torn`);
    }
    this.torn = [];
    if (body.kind !== 'transferEnded') return;
    const fetch = this.fetches.get(`${to}/${body.transfer}`);
    if (fetch === undefined) return;
    const owner = this.stores()[fetch.source.node];
    const reader = this.stores()[this.addresses.storeNode(to)];
    const { segment, slots, generations } = fetch.source.slots!;
    // What came before its owner died came whole.
    if (segment !== owner.incarnation) return;
    for (let i = 0; i < body.blocksDone; i++) {
      if (owner.tiers.at(fetch.source.tier).pool.generations[slots[i]] === generations[i]) continue;
      this.torn.push({ store: reader, slot: fetch.target.slots!.slots[i] });
    }
  }
}
