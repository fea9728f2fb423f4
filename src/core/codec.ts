/**
 * Bytes of plain values: null, undefined, booleans, numbers, strings, arrays, plain objects, typed
 * arrays, Map, Set and BlockSpan. Compact: whole numbers are varints, a string and the keys of an
 * object are written once per Encoder and then by number, a Uint8Array is its bytes, other typed
 * arrays are runs of equal elements, a BlockSpan is its own ids and not the array that it lies in.
 *
 * One Encoder writes many values into one stream; one Decoder reads them back in order.
 */
import { ByteReader, ByteWriter } from './kit/bytes.ts';
import { BlockSpan } from './request.ts';

/** First byte of a value. Below 0x80 it is the value: a small whole number. */
export const Tag = {
  null: 0x80,
  undefined: 0x81,
  false: 0x82,
  true: 0x83,
  positive: 0x84,
  negative: 0x85,
  float: 0x86,
  newString: 0x87,
  knownString: 0x88,
  array: 0x89,
  newShape: 0x8a,
  knownShape: 0x8b,
  map: 0x8c,
  set: 0x8d,
  typedArray: 0x8e,
  blockSpan: 0x8f,
  // Of a snapshot alone.
  reference: 0x90,
  instance: 0x91,
  stateful: 0x92,
} as const;

const SMALL_LIMIT = 0x80;
/** Elements of one array; more is a sign of bad bytes. */
const LENGTH_LIMIT = 2 ** 27;

export type TypedArray =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

/** By their number in the bytes. */
const TYPED_ARRAYS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
] as const;

export type TypedArrayClass = (typeof TYPED_ARRAYS)[number];

/** Keys of objects as a tree, so that a shape is found without joining its keys. */
class ShapeNode {
  private id = -1;
  private readonly next = new Map<string, ShapeNode>();

  /** The number of a shape; -1: it has none. */
  find(keys: readonly string[]): number {
    let node: ShapeNode | undefined = this;
    for (let i = 0; i < keys.length && node !== undefined; i++) node = node.next.get(keys[i]);
    return node?.id ?? -1;
  }

  add(keys: readonly string[], id: number): void {
    let node: ShapeNode = this;
    for (const key of keys) {
      let next = node.next.get(key);
      if (next === undefined) {
        next = new ShapeNode();
        node.next.set(key, next);
      }
      node = next;
    }
    node.id = id;
  }
}

/** Keys that a plain object cannot be given by assignment. */
const FORBIDDEN_KEY = '__proto__';

export function encode(value: unknown): Uint8Array {
  const encoder = new Encoder();
  encoder.value(value);
  return encoder.take();
}

/** @throws InputError for bytes that `encode` did not make */
export function decode(bytes: Uint8Array): unknown {
  const decoder = new Decoder(bytes);
  const value = decoder.value();
  decoder.end();
  return value;
}

export class Encoder extends ByteWriter {
  private readonly strings = new Map<string, number>();
  private readonly shapes = new ShapeNode();
  private shapeCount = 0;

  value(value: unknown): void {
    switch (typeof value) {
      case 'number':
        return this.number(value);
      case 'string':
        return this.string(value);
      case 'boolean':
        return this.byte(value ? Tag.true : Tag.false);
      case 'undefined':
        return this.byte(Tag.undefined);
      case 'object':
        return value === null ? this.byte(Tag.null) : this.object(value);
      default:
        throw new Error(`a ${typeof value} has no bytes`);
    }
  }

  /** Whether a string, or keys, of so many characters get a number after so many others. */
  protected keeps(_known: number, _chars: number): boolean {
    return true;
  }

  protected object(value: object): void {
    if (Array.isArray(value)) this.array(value);
    else if (ArrayBuffer.isView(value)) this.typedArray(value);
    else if (value instanceof Map) this.map(value);
    else if (value instanceof Set) this.set(value);
    else if (value instanceof BlockSpan) this.blockSpan(value);
    else if (isPlain(value)) this.plain(value as Record<string, unknown>);
    else throw new Error(`an instance of ${value.constructor.name} has no bytes`);
  }

  protected number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      this.byte(Tag.float);
      this.float(value);
    } else if (value < 0) {
      this.byte(Tag.negative);
      this.varint(-1 - value);
    } else if (value < SMALL_LIMIT) this.byte(value);
    else {
      this.byte(Tag.positive);
      this.varint(value);
    }
  }

  protected string(value: string): void {
    const known = this.strings.get(value);
    if (known !== undefined) {
      this.byte(Tag.knownString);
      this.varint(known);
      return;
    }
    if (this.keeps(this.strings.size, value.length)) this.strings.set(value, this.strings.size);
    this.byte(Tag.newString);
    this.text(value);
  }

  /** Its keys in their own order, values included that are undefined. */
  protected plain(value: Record<string, unknown>): void {
    const keys = Object.keys(value);
    this.shape(keys);
    for (const key of keys) this.value(value[key]);
  }

  /** A list of keys, in full the first time. */
  protected shape(keys: readonly string[]): void {
    const known = this.shapes.find(keys);
    if (known >= 0) {
      this.byte(Tag.knownShape);
      this.varint(known);
      return;
    }
    let chars = 0;
    for (const key of keys) {
      if (key === FORBIDDEN_KEY) throw new Error(`an object with the key ${key} has no bytes`);
      chars += key.length;
    }
    if (this.keeps(this.shapeCount, chars)) this.shapes.add(keys, this.shapeCount++);
    this.byte(Tag.newShape);
    this.varint(keys.length);
    for (const key of keys) this.text(key);
  }

  private array(value: readonly unknown[]): void {
    this.byte(Tag.array);
    this.varint(value.length);
    for (let i = 0; i < value.length; i++) this.value(value[i]);
  }

  private map(value: ReadonlyMap<unknown, unknown>): void {
    this.byte(Tag.map);
    this.varint(value.size);
    for (const [key, item] of value) {
      this.value(key);
      this.value(item);
    }
  }

  private set(value: ReadonlySet<unknown>): void {
    this.byte(Tag.set);
    this.varint(value.size);
    for (const item of value) this.value(item);
  }

  /** Length, then bytes, or runs: how often, and what. */
  private typedArray(view: ArrayBufferView): void {
    const kind = (TYPED_ARRAYS as readonly unknown[]).indexOf(view.constructor);
    if (kind < 0) throw new Error(`a ${view.constructor.name} has no bytes`);
    const array = view as TypedArray;
    this.byte(Tag.typedArray);
    this.byte(kind);
    this.varint(array.length);
    if (array instanceof Uint8Array) {
      this.raw(array);
      return;
    }
    for (let from = 0, to = 0; from < array.length; from = to) {
      const element = array[from];
      while (to < array.length && Object.is(array[to], element)) to++;
      this.varint(to - from);
      this.number(element);
    }
  }

  /** Each id as its distance from the one before: prompts mostly count upwards. */
  private blockSpan(span: BlockSpan): void {
    this.byte(Tag.blockSpan);
    this.varint(span.length);
    let before = 0;
    for (let i = 0; i < span.length; i++) {
      const id = span.at(i);
      this.varint(zigzag(id - before));
      before = id;
    }
  }
}

export class Decoder extends ByteReader {
  private readonly strings: string[] = [];
  private readonly shapes: (readonly string[])[] = [];

  /** Nothing is left to read. */
  get done(): boolean {
    return this.left === 0;
  }

  /** @throws InputError when bytes are left */
  end(): void {
    if (!this.done) this.fail(`${this.left} more bytes`, 'the end');
  }

  /** `like` is what a snapshot is read into (snapshot.ts). */
  value(like?: unknown): unknown {
    const tag = this.byte();
    if (tag < SMALL_LIMIT) return tag;
    switch (tag) {
      case Tag.null:
        return null;
      case Tag.undefined:
        return undefined;
      case Tag.false:
        return false;
      case Tag.true:
        return true;
      case Tag.positive:
        return this.varint();
      case Tag.negative:
        return -1 - this.varint();
      case Tag.float:
        return this.float();
      case Tag.newString:
        return this.newString();
      case Tag.knownString:
        return this.known(this.strings, 'string');
      default:
        return this.object(tag, like);
    }
  }

  /** As the Encoder's. */
  protected keeps(_known: number, _chars: number): boolean {
    return true;
  }

  private newString(): string {
    const text = this.text();
    if (this.keeps(this.strings.length, text.length)) this.strings.push(text);
    return text;
  }

  protected object(tag: number, like: unknown): unknown {
    switch (tag) {
      case Tag.array:
        return this.array(like);
      case Tag.newShape:
      case Tag.knownShape:
        return this.plain(this.shape(tag), like);
      case Tag.map:
        return this.map(like);
      case Tag.set:
        return this.set();
      case Tag.typedArray:
        return this.typedArray(like);
      case Tag.blockSpan:
        return this.blockSpan();
      default:
        return this.fail(`byte 0x${tag.toString(16)}`, 'a value');
    }
  }

  /** Called with each array, object, Map, Set and typed array before it is filled. */
  protected made<T extends object>(value: T): T {
    return value;
  }

  /** The array to fill for a typed array of this type and length. */
  protected arrayFor(type: TypedArrayClass, length: number, _like: unknown): TypedArray {
    return this.made(new type(length));
  }

  protected number(): number {
    const value = this.value();
    return typeof value === 'number' ? value : this.fail(`a ${typeof value}`, 'a number');
  }

  protected string(): string {
    const value = this.value();
    return typeof value === 'string' ? value : this.fail(`a ${typeof value}`, 'a string');
  }

  /** The keys that a tag announces. */
  protected shape(tag: number): readonly string[] {
    if (tag === Tag.knownShape) return this.known(this.shapes, 'shape');
    if (tag !== Tag.newShape) this.fail(`byte 0x${tag.toString(16)}`, 'keys');
    const keys: string[] = [];
    let chars = 0;
    for (let left = this.length(); left > 0; left--) {
      const key = this.text();
      if (key === FORBIDDEN_KEY) this.fail(`the key ${key}`, 'another');
      keys.push(key);
      chars += key.length;
    }
    if (this.keeps(this.shapes.length, chars)) this.shapes.push(keys);
    return keys;
  }

  protected plain(keys: readonly string[], like: unknown): unknown {
    const object = this.made<Record<string, unknown>>({});
    const fields = (like ?? {}) as Record<string, unknown>;
    for (const key of keys) object[key] = this.value(fields[key]);
    return object;
  }

  private array(like: unknown): unknown {
    const length = this.length();
    const array = this.made<unknown[]>([]);
    const items = Array.isArray(like) ? like : [];
    for (let i = 0; i < length; i++) array.push(this.value(items[i]));
    return array;
  }

  private map(like: unknown): unknown {
    const map = this.made(new Map<unknown, unknown>());
    const items = like instanceof Map ? like : null;
    for (let left = this.length(); left > 0; left--) {
      const key = this.value();
      map.set(key, this.value(items?.get(key)));
    }
    return map;
  }

  private set(): unknown {
    const set = this.made(new Set<unknown>());
    for (let left = this.length(); left > 0; left--) set.add(this.value());
    return set;
  }

  private typedArray(like: unknown): unknown {
    const type = TYPED_ARRAYS[this.byte()];
    if (type === undefined) this.fail('an unknown type', 'a typed array');
    const length = this.varint();
    if (length > LENGTH_LIMIT) this.fail(`${length} elements`, `at most ${LENGTH_LIMIT}`);
    if (type === Uint8Array) this.need(length);
    const array = this.arrayFor(type, length, like);
    if (array instanceof Uint8Array) {
      this.raw(array);
      return array;
    }
    for (let from = 0; from < length; ) {
      const to = from + this.varint();
      if (to === from || to > length) this.fail('a run', `1 to ${length - from} elements`);
      array.fill(this.number(), from, to);
      from = to;
    }
    return array;
  }

  private blockSpan(): BlockSpan {
    const ids = new Int32Array(this.length());
    let id = 0;
    for (let i = 0; i < ids.length; i++) {
      id += unzigzag(this.varint());
      ids[i] = id;
    }
    return new BlockSpan(ids, 0, ids.length);
  }

  private known<T>(table: readonly T[], what: string): T {
    const index = this.varint();
    if (index >= table.length) this.fail(`${what} ${index}`, `one of ${table.length}`);
    return table[index];
  }
}

/** An object without a class of its own. */
export function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function zigzag(value: number): number {
  return value < 0 ? -1 - 2 * value : 2 * value;
}

function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
