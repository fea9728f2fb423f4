/** The hardware checksum against the table of src/runtime/crc32c.ts. */
import { expect, it } from 'vitest';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { describeNative, native } from '../support/native.ts';

describeNative('CRC-32C', () => {
  it('gives the check value of RFC 3720', () => {
    expect(native().crc32c(Buffer.from('123456789'), 0)).toBe(0xe3069283);
  });

  it('equals the table for every length around the interleaving, at any alignment', () => {
    const bytes = new Uint8Array(8_192 + 64).map((_, i) => (i * 2_654_435_761) >>> 13);
    const lengths = [0, 1, 7, 8, 9, 1_023, 3_071, 3_072, 3_073, 6_143, 6_144, 6_151, 8_192];
    for (const from of [0, 1, 3, 8]) {
      for (const length of lengths) {
        const part = bytes.subarray(from, from + length);
        expect(native().crc32c(part, 0), `${length} bytes from ${from}`).toBe(crc32c(part) >>> 0);
      }
    }
  });

  it('goes on from the sum of what came before', () => {
    const bytes = new Uint8Array(5_000).map((_, i) => i * 31);
    const first = native().crc32c(bytes.subarray(0, 1_234), 0);
    expect(native().crc32c(bytes.subarray(1_234), first)).toBe(crc32c(bytes) >>> 0);
  });
});
