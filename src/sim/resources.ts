/** The cluster's buses and links as resources of the fluid network, and the paths of transfers. */
import type { Place, Transfer } from '../core/host.ts';
import { Tier, type Topology } from '../core/topology.ts';
import type { FluidNetwork } from './fluid.ts';

export interface Path {
  readonly resources: readonly number[];
  /** Least capacity on the way, bytes per ns: what a lone transfer reaches. */
  readonly bytesPerNs: number;
  readonly latencyNs: number;
}

/** Per node: one resource per direction of the rails (striped evenly) and of the host bus. */
interface NodeResources {
  readonly railsOut: number;
  readonly railsIn: number;
  readonly hostToDevice: number;
  readonly deviceToHost: number;
  /** -1 without SSD. */
  readonly ssdRead: number;
  readonly ssdWrite: number;
}

export class ResourceMap {
  private readonly topology: Topology;
  private readonly network: FluidNetwork;
  private readonly nodes: NodeResources[] = [];
  private readonly capacities: number[] = [];
  /** The fabric's resource, or -1 when it does not block. */
  private readonly fabric: number;
  private readonly paths = new Map<number, Path>();

  constructor(topology: Topology, network: FluidNetwork) {
    this.topology = topology;
    this.network = network;
    for (const node of topology.nodes) {
      let rails = 0;
      for (const rail of node.rails) rails += rail.bytesPerNs;
      rails *= node.railEfficiency;
      const ssd = node.ssdCapacityBytes > 0;
      this.nodes.push({
        railsOut: this.add(`${node.name}/rails-out`, rails),
        railsIn: this.add(`${node.name}/rails-in`, rails),
        hostToDevice: this.add(`${node.name}/host-to-device`, node.hostToDeviceBytesPerNs),
        deviceToHost: this.add(`${node.name}/device-to-host`, node.hostToDeviceBytesPerNs),
        ssdRead: ssd ? this.add(`${node.name}/ssd-read`, node.ssdReadBytesPerNs) : -1,
        ssdWrite: ssd ? this.add(`${node.name}/ssd-write`, node.ssdWriteBytesPerNs) : -1,
      });
    }
    const blocking = Number.isFinite(topology.fabricBytesPerNs);
    this.fabric = blocking ? this.add('fabric', topology.fabricBytesPerNs) : -1;
  }

  /** Borrowed and cached: one path per pair of places. */
  path({ source, target }: Transfer): Path {
    const key = ((source.node << 14) | target.node) * 9 + source.tier * 3 + target.tier;
    let path = this.paths.get(key);
    if (path === undefined) {
      path = this.makePath(source, target);
      this.paths.set(key, path);
    }
    return path;
  }

  /** From its tier up to the memory of its node, over the rails, and down into its tier. */
  private makePath(source: Place, target: Place): Path {
    const { nodes } = this.topology;
    const from = nodes[source.node];
    const to = nodes[target.node];
    const resources: number[] = [];
    let latencyNs = 0;
    if (source.tier === Tier.ssd) {
      resources.push(this.nodes[from.id].ssdRead);
      latencyNs += from.ssdLatencyNs;
    }
    if (from !== to) {
      resources.push(this.nodes[from.id].railsOut, this.nodes[to.id].railsIn);
      if (this.fabric >= 0) resources.push(this.fabric);
      latencyNs += Math.max(from.railLatencyNs, to.railLatencyNs);
    } else {
      // Up from a device to the host's memory, down into a device, or both.
      if (source.tier === Tier.hbm) resources.push(this.nodes[from.id].deviceToHost);
      if (target.tier === Tier.hbm) resources.push(this.nodes[to.id].hostToDevice);
      const bus = source.tier === Tier.hbm || target.tier === Tier.hbm;
      if (bus) latencyNs += to.hostToDeviceLatencyNs;
    }
    if (target.tier === Tier.ssd) {
      resources.push(this.nodes[to.id].ssdWrite);
      latencyNs += to.ssdLatencyNs;
    }
    return this.finish(resources, latencyNs);
  }

  private finish(resources: readonly number[], latencyNs: number): Path {
    const bytesPerNs = Math.min(...resources.map((r) => this.capacities[r]));
    return { resources, bytesPerNs, latencyNs };
  }

  private add(name: string, bytesPerNs: number): number {
    this.capacities.push(bytesPerNs);
    return this.network.addResource(name, bytesPerNs);
  }
}
