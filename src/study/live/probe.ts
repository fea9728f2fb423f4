/** What a rail of this machine moves, and how large a live block is to be. */
import { availableParallelism, freemem } from 'node:os';
import { InputError } from '../../core/errors.ts';
import type { Topology } from '../../core/topology.ts';
import { DataPlane, PLANE_DEFAULTS, type RailKind } from '../../runtime/data-plane.ts';
import { loadNative, Status } from '../../runtime/native.ts';

export const PAGE_BYTES = 4096;
/** The fastest counts: others may be at work meanwhile. */
const PROBE_ROUNDS = 8;
const PROBE_SLOT_BYTES = 1 << 20;
/** From one half into the other: more than caches hold. */
const PROBE_SLOTS = 128;
/** One moves blocks, one runs the node's machines. */
const CORES_PER_NODE = 2;
/** Of what is free, at most this for pools. */
const POOLS_MEMORY_RATIO = 0.4;

/** Whether the pools of all nodes fit in this machine's memory, and may be touched at once. */
export function fitsInMemory({ nodes, instances, kv }: Topology, blockBytes: number): boolean {
  const hbm = instances.reduce((sum, { kvCapacityBytes }) => sum + kvCapacityBytes, 0);
  const dram = nodes.reduce((sum, { dramCapacityBytes }) => sum + dramCapacityBytes, 0);
  const blocks = (hbm + dram) / (kv.blockTokens * kv.bytesPerToken[0]);
  return blocks * blockBytes <= POOLS_MEMORY_RATIO * freemem();
}

/**
 * So large that a block takes here, times the speed, what it takes in the modelled cluster. Every
 * node there has rails of its own; here they share the cores, and the share of one is what counts.
 */
export async function blockBytesOf(
  topology: Topology,
  speed: number,
  kind: RailKind,
): Promise<number> {
  const { nodes, kv } = topology;
  const [node] = nodes;
  const rails = node.rails.reduce((sum, rail) => sum + rail.bytesPerNs, 0) * node.railEfficiency;
  const modelBytes = kv.blockTokens * kv.bytesPerToken[0];
  const share = Math.min(1, availableParallelism() / (CORES_PER_NODE * nodes.length));
  const bytes = (modelBytes * share * (await probeBytesPerNs(kind))) / (rails * speed);
  return Math.max(1, Math.round(bytes / PAGE_BYTES)) * PAGE_BYTES;
}

/** What one rail of this kind moves on this machine, bytes per ns. */
async function probeBytesPerNs(kind: RailKind): Promise<number> {
  const { addon, reason } = loadNative();
  if (addon === null) throw new InputError(reason ?? '');
  const policy = { spread: (_: unknown, out: Int32Array) => out.fill(1) };
  const plane = new DataPlane(addon, policy as never, PLANE_DEFAULTS);
  try {
    plane.addRail({ kind, bytesPerNs: null, options: {} });
    const slots = PROBE_SLOTS;
    const pool = plane.createPool({
      slotBytes: PROBE_SLOT_BYTES,
      slots,
      hugetlb: false,
      prefault: true,
    });
    for (let slot = 0; slot < slots; slot++) pool.publish(slot, 1, 1);
    const segment = plane.importSegment(pool.describe());
    if (segment === null) throw new InputError('a pool does not import itself');
    const once = (i: number) =>
      new Promise<void>((done, fail) => {
        const slot = i % (slots / 2);
        plane.move(
          {
            write: false,
            pool,
            slot,
            offset: 0,
            segment,
            remoteSlot: slot + slots / 2,
            generation: 1,
            remoteOffset: 0,
            bytes: PROBE_SLOT_BYTES,
            crc: null,
            sum: true,
            urgent: false,
            deadlineNs: 5e9,
          },
          ({ status }) => {
            if (status === Status.ok) done();
            else fail(new InputError(`the ${kind} rail moves nothing here`));
          },
        );
      });
    let best = 0;
    for (let round = 0; round < PROBE_ROUNDS; round++) {
      const startNs = process.hrtime.bigint();
      await Promise.all(Array.from({ length: slots / 2 }, (_, i) => once(i)));
      const tookNs = Number(process.hrtime.bigint() - startNs);
      best = Math.max(best, ((slots / 2) * PROBE_SLOT_BYTES) / tookNs);
    }
    return best;
  } finally {
    plane.close();
  }
}
