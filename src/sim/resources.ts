/** The cluster's buses and links as resources of the fluid network, and the paths of transfers. */
import type { Transfer } from '../core/host.ts';
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
      this.nodes.push({
        railsOut: this.add(`${node.name}/rails-out`, rails),
        railsIn: this.add(`${node.name}/rails-in`, rails),
        hostToDevice: this.add(`${node.name}/host-to-device`, node.hostToDeviceBytesPerNs),
        deviceToHost: this.add(`${node.name}/device-to-host`, node.hostToDeviceBytesPerNs),
      });
    }
    const blocking = Number.isFinite(topology.fabricBytesPerNs);
    this.fabric = blocking ? this.add('fabric', topology.fabricBytesPerNs) : -1;
  }

  /** Borrowed and cached: one path per pair of places. */
  path({ source, target }: Transfer): Path {
    const remote = source.node !== target.node;
    const up = source.tier === Tier.hbm;
    const down = target.tier === Tier.hbm;
    const crossed = remote ? 0 : (up ? 1 : 0) + (down ? 2 : 0);
    const key = ((source.node << 14) | target.node) * 4 + crossed;
    let path = this.paths.get(key);
    if (path === undefined) {
      path = remote
        ? this.remotePath(source.node, target.node)
        : this.localPath(target.node, up, down);
      this.paths.set(key, path);
    }
    return path;
  }

  private remotePath(source: number, target: number): Path {
    const resources = [this.nodes[source].railsOut, this.nodes[target].railsIn];
    if (this.fabric >= 0) resources.push(this.fabric);
    const { nodes } = this.topology;
    const latencyNs = Math.max(nodes[source].railLatencyNs, nodes[target].railLatencyNs);
    return this.finish(resources, latencyNs);
  }

  /** Up from a device to the host's memory, down into a device, or both. */
  private localPath(node: number, up: boolean, down: boolean): Path {
    const { hostToDevice, deviceToHost } = this.nodes[node];
    const resources = [...(up ? [deviceToHost] : []), ...(down ? [hostToDevice] : [])];
    return this.finish(resources, this.topology.nodes[node].hostToDeviceLatencyNs);
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
