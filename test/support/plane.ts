/** Two data planes in one process, and blocks with known bytes. */
import even from '../../src/policy/rail/even.ts';
import {
  DataPlane,
  type Move,
  type MoveEnd,
  PLANE_DEFAULTS,
  type PlaneSettings,
  type RailKind,
  type Segment,
} from '../../src/runtime/data-plane.ts';
import { Grant, type Pool } from '../../src/runtime/native-pool.ts';
import { native } from './native.ts';

export const SLOT_BYTES = 256 * 1024;
export const SLOTS = 16;

export function openPlane(
  kinds: readonly RailKind[],
  settings: Partial<PlaneSettings> = {},
  options: Record<string, string> = {},
): { plane: DataPlane; pool: Pool } {
  const policy = even.create({ random: () => 0.5 }, {});
  const plane = new DataPlane(native(), policy, { ...PLANE_DEFAULTS, ...settings });
  for (const kind of kinds) plane.addRail({ kind, bytesPerNs: null, options });
  const pool = plane.createPool({
    slotBytes: SLOT_BYTES,
    slots: SLOTS,
    hugetlb: false,
    prefault: false,
  });
  return { plane, pool };
}

/** Bytes that follow from a seed. */
export function fill(bytes: Uint8Array, seed: number): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  let x = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let i = 0; i < words.length; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + i;
    words[i] = x;
  }
}

export function publishAll(pool: Pool, generation: number): void {
  for (let slot = 0; slot < pool.info.slots; slot++) {
    fill(pool.bytes(slot), slot);
    pool.publish(slot, generation, Grant.readWrite);
  }
}

export function moveOf(pool: Pool, segment: Segment, over: Partial<Move>): Move {
  return {
    write: false,
    pool,
    slot: 0,
    offset: 0,
    segment,
    remoteSlot: 0,
    generation: 1,
    remoteOffset: 0,
    bytes: SLOT_BYTES,
    crc: null,
    sum: false,
    urgent: false,
    deadlineNs: 5e9,
    ...over,
  };
}

export function moved(plane: DataPlane, move: Move): Promise<MoveEnd> {
  return new Promise((resolve) => plane.move(move, resolve));
}
