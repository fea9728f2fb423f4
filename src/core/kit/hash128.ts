/** MurmurHash3_x86_128 (Austin Appleby, public domain): names of objects as four 32-bit words. */

const C1 = 0x239b961b;
const C2 = 0xab0e9789 | 0;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93 | 0;

let scratch = new Uint8Array(256);

/** Hashes the UTF-8 bytes of `text`; lone surrogates are written as they are. */
export function hashText(text: string, out: Int32Array, at: number): void {
  const { length } = text;
  if (scratch.length < 3 * length) scratch = new Uint8Array(6 * length);
  const bytes = scratch;
  let i = 0;
  for (; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80) break;
    bytes[i] = code;
  }
  hash128(bytes, i === length ? length : utf8(text, bytes), 0, out, at);
}

/** Hashes `bytes[0, size)` into `out[at, at + 4)`. */
export function hash128(
  bytes: Uint8Array,
  size: number,
  seed: number,
  out: Int32Array,
  at: number,
): void {
  let h1 = seed | 0;
  let h2 = h1;
  let h3 = h1;
  let h4 = h1;
  const whole = size & ~15;
  for (let i = 0; i < whole; i += 16) {
    h1 ^= Math.imul(rotate(Math.imul(word(bytes, i), C1), 15), C2);
    h1 = (Math.imul(rotate(h1, 19) + h2, 5) + 0x561ccd1b) | 0;
    h2 ^= Math.imul(rotate(Math.imul(word(bytes, i + 4), C2), 16), C3);
    h2 = (Math.imul(rotate(h2, 17) + h3, 5) + 0x0bcaa747) | 0;
    h3 ^= Math.imul(rotate(Math.imul(word(bytes, i + 8), C3), 17), C4);
    h3 = (Math.imul(rotate(h3, 15) + h4, 5) + 0x96cd1c35) | 0;
    h4 ^= Math.imul(rotate(Math.imul(word(bytes, i + 12), C4), 18), C1);
    h4 = (Math.imul(rotate(h4, 13) + h1, 5) + 0x32ac3b17) | 0;
  }
  const tail = size - whole;
  if (tail > 12) h4 ^= Math.imul(rotate(Math.imul(part(bytes, whole + 12, size), C4), 18), C1);
  if (tail > 8) h3 ^= Math.imul(rotate(Math.imul(part(bytes, whole + 8, size), C3), 17), C4);
  if (tail > 4) h2 ^= Math.imul(rotate(Math.imul(part(bytes, whole + 4, size), C2), 16), C3);
  if (tail > 0) h1 ^= Math.imul(rotate(Math.imul(part(bytes, whole, size), C1), 15), C2);
  h1 ^= size;
  h2 ^= size;
  h3 ^= size;
  h4 ^= size;
  h1 = (h1 + h2 + h3 + h4) | 0;
  h2 = (h2 + h1) | 0;
  h3 = (h3 + h1) | 0;
  h4 = (h4 + h1) | 0;
  h1 = finish(h1);
  h2 = finish(h2);
  h3 = finish(h3);
  h4 = finish(h4);
  h1 = (h1 + h2 + h3 + h4) | 0;
  out[at] = h1;
  out[at + 1] = h2 + h1;
  out[at + 2] = h3 + h1;
  out[at + 3] = h4 + h1;
}

/** 32 well mixed bits (MurmurHash3's finaliser). */
export function finish(hash: number): number {
  let bits = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}

function rotate(bits: number, by: number): number {
  return (bits << by) | (bits >>> (32 - by));
}

function word(bytes: Uint8Array, i: number): number {
  return bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
}

/** The bytes of a word as far as there are any. */
function part(bytes: Uint8Array, from: number, size: number): number {
  let bits = 0;
  for (let i = Math.min(size, from + 4) - 1; i >= from; i--) bits = (bits << 8) | bytes[i];
  return bits;
}

/** Writes the UTF-8 bytes of `text`; answers how many. */
function utf8(text: string, out: Uint8Array): number {
  let size = 0;
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      out[size++] = code;
      continue;
    }
    const low = text.charCodeAt(i + 1);
    if ((code & 0xfc00) === 0xd800 && (low & 0xfc00) === 0xdc00) {
      code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
      i++;
      out[size++] = 0xf0 | (code >> 18);
      out[size++] = 0x80 | ((code >> 12) & 0x3f);
    } else if (code >= 0x800) out[size++] = 0xe0 | (code >> 12);
    if (code < 0x800) out[size++] = 0xc0 | (code >> 6);
    else out[size++] = 0x80 | ((code >> 6) & 0x3f);
    out[size++] = 0x80 | (code & 0x3f);
  }
  return size;
}
