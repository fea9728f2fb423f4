/** Growing bytes to write into, bytes to read from: varints, doubles, text. */
import { InputError } from '../errors.ts';

/** Bytes of the longest varint, 2^53 - 1. */
const VARINT_BYTES = 8;
/** What a loop copies as fast as `set` does, without a view. */
const SHORT_BYTES = 32;
/** Room that a writer keeps for what comes next. */
const KEPT_BYTES_MAX = 1 << 20;

export class ByteWriter {
  private bytes = new Uint8Array(1024);
  private view = new DataView(this.bytes.buffer);
  private size = 0;

  /** The bytes so far, as a copy. */
  take(): Uint8Array {
    return this.bytes.slice(0, this.size);
  }

  /** Bytes since the last `drain`. */
  get pendingBytes(): number {
    return this.size;
  }

  /**
   * The bytes since the last time where they lie: until the next ones are written. `take` has them
   * no more.
   */
  drain(): Uint8Array {
    const drained = this.bytes.subarray(0, this.size);
    this.size = 0;
    if (this.bytes.length > KEPT_BYTES_MAX) {
      this.bytes = new Uint8Array(1024);
      this.view = new DataView(this.bytes.buffer);
    }
    return drained;
  }

  protected byte(byte: number): void {
    if (this.size === this.bytes.length) this.reserve(1);
    this.bytes[this.size++] = byte;
  }

  /** A whole number from 0 to 2^53 - 1: seven bits a byte, the low ones first. */
  protected varint(value: number): void {
    while (value >= 0x80) {
      this.byte((value % 0x80) + 0x80);
      value = Math.floor(value / 0x80);
    }
    this.byte(value);
  }

  protected float(value: number): void {
    this.reserve(8);
    this.view.setFloat64(this.size, value, true);
    this.size += 8;
  }

  /** UTF-16 units, so that any string comes back; one byte each in ASCII. */
  protected text(value: string): void {
    this.varint(value.length);
    for (let i = 0; i < value.length; i++) this.varint(value.charCodeAt(i));
  }

  protected raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    const { length } = bytes;
    if (length <= SHORT_BYTES)
      for (let i = 0; i < length; i++) this.bytes[this.size + i] = bytes[i];
    else this.bytes.set(bytes, this.size);
    this.size += length;
  }

  private reserve(more: number): void {
    const needed = this.size + more;
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.bytes.length));
    grown.set(this.bytes);
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }
}

export class ByteReader {
  private bytes: Uint8Array;
  /** Of the bytes; null until it is needed. */
  private view: DataView | null = null;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** Goes on with more bytes of the same stream; those before must have been read. */
  feed(bytes: Uint8Array): void {
    if (this.left > 0) this.fail(`${this.left} more bytes`, 'the end');
    this.bytes = bytes;
    this.view = null;
    this.at = 0;
  }

  /** Bytes that are not read yet. */
  get left(): number {
    return this.bytes.length - this.at;
  }

  protected fail(found: string, expected: string): never {
    throw new InputError(`found ${found} at byte ${this.at}, expected ${expected}`);
  }

  protected byte(): number {
    if (this.at >= this.bytes.length) this.fail('the end', 'more bytes');
    return this.bytes[this.at++];
  }

  protected varint(): number {
    let value = 0;
    let unit = 1;
    for (let i = 0; i < VARINT_BYTES; i++) {
      const byte = this.byte();
      value += (byte % 0x80) * unit;
      if (byte < 0x80 && value <= Number.MAX_SAFE_INTEGER) return value;
      if (byte < 0x80) break;
      unit *= 0x80;
    }
    return this.fail('a longer number', 'at most 53 bits');
  }

  protected float(): number {
    this.need(8);
    const { buffer, byteOffset, byteLength } = this.bytes;
    this.view ??= new DataView(buffer, byteOffset, byteLength);
    this.at += 8;
    return this.view.getFloat64(this.at - 8, true);
  }

  protected text(): string {
    let text = '';
    for (let left = this.length(); left > 0; left--) text += String.fromCharCode(this.varint());
    return text;
  }

  protected raw(into: Uint8Array): void {
    this.need(into.length);
    if (into.length <= SHORT_BYTES)
      for (let i = 0; i < into.length; i++) into[i] = this.bytes[this.at + i];
    else into.set(this.bytes.subarray(this.at, this.at + into.length));
    this.at += into.length;
  }

  /** A number of things that take a byte each at least. */
  protected length(): number {
    const length = this.varint();
    this.need(length);
    return length;
  }

  protected need(bytes: number): void {
    if (bytes > this.left) this.fail(`${this.left} bytes`, `${bytes} bytes or more`);
  }
}
