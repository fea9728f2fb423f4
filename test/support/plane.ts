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
import { fill } from './pattern.ts';

export { fill } from './pattern.ts';

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
