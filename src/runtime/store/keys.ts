/** Names of objects as the keys that cross the border. */
import { InputError } from '../../core/errors.ts';
import { hashText } from '../../core/kit/hash128.ts';
import { NAME_CHARS_MAX } from './spec.ts';
import { KEY_WORDS } from './stores.ts';

export const KEY_BYTES = 4 * KEY_WORDS;

/** @throws InputError for what is no name */
export function keysOf(names: readonly string[]): Int32Array {
  const words = new Int32Array(KEY_WORDS * names.length);
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (typeof name !== 'string' || name === '' || name.length > NAME_CHARS_MAX) {
      const expected = `expected a name of 1 to ${NAME_CHARS_MAX} characters`;
      throw new InputError(`found ${JSON.stringify(name)?.slice(0, 80)}, ${expected}`);
    }
    hashText(name, words, KEY_WORDS * i);
  }
  return words;
}

/** Some of the keys, as bytes. */
export function pick(words: Int32Array, indices: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(KEY_BYTES * indices.length);
  for (let i = 0; i < indices.length; i++) putKey(words, indices[i], bytes, i);
  return bytes;
}

/** Byte by byte: words seen as bytes would take their memory off the heap, 16 bytes of it. */
export function putKey(words: Int32Array, key: number, bytes: Uint8Array, at: number): void {
  for (let w = 0; w < KEY_WORDS; w++) {
    const word = words[KEY_WORDS * key + w];
    const to = KEY_BYTES * at + 4 * w;
    bytes[to] = word;
    bytes[to + 1] = word >> 8;
    bytes[to + 2] = word >> 16;
    bytes[to + 3] = word >> 24;
  }
}

/** Indices in groups by what `of` gives, each of at most `most`. */
export function groups<G>(
  indices: readonly number[],
  most: number,
  of: (index: number) => G,
): (readonly [G, readonly number[]])[] {
  const open = new Map<G, number[]>();
  const all: (readonly [G, number[]])[] = [];
  for (const index of indices) {
    const group = of(index);
    let list = open.get(group);
    if (list === undefined || list.length === most) {
      list = [];
      open.set(group, list);
      all.push([group, list]);
    }
    list.push(index);
  }
  return all;
}
