/**
 * Two planes in one process, rows moved between them, nothing else to wait for.
 * usage: columns-child move | throw
 */
import type { MoveColumns } from '../../src/runtime/move-columns.ts';
import { openPlane, publishAll, SLOT_BYTES, SLOTS } from './plane.ts';

const here = openPlane(['local']);
const there = openPlane(['local']);
publishAll(there.pool, 1);
const segment = here.plane.importSegment(there.pool.describe());
if (segment === null) throw new Error('no segment');
const slots = Int32Array.from({ length: SLOTS }, (_, slot) => slot);
const columns: MoveColumns = {
  write: false,
  pool: here.pool,
  segment,
  sum: true,
  urgent: false,
  deadlineNs: 5e9,
  slots,
  offsets: new Float64Array(SLOTS),
  remoteSlots: slots,
  generations: new Float64Array(SLOTS).fill(1),
  remoteOffsets: new Float64Array(SLOTS),
  bytes: new Float64Array(SLOTS).fill(SLOT_BYTES),
  crcs: null,
};
let thrown = false;
let told = 0;
const moves = here.plane.moves(columns, (_, count) => {
  told += count;
  if (process.argv[2] === 'throw' && moves.open === 0 && !thrown) {
    thrown = true;
    here.plane.startMoves(moves);
    throw new Error('from the callback');
  }
});
process.on('uncaughtException', (error) => process.stdout.write(`uncaught: ${error.message}, `));
process.on('exit', () => process.stdout.write(`told ${told}`));
here.plane.startMoves(moves);
