/** Watches blocks on their way to new homes: when batches start, and what each store was told. */
import type { Transfer } from '../../src/core/host.ts';
import type { Fact, Message, MoveBlocks } from '../../src/core/messages.ts';
import type { Observer } from '../../src/core/observer.ts';
import { type Address, type AddressBook, CONDUCTOR } from '../../src/core/topology.ts';

export interface Batch {
  readonly atNs: number;
  readonly from: number;
  readonly to: number;
  readonly blocks: readonly number[];
}

export class MovesSeen implements Observer {
  /** Batches that homes were told of, and bytes that went over the rails. */
  readonly named: Batch[] = [];
  readonly starts: { readonly atNs: number; readonly from: number; readonly bytes: number }[] = [];
  /** Moves under way from each node now, and at most. */
  inFlightMost = 0;
  /** Maps, in the order in which the conductor made them. */
  readonly maps: (readonly number[])[] = [];
  private readonly addresses: AddressBook;
  private readonly open = new Map<string, number>();
  private readonly inFlight = new Map<number, number>();

  constructor(addresses: AddressBook) {
    this.addresses = addresses;
  }

  onSend(from: Address, to: Address, message: Message, atNs: number): void {
    if (message.kind === 'moveBlocks') this.name(from, to, message, atNs);
    if (message.kind === 'buckets' && from === CONDUCTOR) {
      if (this.maps.at(-1)?.join() !== message.owners.join()) this.maps.push(message.owners);
    }
  }

  onTransfer(initiator: Address, { kind, id, source, bytes }: Transfer, atNs: number): void {
    if (kind !== 'move') return;
    this.starts.push({ atNs, from: source.node, bytes });
    this.open.set(`${initiator}/${id}`, source.node);
    const now = (this.inFlight.get(source.node) ?? 0) + 1;
    this.inFlight.set(source.node, now);
    this.inFlightMost = Math.max(this.inFlightMost, now);
  }

  onFact(to: Address, { body }: Fact): void {
    if (body.kind !== 'transferEnded') return;
    const node = this.open.get(`${to}/${body.transfer}`);
    if (node !== undefined) this.inFlight.set(node, (this.inFlight.get(node) ?? 1) - 1);
  }

  private name(from: Address, to: Address, { blocks }: MoveBlocks, atNs: number): void {
    const { addresses } = this;
    const ends = { from: addresses.storeNode(from), to: addresses.storeNode(to) };
    this.named.push({ atNs, ...ends, blocks });
  }
}
