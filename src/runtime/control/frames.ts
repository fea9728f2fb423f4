/**
 * What crosses a link: frames, each a number that counts up within its stream and the messages of
 * one turn. Keys of objects and short strings are written once in a stream. Bytes of a peer are
 * read with bounds on depth, size and what is remembered, so that a short frame can't ask for much
 * memory or stack.
 */
import { Decoder, Encoder, type TypedArray, type TypedArrayClass } from '../../core/codec.ts';
import { InputError } from '../../core/errors.ts';

/** One frame; a larger one breaks the link. An inventory of a million blocks has about 5 MB. */
export const FRAME_BYTES_MAX = 64 << 20;
/** Room that a frame leaves before its bytes, for what a wire puts there. */
export const FRAME_ROOM_BYTES = 4;
/** Values within values; messages need seven. */
const DEPTH_MAX = 16;
/** Elements of all typed arrays of a frame: runs of equal ones take a few bytes each. */
const ELEMENTS_MAX = 16 << 20;
/** Strings, and lists of keys, that both ends of a stream remember, and characters of each. */
const KEPT_MAX = 1024;
const KEPT_CHARS_MAX = 256;

/** The frames of one stream, in their order. */
export class FrameWriter extends Encoder {
  private frames = 0;

  /** A frame, after FRAME_ROOM_BYTES that are not set. */
  frame(messages: readonly unknown[]): Buffer {
    this.value(++this.frames);
    this.value(messages);
    const bytes = this.drain();
    const frame = Buffer.allocUnsafe(FRAME_ROOM_BYTES + bytes.length);
    frame.set(bytes, FRAME_ROOM_BYTES);
    return frame;
  }

  protected override keeps(known: number, chars: number): boolean {
    return isKept(known, chars);
  }
}

/** The other end of a FrameWriter. */
export class FrameReader extends Decoder {
  private frames = 0;
  private depth = 0;
  private elements = 0;

  constructor() {
    super(new Uint8Array(0));
  }

  /**
   * The messages of the stream's next frame.
   * @throws InputError for anything else: another number means that frames are lost or sent again
   */
  messages(bytes: Uint8Array): readonly unknown[] {
    this.feed(bytes);
    this.depth = this.elements = 0;
    const number = this.value();
    const expected = ++this.frames;
    if (number !== expected) {
      throw new InputError(`found frame ${String(number)}, expected ${expected}`);
    }
    const messages = this.value();
    if (!Array.isArray(messages)) throw new InputError('found no list of messages');
    this.end();
    return messages;
  }

  protected override keeps(known: number, chars: number): boolean {
    return isKept(known, chars);
  }

  protected override object(tag: number, like: unknown): unknown {
    if (++this.depth > DEPTH_MAX) this.fail('deeper values', `at most ${DEPTH_MAX} levels`);
    const value = super.object(tag, like);
    this.depth--;
    return value;
  }

  protected override arrayFor(type: TypedArrayClass, length: number, like: unknown): TypedArray {
    this.elements += length;
    if (this.elements > ELEMENTS_MAX) this.fail('more elements', `at most ${ELEMENTS_MAX}`);
    return super.arrayFor(type, length, like);
  }
}

function isKept(known: number, chars: number): boolean {
  return known < KEPT_MAX && chars <= KEPT_CHARS_MAX;
}
