/**
 * The other process of the kill tests: serves a pool, or moves to and from one, until it is killed.
 * usage: node plane-child.mjs serve KIND… | move SEED DESCRIPTOR KIND…
 */
import even from '../../dist/policy/rail/even.js';
import { DataPlane, PLANE_DEFAULTS } from '../../dist/runtime/data-plane.js';
import { loadNative } from '../../dist/runtime/native.js';

const SLOT_BYTES = 256 * 1024;
const SLOTS = 16;
const [mode, ...rest] = process.argv.slice(2);
const kinds = mode === 'serve' ? rest : rest.slice(2);

const plane = new DataPlane(loadNative().addon, even.create({ random: () => 0.5 }, {}), {
  ...PLANE_DEFAULTS,
  sliceBytes: 64 * 1024,
});
for (const kind of kinds) plane.addRail({ kind, bytesPerNs: null, options: {} });
const pool = plane.createPool({
  slotBytes: SLOT_BYTES,
  slots: SLOTS,
  hugetlb: false,
  prefault: false,
});
/** As fill() of plane.ts. */
function fill(bytes, seed) {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  let x = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let i = 0; i < words.length; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + i;
    words[i] = x;
  }
}

if (mode === 'serve') {
  for (let slot = 0; slot < SLOTS; slot++) {
    fill(pool.bytes(slot), slot);
    pool.publish(slot, 1, 3);
  }
  process.stdout.write(`${Buffer.from(pool.describe()).toString('base64')}\n`);
  setInterval(() => {}, 1e6);
} else {
  const segment = plane.importSegment(Buffer.from(rest[1], 'base64'));
  let state = Number(rest[0]) + 1;
  const random = (n) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % n;
  };
  const next = () => {
    const slot = random(SLOTS);
    const write = random(2) === 1;
    const bytes = 1 + random(SLOT_BYTES);
    const where = { pool, slot, offset: 0, segment, remoteSlot: slot, remoteOffset: 0 };
    const how = { write, generation: 1, bytes, crc: null, sum: true, urgent: false };
    plane.move({ ...where, ...how, deadlineNs: 1e9 }, next);
  };
  for (let i = 0; i < 32; i++) next();
  process.stdout.write('moving\n');
}
