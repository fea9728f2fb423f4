/**
 * libCacheSim's oracleGeneral binary: records of 24 bytes, little-endian: uint32 time in seconds,
 * uint64 object id, uint32 size, int64 index of the next access. The laboratory counts every
 * object as one block and works out the next access itself.
 */
import { InputError } from '../../core/errors.ts';
import { NS_PER_S } from '../../core/units.ts';
import type { ByteChunks, KeyChunk } from './foreign.ts';
import { KeyTable } from './key-table.ts';

const RECORD_BYTES = 24;
const ID_LOW_AT = 4;
const ID_HIGH_AT = 8;

/** @throws InputError for a broken record, times that fall, and a file without records */
export function* oracleGeneralChunks(bytes: ByteChunks, place: string): Generator<KeyChunk> {
  const table = new KeyTable();
  let rest = new Uint8Array(0);
  let records = 0;
  let lastSeconds = 0;
  for (const piece of bytes) {
    const whole = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const count = Math.floor(whole.length / RECORD_BYTES);
    const view = new DataView(whole.buffer, whole.byteOffset, count * RECORD_BYTES);
    const keys = new Int32Array(count);
    const timeNs = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const at = i * RECORD_BYTES;
      const seconds = view.getUint32(at, true);
      if (seconds < lastSeconds) {
        throw new InputError(
          `found time ${seconds} after ${lastSeconds}, expected times that never fall`,
          `${place}: record ${records + i + 1}`,
        );
      }
      lastSeconds = seconds;
      timeNs[i] = seconds * NS_PER_S;
      const low = view.getUint32(at + ID_LOW_AT, true);
      keys[i] = table.internNumber(low, view.getUint32(at + ID_HIGH_AT, true));
    }
    records += count;
    rest = Uint8Array.from(whole.subarray(count * RECORD_BYTES));
    if (count > 0) yield { keys, timeNs, distinct: table.size };
  }
  if (rest.length > 0) {
    throw new InputError(
      `found ${rest.length} bytes after record ${records}, expected records of ${RECORD_BYTES}`,
      place,
    );
  }
  if (records === 0) throw new InputError('found no records, expected at least one', place);
}
