/** The lines of a text file in memory, a chunk at a time: a string holds 512 MiB at most. */

/** Small enough for the cache, large enough that decoding costs nothing. */
const CHUNK_BYTES = 65_536;

const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** Runs of lines, in order, without their newlines. A last empty line is not one. */
export function* textLines(bytes: Buffer): Generator<string[]> {
  const marked = BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte);
  let at = marked ? BYTE_ORDER_MARK.length : 0;
  while (at < bytes.length) {
    const newline = bytes.indexOf(NEWLINE, Math.min(at + CHUNK_BYTES, bytes.length - 1));
    const end = newline === -1 ? bytes.length : newline;
    yield bytes.toString('utf8', at, end).split('\n');
    at = end + 1;
  }
}
