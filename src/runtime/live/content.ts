/**
 * What a block must hold follows from its id, so that every block can be checked wherever it went:
 * the emulated engine writes these bytes in place of KV.
 */

/** Fills `words` with the block's content. */
export function fillBlock(words: Uint32Array, block: number): void {
  let x = (Math.imul(block + 1, 0x9e3779b1) ^ 0x85ebca77) | 1;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
}

/** CRC-32C of blocks by id, each computed once. */
export class BlockSums {
  private readonly crc32c: (bytes: Uint8Array, crc: number) => number;
  private readonly words: Uint32Array;
  private readonly known = new Map<number, number>();

  constructor(blockBytes: number, crc32c: (bytes: Uint8Array, crc: number) => number) {
    this.crc32c = crc32c;
    this.words = new Uint32Array(blockBytes / Uint32Array.BYTES_PER_ELEMENT);
  }

  /** A uint32. */
  of(block: number): number {
    let sum = this.known.get(block);
    if (sum === undefined) {
      fillBlock(this.words, block);
      sum = this.crc32c(new Uint8Array(this.words.buffer), 0);
      this.known.set(block, sum);
    }
    return sum;
  }
}
