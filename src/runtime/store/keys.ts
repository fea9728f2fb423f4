/** Names of objects as the keys that cross the border. */
import { InputError } from '../../core/errors.ts';
import { hashText } from '../../core/kit/hash128.ts';
import { NAME_CHARS_MAX } from './spec.ts';
import { KEY_WORDS } from './stores.ts';

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
  const some = new Int32Array(KEY_WORDS * indices.length);
  for (let i = 0; i < indices.length; i++) {
    const from = KEY_WORDS * indices[i];
    for (let w = 0; w < KEY_WORDS; w++) some[KEY_WORDS * i + w] = words[from + w];
  }
  return new Uint8Array(some.buffer);
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
