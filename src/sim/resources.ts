/** The cluster's buses and links as resources of the fluid network, and the paths of transfers. */
import type { Place, Transfer } from '../core/host.ts';
import { type Node, Tier, type Topology } from '../core/topology.ts';
import type { FluidNetwork } from './fluid.ts';

export interface Path {
  readonly resources: readonly number[];
  /** Least nominal capacity on the way, bytes per ns: what a lone transfer reaches. */
  readonly bytesPerNs: number;
  readonly latencyNs: number;
}

/** A pair of rails, and whether the memory at either end lies at the other socket. */
interface RailPair {
  readonly sourceRail: number;
  readonly targetRail: number;
  readonly sourceFar: boolean;
  readonly targetFar: boolean;
}

/** Per node, one resource per direction of each thing. -1: there is none. */
interface NodeResources {
  /** All rails as one (striped evenly), or each by itself. */
  readonly railsOut: readonly number[];
  readonly railsIn: readonly number[];
  /** Between the sockets, out of the node's memory and into it. */
  readonly socketOut: number;
  readonly socketIn: number;
  readonly hostToDevice: number;
  readonly deviceToHost: number;
  readonly ssdRead: number;
  readonly ssdWrite: number;
}

interface RackResources {
  readonly up: number;
  readonly down: number;
}

const NONE = -1;

/** Rails and SSDs whose rate can change, each direction. */
type Changing = 'rails' | 'ssd';

export class ResourceMap {
  private readonly topology: Topology;
  private readonly network: FluidNetwork;
  private readonly nodes: NodeResources[] = [];
  private readonly capacities: number[] = [];
  /** The fabric's resource, or -1 when it does not block. */
  private readonly fabric: number;
  /** Rack of each node, or -1. */
  private readonly rackOf: Int32Array;
  private readonly racks: RackResources[];
  private readonly paths = new Map<number, Path>();
  /** Of each pair of places, by pair of rails and what is far. */
  private readonly railPaths = new Map<number, (Path | undefined)[]>();
  private readonly railsMax: number;

  /** @param apart each rail a resource by itself, with the link between the sockets */
  constructor(topology: Topology, network: FluidNetwork, apart: boolean) {
    this.topology = topology;
    this.network = network;
    this.railsMax = Math.max(...topology.nodes.map(({ rails }) => rails.length));
    for (const node of topology.nodes) this.nodes.push(this.addNode(node, apart));
    const blocking = Number.isFinite(topology.fabricBytesPerNs);
    this.fabric = blocking ? this.add('fabric', topology.fabricBytesPerNs) : NONE;
    this.rackOf = new Int32Array(topology.nodes.length).fill(NONE);
    this.racks = topology.racks.map(({ name, nodes, uplinkBytesPerNs }, rack) => {
      for (const node of nodes) this.rackOf[node] = rack;
      const up = this.add(`${name}/up`, uplinkBytesPerNs);
      return { up, down: this.add(`${name}/down`, uplinkBytesPerNs) };
    });
  }

  private addNode(node: Node, apart: boolean): NodeResources {
    const { name, rails, railEfficiency, socketBytesPerNs, hostToDeviceBytesPerNs } = node;
    const line = rails.map(({ bytesPerNs }) => bytesPerNs * railEfficiency);
    let whole = 0;
    for (const rail of rails) whole += rail.bytesPerNs;
    whole *= railEfficiency;
    const railsOf = (way: string) =>
      apart
        ? rails.map((rail, r) => this.add(`${name}/${rail.name}-${way}`, line[r]))
        : [this.add(`${name}/rails-${way}`, whole)];
    const railsOut = railsOf('out');
    const railsIn = railsOf('in');
    const sockets = apart && node.numaDomains > 1 && Number.isFinite(socketBytesPerNs);
    const socket = (way: string) =>
      sockets ? this.add(`${name}/socket-${way}`, socketBytesPerNs) : NONE;
    const ssd = node.ssdCapacityBytes > 0;
    return {
      railsOut,
      railsIn,
      hostToDevice: this.add(`${name}/host-to-device`, hostToDeviceBytesPerNs),
      deviceToHost: this.add(`${name}/device-to-host`, hostToDeviceBytesPerNs),
      ssdRead: ssd ? this.add(`${name}/ssd-read`, node.ssdReadBytesPerNs) : NONE,
      ssdWrite: ssd ? this.add(`${name}/ssd-write`, node.ssdWriteBytesPerNs) : NONE,
      socketOut: socket('out'),
      socketIn: socket('in'),
    };
  }

  /** Borrowed and cached: one path per pair of places. */
  path({ source, target }: Transfer): Path {
    const key = endsKey(source, target);
    let path = this.paths.get(key);
    if (path === undefined) {
      const whole = { sourceRail: 0, targetRail: 0, sourceFar: false, targetFar: false };
      path = this.makePath(source, target, whole);
      this.paths.set(key, path);
    }
    return path;
  }

  /** The same over one pair of rails, whose memory may lie at the other socket. */
  railPath(
    { source, target }: Transfer,
    sourceRail: number,
    targetRail: number,
    sourceFar: boolean,
    targetFar: boolean,
  ): Path {
    const ends = endsKey(source, target);
    let paths = this.railPaths.get(ends);
    if (paths === undefined) {
      paths = new Array<Path | undefined>(4 * this.railsMax ** 2).fill(undefined);
      this.railPaths.set(ends, paths);
    }
    const rails = (sourceRail * this.railsMax + targetRail) * 4;
    const of = rails + (sourceFar ? 2 : 0) + (targetFar ? 1 : 0);
    let path = paths[of];
    if (path === undefined) {
      path = this.makePath(source, target, { sourceRail, targetRail, sourceFar, targetFar });
      paths[of] = path;
    }
    return path;
  }

  /** From its tier up to the memory of its node, over the rails, and down into its tier. */
  private makePath(source: Place, target: Place, pair: RailPair): Path {
    const { nodes } = this.topology;
    const from = nodes[source.node];
    const to = nodes[target.node];
    const own = this.nodes[from.id];
    const peer = this.nodes[to.id];
    const resources: number[] = [];
    let latencyNs = 0;
    if (source.tier === Tier.ssd) {
      resources.push(own.ssdRead);
      latencyNs += from.ssdLatencyNs;
    }
    if (from !== to) {
      if (pair.sourceFar) resources.push(own.socketOut);
      resources.push(own.railsOut[pair.sourceRail], peer.railsIn[pair.targetRail]);
      if (pair.targetFar) resources.push(peer.socketIn);
      this.addSwitches(from.id, to.id, resources);
      latencyNs += Math.max(from.railLatencyNs, to.railLatencyNs);
    } else {
      // Up from a device to the host's memory, down into a device, or both.
      if (source.tier === Tier.hbm) resources.push(own.deviceToHost);
      if (target.tier === Tier.hbm) resources.push(own.hostToDevice);
      const bus = source.tier === Tier.hbm || target.tier === Tier.hbm;
      if (bus) latencyNs += to.hostToDeviceLatencyNs;
    }
    if (target.tier === Tier.ssd) {
      resources.push(peer.ssdWrite);
      latencyNs += to.ssdLatencyNs;
    }
    const real = resources.filter((resource) => resource !== NONE);
    const bytesPerNs = Math.min(...real.map((resource) => this.capacities[resource]));
    return { resources: real, bytesPerNs, latencyNs };
  }

  private addSwitches(from: number, to: number, resources: number[]): void {
    const up = this.rackOf[from];
    const down = this.rackOf[to];
    if (up !== down) {
      if (up !== NONE) resources.push(this.racks[up].up);
      if (down !== NONE) resources.push(this.racks[down].down);
    }
    if (this.fabric !== NONE) resources.push(this.fabric);
  }

  /** The thing goes at `factor` of its rate from now on; `rail` is ignored for SSDs. */
  setRate(nowNs: number, node: number, what: Changing, rail: number, factor: number): void {
    const { railsOut, railsIn, ssdRead, ssdWrite } = this.nodes[node];
    const both = what === 'ssd' ? [ssdRead, ssdWrite] : [railsOut[rail], railsIn[rail]];
    for (const resource of both) {
      if (resource === NONE) continue;
      this.network.setCapacity(nowNs, resource, this.capacities[resource] * factor);
    }
  }

  private add(name: string, bytesPerNs: number): number {
    this.capacities.push(bytesPerNs);
    return this.network.addResource(name, bytesPerNs);
  }
}

/** One number for the two places. */
function endsKey(source: Place, target: Place): number {
  return ((source.node << 14) | target.node) * 9 + source.tier * 3 + target.tier;
}
