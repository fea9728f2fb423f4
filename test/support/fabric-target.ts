/**
 * A process that others read from and write to: opens a pool over fabric rails, fills slot k with
 * pattern k, tells its descriptor, and stays until it is killed or its parent goes.
 * Arguments: slot bytes, slots, provider, then one address per rail.
 * Messages: `{check: k, seed}` is answered by `{intact}`: whether slot k holds that pattern.
 */
import even from '../../src/policy/rail/even.ts';
import { DataPlane } from '../../src/runtime/data-plane.ts';
import { loadNative } from '../../src/runtime/native.ts';
import { Grant } from '../../src/runtime/native-pool.ts';
import { fill } from './pattern.ts';

const [slotBytes, slots, provider, ...addresses] = process.argv.slice(2);
const { addon, reason } = loadNative();
if (addon === null) throw new Error(reason ?? '');
const plane = new DataPlane(addon, even.create({ random: () => 0.5 }, {}));
for (const address of addresses) {
  plane.addRail({ kind: 'fabric', bytesPerNs: null, options: { provider, address } });
}
const pool = plane.createPool({
  slotBytes: Number(slotBytes),
  slots: Number(slots),
  hugetlb: false,
  prefault: true,
});
for (let slot = 0; slot < pool.info.slots; slot++) {
  fill(pool.bytes(slot), slot);
  pool.publish(slot, 1, Grant.readWrite);
}
const expected = new Uint8Array(pool.info.slotBytes);

function tell(): void {
  process.send?.({ descriptor: [...pool.describe()] });
}
plane.onRail = tell;
process.on('message', ({ check, seed }: { check: number; seed: number }) => {
  fill(expected, seed);
  process.send?.({ intact: Buffer.compare(pool.bytes(check), expected) === 0 });
});
process.on('disconnect', () => process.exit());
tell();
