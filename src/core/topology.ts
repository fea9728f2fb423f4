/**
 * The cluster's shape: nodes, rails, tiers, instances, and the addresses of the machines on them.
 */

export const Tier = { hbm: 0, dram: 1, ssd: 2 } as const;
export type Tier = (typeof Tier)[keyof typeof Tier];
export const TIER_NAMES = ['hbm', 'dram', 'ssd'] as const;

/** How firmly a block is held in its tier. Soft pins give way when nothing else can go. */
export const Pin = { none: 0, soft: 1, hard: 2 } as const;
export type Pin = (typeof Pin)[keyof typeof Pin];
export const PIN_NAMES = ['none', 'soft', 'hard'] as const;

export type Role = 'prefill' | 'decode';

/** One NIC port. `numa` is the domain that it hangs off; `gpus` are those near it. */
export interface Rail {
  readonly name: string;
  readonly bytesPerNs: number;
  readonly numa: number;
  readonly gpus: readonly number[];
}

export interface Node {
  readonly id: number;
  readonly name: string;
  readonly group: string;
  readonly gpus: number;
  readonly numaDomains: number;
  readonly rails: readonly Rail[];
  /** Effective bytes per ns between host and devices, each direction, whole node. */
  readonly hostToDeviceBytesPerNs: number;
  readonly hostToDeviceLatencyNs: number;
  /** Effective share of the rails' line rate that a transfer reaches (0..1]. */
  readonly railEfficiency: number;
  readonly railLatencyNs: number;
  /** Processor time that moving a byte over the rails takes at either end: 0 for RDMA. */
  readonly railCpuNsPerByte: number;
  /** Between the sockets, each direction: what goes from memory of one to a rail of another. */
  readonly socketBytesPerNs: number;
  readonly dramCapacityBytes: number;
  readonly ssdCapacityBytes: number;
  /** All SSDs of the node together. */
  readonly ssdReadBytesPerNs: number;
  readonly ssdWriteBytesPerNs: number;
  readonly ssdLatencyNs: number;
}

/** One engine over some GPUs of one node, or over all GPUs of a pipeline group. */
export interface InstanceSpec {
  readonly id: number;
  readonly name: string;
  readonly node: number;
  readonly gpus: readonly number[];
  /**
   * Machines that its layers are spread over. `node` is then all of them as one: each carries an
   * equal share of every block and of every move, that of its layers.
   */
  readonly stages: number;
  readonly roles: readonly Role[];
  /** Device memory for KV pages, bytes, whole instance. */
  readonly kvCapacityBytes: number;
  /** Share of the node's GPUs: an instance over all of them weighs 1 in gpuSeconds. */
  readonly gpuShare: number;
}

/** KV layout of the model that is served; one namespace at first. */
export interface KvLayout {
  readonly model: string;
  readonly layers: number;
  /** Bytes of KV per token in each tier (fp8 or compressed lower tiers may be smaller). */
  readonly bytesPerToken: readonly [hbm: number, dram: number, ssd: number];
  readonly blockTokens: number;
}

/** Nodes under one switch, and what it carries to the others, each direction. */
export interface Rack {
  readonly name: string;
  readonly nodes: readonly number[];
  readonly uplinkBytesPerNs: number;
}

export interface Topology {
  readonly nodes: readonly Node[];
  readonly instances: readonly InstanceSpec[];
  readonly kv: KvLayout;
  /** Fabric bytes per ns, Infinity when non-blocking. */
  readonly fabricBytesPerNs: number;
  /** Empty when no switch is narrower than the rails below it. */
  readonly racks: readonly Rack[];
  /** Size of the pieces that rail policies deal out. */
  readonly sliceBytes: number;
  /** One way, between two machines that are not on one node. */
  readonly controlDelayNs: number;
}

/** Addresses are dense: ingress, conductor, one store per node, one machine per instance. */
export type Address = number;
export const WORKLOAD: Address = 0;
export const CONDUCTOR: Address = 1;
const FIRST_STORE = 2;

export class AddressBook {
  readonly nodes: number;
  readonly instances: number;
  /** Node of each address, -1 for those off the cluster's nodes. */
  readonly nodeOf: Int32Array;

  constructor(topology: Topology) {
    this.nodes = topology.nodes.length;
    this.instances = topology.instances.length;
    this.nodeOf = new Int32Array(FIRST_STORE + this.nodes + this.instances).fill(-1);
    for (let n = 0; n < this.nodes; n++) this.nodeOf[this.store(n)] = n;
    for (const spec of topology.instances) this.nodeOf[this.instance(spec.id)] = spec.node;
  }

  get count(): number {
    return this.nodeOf.length;
  }

  store(node: number): Address {
    return FIRST_STORE + node;
  }

  instance(id: number): Address {
    return FIRST_STORE + this.nodes + id;
  }

  isStore(address: Address): boolean {
    return address >= FIRST_STORE && address < FIRST_STORE + this.nodes;
  }

  isInstance(address: Address): boolean {
    return address >= FIRST_STORE + this.nodes && address < this.count;
  }

  /** Node of a store's address. */
  storeNode(address: Address): number {
    return address - FIRST_STORE;
  }

  /** Instance id of an instance's address. */
  instanceId(address: Address): number {
    return address - FIRST_STORE - this.nodes;
  }

  name(address: Address): string {
    if (address === WORKLOAD) return 'workload';
    if (address === CONDUCTOR) return 'conductor';
    const store = address - FIRST_STORE;
    return store < this.nodes ? `store${store}` : `instance${store - this.nodes}`;
  }

  /** The address of a name, or -1. */
  find(name: string): Address {
    for (let address = 0; address < this.count; address++) {
      if (this.name(address) === name) return address;
    }
    return -1;
  }
}
