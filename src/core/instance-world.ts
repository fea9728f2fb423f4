/** What an instance is given, shared by its parts and not part of their state. */
import { Count, type Host } from './host.ts';
import type { InstanceSettings } from './settings.ts';
import type { Address, AddressBook, InstanceSpec, KvLayout, Topology } from './topology.ts';

export interface InstanceWorld {
  readonly host: Host;
  readonly spec: InstanceSpec;
  readonly topology: Topology;
  readonly kv: KvLayout;
  readonly settings: InstanceSettings;
  readonly addresses: AddressBook;
}

/** The store of the node that the instance runs on. */
export function ownStore({ addresses, spec }: InstanceWorld): Address {
  return addresses.store(spec.node);
}

/** The store of the node that another instance runs on. */
export function storeOf({ addresses, topology }: InstanceWorld, instance: number): Address {
  return addresses.store(topology.instances[instance].node);
}

/** A fact came that nothing waits for any more. */
export function late({ host }: InstanceWorld): void {
  host.count(Count.lateFact, 1);
}
