/** What a live process has of a node beside its machines: pool, rails, SSD, transfers. */
import type { ClusterPlan } from '../../config/wire.ts';
import type { StoreNode } from '../../core/store-node.ts';
import { Tier } from '../../core/topology.ts';
import {
  DataPlane,
  PLANE_DEFAULTS,
  RAIL_KINDS,
  type RailSpec,
  type Segment,
} from '../data-plane.ts';
import type { NativeAddon } from '../native.ts';
import { LiveMemory, PARKED } from './live-memory.ts';
import type { LiveProcess } from './live-process.ts';
import { LiveSsd } from './live-ssd.ts';
import { LiveTransfers } from './live-transfers.ts';

export interface LiveNodeOptions {
  readonly addon: NativeAddon;
  readonly plan: ClusterPlan;
  readonly node: number;
  /** Makes the machines: what is on the SSD is known by then, and they have been told nothing. */
  readonly wire: () => StoreNode;
  readonly process: LiveProcess;
  readonly rails: readonly RailSpec[];
  /** Of `openPlane`, which outlives the node; null: it has one of its own. */
  readonly plane?: DataPlane | null;
  /** Of one live block; a multiple of 4096. */
  readonly blockBytes: number;
  /** Touch the pool now, in place of faults while it runs. */
  readonly prefault: boolean;
  /** Of this life of the node. */
  readonly incarnation: number;
  readonly ssd: NodeSsdOptions;
  readonly onWrongByte: (what: string) => void;
}

export interface NodeSsdOptions {
  /** Of this node alone; made if it is not there. */
  readonly folder: string;
  /** It goes when the node leaves for good; one that begins anew finds it again. */
  readonly temporary: boolean;
  /** Of the disk; null: as much as the tier needs. */
  readonly capacityBytes: number | null;
  /** Whatever tells one cluster from another. */
  readonly cluster: string;
}

/** Pages beyond what the instances hold: the last one of a prompt is seldom full. */
const SPARE_PAGES = 64;
/** Through which peers read the SSD. */
const BUFFERS = 32;

export class LiveNode {
  readonly plane: DataPlane;
  readonly memory: LiveMemory;
  readonly ssd: LiveSsd | null;
  readonly transfers: LiveTransfers;
  private readonly keepsPlane: boolean;
  private readonly kinds: ReadonlySet<string>;
  /** Pools of other nodes. */
  private readonly segments = new Map<number, { segment: Segment; incarnation: number }>();

  static async open(options: LiveNodeOptions): Promise<LiveNode> {
    const { addon, plan, blockBytes, incarnation, ssd: given } = options;
    const { kv, nodes } = plan.topology;
    const modelBytes = kv.blockTokens * kv.bytesPerToken[Tier.ssd];
    const slots = Math.floor(nodes[options.node].ssdCapacityBytes / modelBytes);
    const ssd =
      slots === 0 ? null : await LiveSsd.open({ addon, slots, blockBytes, incarnation, ...given });
    const store = options.wire();
    const slotsOfFound = store.adoptOnSsd(ssd?.found ?? []);
    const node = new LiveNode(options, ssd, store);
    await ssd?.adopt(slotsOfFound);
    await ssd?.attach(node.memory.pool.all());
    if (options.prefault) await node.memory.touch();
    return node;
  }

  private constructor(options: LiveNodeOptions, ssd: LiveSsd | null, store: StoreNode) {
    const { plan, rails, node, process } = options;
    const plane = options.plane ?? openPlane(options);
    this.plane = plane;
    this.keepsPlane = (options.plane ?? null) !== null;
    this.ssd = ssd;
    this.kinds = new Set(rails.map(({ kind }) => kind));
    this.memory = memoryOf(options, plane, store);
    const address = process.storeAddress(node);
    const tell = (body: Parameters<LiveProcess['tell']>[2]) => process.tell(address, address, body);
    this.transfers = new LiveTransfers({
      node,
      incarnation: options.incarnation,
      plane,
      memory: this.memory,
      ssd,
      prompts: process.prompts,
      blockTokens: plan.topology.kv.blockTokens,
      slotsOf: (tier) => store.tiers.at(tier).pool,
      segmentOf: (peer) => this.segments.get(peer) ?? null,
      say: (peer, word) => process.say(node, peer, word),
      slotReleased: (tier, slot) => tell({ kind: 'slotReleased', tier, slot }),
      slotLost: (tier, slot) => {
        const generation = store.tiers.at(tier).pool.generations[slot];
        tell({ kind: 'slotLost', tier, slot, generation });
      },
      onWrongByte: options.onWrongByte,
    });
    if (ssd !== null) ssd.onFailed = () => tell({ kind: 'tierLost', tier: Tier.ssd });
    process.setNode({ node, memory: this.memory, transfers: this.transfers });
  }

  /** The pool as its peers import it. */
  describe(): Uint8Array {
    return this.memory.pool.describe();
  }

  incarnationOf(peer: number): number | null {
    return this.segments.get(peer)?.incarnation ?? null;
  }

  /** Another node's pool, or another life of it; what is no descriptor is not taken. */
  join(peer: number, descriptor: Uint8Array, incarnation: number): void {
    this.leave(peer);
    const segment = this.plane.importSegment(descriptor);
    if (segment === null) return;
    // Between nodes only the rails that were asked for.
    for (const kind of RAIL_KINDS) if (!this.kinds.has(kind)) segment.exclude(kind);
    this.segments.set(peer, { segment, incarnation });
  }

  leave(peer: number): void {
    const known = this.segments.get(peer);
    if (known === undefined) return;
    this.segments.delete(peer);
    this.plane.dropSegment(known.segment);
  }

  /** Its machines are told nothing any more. */
  async close(forGood: boolean): Promise<void> {
    this.transfers.stop();
    await this.ssd?.close(forGood);
    if (this.keepsPlane) {
      for (const peer of [...this.segments.keys()]) this.leave(peer);
      this.memory.close();
    } else this.plane.close();
  }
}

/** A data plane with these rails open. Throws InputError with the cause when one can't be. */
export function openPlane({
  addon,
  plan,
  rails,
}: Pick<LiveNodeOptions, 'addon' | 'plan' | 'rails'>): DataPlane {
  const stream = { random: () => 0.5 };
  const plane = new DataPlane(addon, plan.policies.rail.create(stream as never), PLANE_DEFAULTS);
  // Within the node blocks are copied, whatever the rails between nodes are.
  const hasLocal = rails.some(({ kind }) => kind === 'local');
  if (!hasLocal) plane.addRail({ kind: 'local', bytesPerNs: null, options: {} });
  for (const rail of rails) plane.addRail(rail);
  return plane;
}

function memoryOf(options: LiveNodeOptions, plane: DataPlane, store: StoreNode): LiveMemory {
  const { addon, plan, node, blockBytes } = options;
  const { topology, settings } = plan;
  const instances = topology.instances.filter((spec) => spec.node === node);
  const modelBytes = topology.kv.blockTokens * topology.kv.bytesPerToken[Tier.hbm];
  const hbmBytes = instances.reduce((sum, { kvCapacityBytes }) => sum + kvCapacityBytes, 0);
  // What is parked stays in its pages.
  const { parkingBytes } = settings.store;
  const spare = SPARE_PAGES * instances.length;
  const hasSsd = topology.nodes.some(({ ssdCapacityBytes }) => ssdCapacityBytes > 0);
  return new LiveMemory({
    addon,
    plane,
    dramSlots: store.dram.capacitySlots,
    pages: Math.ceil((hbmBytes + parkingBytes) / modelBytes) + spare,
    buffers: hasSsd ? BUFFERS : 0,
    blockBytes,
    holds: (owner, request) =>
      owner === PARKED
        ? instances.some(({ id }) => store.isHeld(id, request))
        : store.isHeld(owner, request),
    caches: settings.store.hbmCache
      ? (instance, block) => (store.hbmCache(instance)?.pool.findReady(block) ?? -1) >= 0
      : null,
  });
}
