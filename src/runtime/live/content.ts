/**
 * What a block must hold follows from its id, so that every block can be checked wherever it went:
 * the emulated engine writes these bytes in place of KV. Each cache line of a block begins with a
 * stamp of the id, the rest is the same in all blocks: so writing one is a memcpy, and since a CRC
 * is linear, that of any block follows from those of 33 without touching memory. However two
 * blocks are torn, a line of each is left, and the checksum is neither's.
 */

const LINE_WORDS = 16;
const STAMP_BITS = 32;

export class BlockContents {
  private readonly template: Uint32Array;
  private readonly templateBytes: Uint8Array;
  /** CRC-32C of a block whose stamps are 0, and what each bit of the stamp changes in it. */
  private readonly plain: number;
  private readonly ofBit = new Uint32Array(STAMP_BITS);

  /** `blockBytes`: a multiple of 64. */
  constructor(blockBytes: number, crc32c: (bytes: Uint8Array, crc: number) => number) {
    this.template = new Uint32Array(blockBytes / Uint32Array.BYTES_PER_ELEMENT);
    this.templateBytes = new Uint8Array(this.template.buffer);
    let x = 0x9e3779b9;
    for (let i = 0; i < this.template.length; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      this.template[i] = i % LINE_WORDS === 0 ? 0 : x;
    }
    this.plain = crc32c(this.templateBytes, 0);
    const block = new Uint32Array(this.template);
    for (let bit = 0; bit < STAMP_BITS; bit++) {
      for (let i = 0; i < block.length; i += LINE_WORDS) block[i] = 1 << bit;
      this.ofBit[bit] = crc32c(new Uint8Array(block.buffer), 0) ^ this.plain;
    }
  }

  /** Fills `bytes`, a whole block, with the block's content. */
  fill(bytes: Uint8Array, block: number): void {
    const stamp = stampOf(block);
    bytes.set(this.templateBytes);
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, this.template.length);
    for (let i = 0; i < words.length; i += LINE_WORDS) words[i] = stamp;
  }

  /** CRC-32C of a block, a uint32. */
  sum(block: number): number {
    const stamp = stampOf(block);
    let sum = this.plain;
    for (let bit = 0; bit < STAMP_BITS; bit++) {
      if (((stamp >>> bit) & 1) !== 0) sum ^= this.ofBit[bit];
    }
    return sum >>> 0;
  }
}

/** Another one for each id, well mixed (MurmurHash3's finaliser); never 0, as fresh memory is. */
function stampOf(block: number): number {
  let bits = (block + 1) | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
