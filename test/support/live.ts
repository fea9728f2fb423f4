/** A live cluster within one process: real channels, pools and moves between its parts. */
import { ChannelCredentials, ServerCredentials } from '@grpc/grpc-js';
import { type ClusterPlan, wireCluster } from '../../src/config/wire.ts';
import type { Observer } from '../../src/core/observer.ts';
import { type Address, AddressBook, CONDUCTOR, Tier, WORKLOAD } from '../../src/core/topology.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import even from '../../src/policy/rail/even.ts';
import { Links } from '../../src/runtime/control/links.ts';
import { DataPlane, PLANE_DEFAULTS, type RailKind } from '../../src/runtime/data-plane.ts';
import { LiveMemory, PARKED } from '../../src/runtime/live/live-memory.ts';
import { LiveProcess } from '../../src/runtime/live/live-process.ts';
import { LiveTransfers } from '../../src/runtime/live/live-transfers.ts';
import { native } from './native.ts';
import { tinyCosts } from './tiny.ts';

const BLOCK_BYTES = 8192;
const PAGES = 2048;

export interface LiveOptions {
  readonly plan: ClusterPlan;
  readonly trace: TraceColumns;
  readonly rail: RailKind;
  readonly observers: readonly Observer[];
}

export async function liveCluster({ plan, trace, rail, observers }: LiveOptions) {
  const { topology } = plan;
  const addresses = new AddressBook(topology);
  const names = ['ingress', 'conductor', ...topology.nodes.map(({ id }) => `node-${id}`)];
  const processOf = (address: Address) => {
    if (address === WORKLOAD) return 'ingress';
    if (address === CONDUCTOR) return 'conductor';
    return `node-${addresses.nodeOf[address]}`;
  };
  const all = Array.from({ length: addresses.count }, (_, address) => address);
  const ports = new Map<string, number>();
  const originNs = process.hrtime.bigint();
  const errors: unknown[] = [];
  const parts = new Map<string, { process: LiveProcess; links: Links }>();
  for (const name of names) {
    const links: Links = new Links({
      name,
      life: 1,
      listen: '127.0.0.1:0',
      token: 'test',
      serverCredentials: ServerCredentials.createInsecure(),
      channelCredentials: ChannelCredentials.createInsecure(),
      endpointOf: (peer) => `127.0.0.1:${ports.get(peer)}`,
      handler: {
        onMessage: (peer, message) => parts.get(name)?.process.receive(peer, message),
        onReset: (peer) => parts.get(name)?.process.reset(peer),
      },
    });
    ports.set(name, await links.listen());
    const process = new LiveProcess({
      topology,
      costs: tinyCosts(topology),
      speed: 1,
      originNs,
      observers,
      links,
      processOf,
      addressesOf: (peer) => all.filter((address) => processOf(address) === peer),
      onError: (error) => errors.push(error),
    });
    parts.set(name, { process, links });
  }
  const processAt = (address: Address) => parts.get(processOf(address))!.process;
  const cluster = wireCluster(plan, trace, (address) => processAt(address).host(address));
  for (const address of all) processAt(address).setMachine(address, cluster.machines[address]);

  const planes: DataPlane[] = [];
  const memories = topology.nodes.map(() => {
    const policy = even.create({ random: () => 0.5 }, {});
    const plane = new DataPlane(native(), policy, PLANE_DEFAULTS);
    plane.addRail({ kind: rail, bytesPerNs: null, options: {} });
    planes.push(plane);
    const dramSlots = cluster.stores[0].dram.capacitySlots;
    const sizes = { dramSlots, pages: PAGES, blockBytes: BLOCK_BYTES };
    return new LiveMemory({ addon: native(), plane, ...sizes });
  });
  const transfers = topology.nodes.map(({ id }) => {
    const { process } = parts.get(`node-${id}`)!;
    const store = cluster.stores[id];
    const segments = memories.map(({ pool }) => planes[id].importSegment(pool.describe())!);
    const moved = new LiveTransfers({
      node: id,
      plane: planes[id],
      memory: memories[id],
      prompts: process.prompts,
      blockTokens: topology.kv.blockTokens,
      segmentOf: (node) => ({ segment: segments[node], incarnation: 0 }),
      blockAt: (slot) => store.dram.block(slot),
      generationAt: (slot) => store.dram.generations[slot],
      offer: (node, offer) => process.offer(node, offer),
      onWrongByte: (what) => errors.push(new Error(what)),
    });
    const own = topology.instances.filter(({ node }) => node === id);
    const isHeld = (owner: number, request: number) =>
      owner === PARKED
        ? own.some((spec) => store.isHeld(spec.id, request))
        : store.isHeld(owner, request);
    process.setNode({ memory: memories[id], transfers: moved, isHeld });
    return moved;
  });

  const close = async () => {
    for (const { process, links } of parts.values()) {
      process.stop();
      await links.close();
    }
    for (const plane of planes) plane.close();
  };
  /** Until every request has its end and nothing is under way. */
  const run = async () => {
    processAt(WORKLOAD).tell(WORKLOAD, WORKLOAD, { kind: 'wake', token: -1 });
    for (let quiet = 0; quiet < 20; ) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (errors.length > 0) throw errors[0];
      const idle = [...parts.values()].every(({ process }) => process.clock.isIdle);
      quiet = idle && cluster.workload.done ? quiet + 1 : 0;
    }
  };
  return { cluster, transfers, memories, run, close, tier: Tier.dram };
}
