/** One of the two processes of a data-plane bench: a plane with rails of one kind, and a pool. */
import { loadPolicy } from '../../config/policies.ts';
import type { PolicyRef } from '../../config/policy-ref.ts';
import { InputError } from '../../core/errors.ts';
import { DataPlane, PLANE_DEFAULTS, type RailKind } from '../../runtime/data-plane.ts';
import { loadNative, type NativeAddon } from '../../runtime/native.ts';
import { Grant, type Pool } from '../../runtime/native-pool.ts';

/** Generation of all slots in a bench. */
export const GENERATION = 1;

export interface SideSpec {
  readonly kind: RailKind;
  readonly rails: number;
  readonly policy: PolicyRef<'rail'>;
  readonly sliceBytes: number;
  readonly poolBytes: number;
}

export interface Side {
  readonly plane: DataPlane;
  readonly pool: Pool;
}

/** The addon; InputError with the remedy where it is not built. */
export function requireNative(): NativeAddon {
  const { addon, reason } = loadNative();
  if (addon === null) throw new InputError(reason ?? '');
  return addon;
}

/** Slots are of the largest power of two that a bench asks for; blocks lie in slots. */
export async function openSide(spec: SideSpec, slotBytes: number): Promise<Side> {
  const addon = requireNative();
  const { module, params } = await loadPolicy(spec.policy);
  // Rail policies break ties by chance; a bench need not be reproducible.
  let state = 1;
  const random = () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  const policy = module.create({ random }, params);
  const plane = new DataPlane(addon, policy, { ...PLANE_DEFAULTS, sliceBytes: spec.sliceBytes });
  for (let i = 0; i < spec.rails; i++) {
    plane.addRail({ kind: spec.kind, bytesPerNs: null, options: {} });
  }
  const slots = Math.max(1, Math.floor(spec.poolBytes / slotBytes));
  const pool = plane.createPool({ slotBytes, slots, hugetlb: true, prefault: true });
  for (let slot = 0; slot < slots; slot++) pool.publish(slot, GENERATION, Grant.readWrite);
  return { plane, pool };
}

/** Lets a peer in another process reach the side until `until` ends. Answers its descriptor. */
export async function serveSide(
  spec: SideSpec,
  slotBytes: number,
  tell: (descriptor: string) => void,
  until: Promise<void>,
): Promise<void> {
  const { plane, pool } = await openSide(spec, slotBytes);
  tell(Buffer.from(pool.describe()).toString('base64'));
  await until;
  plane.close();
}
